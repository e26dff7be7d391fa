"""The shared page: the one thing that agent and guard both see, whichever of them is dead or frozen (safety_rules.md §4.1).

Promise: a reader sees each field as it was written at some time, never a mixture and never a passing 0. Mechanism: every field
is one aligned native 64-bit store through a `memoryview` cast to "Q", kept twice, as value and complement; a pair that does
not match is read again. Never `struct.pack_into`: it zeroes first (fence_facts.md rule 5). Not promised: that two *fields* are
of one moment. What has to be one is one field: an order and its number.

Imported by the guard, so nothing heavy is imported here: no dataclasses, enum or typing (they cost what the guard may weigh).
"""

from __future__ import annotations

SIZE = 4096
FORMAT = 1
_MASK = (1 << 64) - 1
_READS = 1000  # of a pair that does not match: its writer is between two stores, or died there

# Written by the agent.
FORMAT_FIELD = 0
BOOT_ID = 1  # 64 bits of the kernel's boot id: a page of another boot says nothing
AGENT_EPOCH = 2  # grows with every agent that takes the page over
ORDER = 3  # number << 8 | word, one of the ORDER_ words
# When Postgres must be fenced: the lease's end less its margin, as one number, since two fields are never of one moment.
DEADLINE_BOOT_NS = 4  # in CLOCK_BOOTTIME; 0: now
DEADLINE_RAW_NS = 5  # in CLOCK_MONOTONIC_RAW; due when either has passed
INCARNATION = 6  # of the lock, 64 bits; a deadline belongs to it alone
HOLD_NS = 7  # how long a hold lasts before the kill
# Written by the guard.
STATE = 16  # one of the STATE_ words
DONE = 17  # the ORDER that was carried out or refused last
GUARD_PID = 18
LOOKED_BOOT_NS = 19  # when it looked last
HELD_BOOT_NS = 20  # when the hold under way began
ARMED_INCARNATION = 21  # the lock under which it was armed: only its proof thaws
SWEPT_PROCESSES = 22  # how many it stopped or killed last
SWEEP_NS = 23  # how long that took; 0 while it is under way
THAWING = 24  # 1 while a thaw, or a drill, is under way: whoever takes over finishes it
POSTMASTER = 25  # the pid that it would stop first; 0: it sees none
_FIELDS = 32
_NOTE = slice(2048, 4096)  # the guard's last words, for people: text that may be torn

ORDER_DISARM, ORDER_ARM, ORDER_THAW, ORDER_KILL = 1, 2, 3, 4
STATE_IDLE, STATE_ARMED, STATE_HELD, STATE_KILLED = 1, 2, 3, 4


class Page:
    """One page. `memory` is a writable buffer of at least SIZE bytes, page-aligned as mmap gives it."""

    def __init__(self, memory: memoryview) -> None:
        self._bytes = memory.cast("B")[:SIZE]
        self._words = self._bytes.cast("Q")

    def __getitem__(self, field: int) -> int:
        """Return a field; of a pair whose writer died between its two stores, what it meant to write."""
        words = self._words
        for _ in range(_READS):
            value = words[2 * field]
            if value ^ words[2 * field + 1] == _MASK:
                return value
        return words[2 * field]

    def __setitem__(self, field: int, value: int) -> None:
        """Write a field. One writer a field: the agent or the guard, as listed above."""
        self._words[2 * field] = value
        self._words[2 * field + 1] = value ^ _MASK

    @property
    def note(self) -> str:
        """The guard's last words; empty: it said nothing yet."""
        return bytes(self._bytes[_NOTE]).partition(b"\0")[0].decode("utf-8", "replace")

    @note.setter
    def note(self, text: str) -> None:
        room = _NOTE.stop - _NOTE.start
        self._bytes[_NOTE] = text.encode()[: room - 1].ljust(room, b"\0")

    def clear(self) -> None:
        """Make a new page: all fields 0."""
        for field in range(_FIELDS):
            self[field] = 0
        self.note = ""

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()
        self._bytes.release()


def numbered(number: int, word: int) -> int:
    """Return an order as the page holds it."""
    return number << 8 | word


def word_of(order: int) -> int:
    """Return the word of a numbered order; 0: none was given yet."""
    return order & 0xFF


def number_of(order: int) -> int:
    """Return the number of a numbered order."""
    return order >> 8
