"""The agent's side of the guard: a Fence that outlives the agent (safety_rules.md §4, design.md §5).

Promise: `arm` returns True only after the guard said that it is armed under this very incarnation; from then on the page's
deadline alone keeps Postgres running. `renew` and `end` are two stores in memory and one non-blocking send, so the keeper's
thread may call them whatever else hangs. Mechanism: the page is written under one lock that nobody holds across a system call;
who has to wait for the guard does so on a connection of his own. Not promised: that a guard is there. `state` says ABSENT when
it is not, and the agent then starts one, or gives up power.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable

from patroni.decision.cluster import Incarnation
from patroni.decision.lease import Instant, Proof, elapsed_s, margin_s
from patroni.decision.view import GuardState
from patroni.fence import guard_launch as launch
from patroni.fence import page as p
from patroni.fence.guard_launch import GuardUnavailable, Line, Place
from patroni.fence.page_file import PageFile

STATES = {
    p.STATE_IDLE: GuardState.IDLE,
    p.STATE_ARMED: GuardState.ARMED,
    p.STATE_HELD: GuardState.HELD,
    p.STATE_KILLED: GuardState.KILLED,
}
_SILENT_S = launch.ANSWER_S
_STEP_S = 0.4
_IDLE_S = 3600.0
_LINES = 50
_MESSAGE_BYTES = 1024


def incarnation_word(incarnation: Incarnation) -> int:
    """Return the 64 bits that stand for an incarnation on the page."""
    return int.from_bytes(hashlib.blake2b(incarnation.encode(), digest_size=8).digest(), "big")


class GuardFence:
    """See the module. `launch`, `arm`, `thaw` and `kill` wait for the guard, up to seconds: never on the keeper's thread."""

    def __init__(self, place: Place, hold_s: float, margin: Callable[[float], float] = margin_s) -> None:
        """hold_s: fence.hold_s. margin: s before the lease's end, by ttl_s; more of it where a watchdog needs it."""
        self.place = place
        self._hold_s = hold_s
        self._margin = margin
        self._ordering = threading.Lock()  # one order at a time; held while its answer is awaited
        self._orders: Line | None = None  # under _ordering
        self._lock = threading.Lock()  # the page and what follows; never held across a system call
        self._file: PageFile | None = None
        self._proof: Proof | None = None  # the newest of the lock under which the guard was last told to guard
        self._is_over = False  # `end` was called for that lock
        self._is_given_up = False  # `disarm` was called since: a refusal that comes later concerns nobody
        self._wakes: socket.socket | None = None  # non-blocking
        self._pid: int | None = None
        self._stepped: Instant | None = None  # when `step` was called last
        self._looked = 0  # the page's LOOKED_BOOT_NS then; it looks four times a second while it guards
        self._looked_at: Instant | None = None  # when that was seen to change last
        self._is_silent = False
        self._said: list[str] = []

    # --- presence

    def launch(self) -> int:
        """Adopt the guard that runs, or start one; return its pid, whose end the caller watches. Raise GuardUnavailable.

        Until the first `launch` the state is ABSENT. The caller holds the data directory's lock for life.
        """
        with self._ordering:
            self._hang_up()
            waking, file, pid = self._adopt() or self._start()
            waking.socket.setblocking(False)
            with self._lock:
                self._file = file
                self._wakes, self._pid, self._looked_at, self._is_silent = waking.socket, pid, None, False
                self._said += waking.said
                page = self._page()
                page[p.AGENT_EPOCH] = page[p.AGENT_EPOCH] + 1
            self._orders = launch.connect(self.place.name, self.place.user)
            return pid

    @property
    def pid(self) -> int | None:
        """The guard's process; None: none was launched."""
        return self._pid

    @property
    def postmaster(self) -> int | None:
        """The postmaster that an armed guard sees, at most 0.25 s after its start; None: none.

        A guard that sees none beside a running server (a kernel that shows it no executables) guards nothing: say so.
        """
        with self._lock:
            page = self._page_or_none()
            return page[p.POSTMASTER] or None if page is not None and page[p.STATE] == p.STATE_ARMED else None

    def close(self) -> None:
        """Hang up; a guard that is idle then ends. What it guards it goes on guarding."""
        with self._ordering:
            self._hang_up()

    def set_hold_s(self, hold_s: float) -> None:
        """Use a changed fence.hold_s from the next arming on."""
        self._hold_s = hold_s

    def said(self) -> list[str]:
        """Return what the guard reported since the last call, for the log."""
        with self._lock:
            said, self._said = self._said, []
        return said

    def is_armed_under(self, incarnation: Incarnation) -> bool:
        """Return whether the guard watches over, or holds, a Postgres of this very lock (safety_rules.md §1.4)."""
        with self._lock:
            return self._is_under(incarnation) and self._page()[p.STATE] in (p.STATE_ARMED, p.STATE_HELD)

    # --- Fence

    def arm(self, proof: Proof) -> bool:
        """See `Fence`."""
        with self._ordering:
            if not self._is_settled():
                return False
            with self._lock:
                page = self._page()
                if page[p.STATE] not in (p.STATE_IDLE, p.STATE_ARMED) or not self._may_follow(proof):
                    return False
                self._proof, self._is_over, self._is_given_up = proof, False, False
                self._write(proof, incarnation_word(proof.incarnation))
                order = self._order(p.ORDER_ARM)
            if not self._await(order):
                return False
            with self._lock:
                return page[p.STATE] == p.STATE_ARMED and self._is_under(proof.incarnation) and not self._is_over

    def adopt(self, proof: Proof) -> bool:
        """Take over a guard of an earlier agent: True if it is armed or holds under this lock, which is renewed from now on."""
        with self._lock:
            if not self._is_under(proof.incarnation) or self._page()[p.STATE] not in (p.STATE_ARMED, p.STATE_HELD):
                return False
            self._proof, self._is_over, self._is_given_up = proof, False, False
            self._write_deadline(proof)
        self._wake()
        return True

    def renew(self, proof: Proof) -> None:
        """See `Fence`."""
        with self._lock:
            known = self._proof
            if known is None or self._is_over or proof.incarnation != known.incarnation:
                return
            if proof.sent.boot_s <= known.sent.boot_s:
                return
            self._proof = proof
            self._write_deadline(proof)
        self._wake()

    def end(self) -> None:
        """See `Fence`: the guard kills at once, also what it holds."""
        with self._lock:
            page = self._page_or_none()
            if page is None or self._is_given_up:
                return
            if page[p.STATE] not in (p.STATE_ARMED, p.STATE_HELD) and page[p.ORDER] == page[p.DONE]:
                return
            self._end()  # also before an arming that the guard has not seen yet
        self._wake()

    def kill(self) -> bool:
        """End Postgres now, as `end`; return whether the guard said within 1 s that it did."""
        with self._ordering:
            with self._lock:
                if self._file is None:
                    return False
                order = self._end()
            return self._await(order) and self._page()[p.STATE] == p.STATE_KILLED

    def thaw(self, proof: Proof, held_under: Incarnation | None = None) -> bool:
        """Let a held server go on; return whether it runs, armed under the proof's lock.

        proof: sent after the hold was complete. held_under: None, or the lock of the hold where the event history proves that
        nobody else had the lock between it and the proof's (§4.4). Without that it has to be the same lock.
        """
        old = held_under or proof.incarnation
        with self._ordering:
            if not self._is_settled():
                return False
            with self._lock:
                page = self._page()
                stood_ns = page[p.HELD_BOOT_NS] + page[p.SWEEP_NS]
                is_complete = page[p.STATE] == p.STATE_HELD and page[p.SWEEP_NS] > 0
                if not is_complete or not self._is_under(old) or _ns(proof.sent.boot_s) < stood_ns or self._is_over:
                    return False
                self._proof = proof
                self._write(proof, incarnation_word(old))
                order = self._order(p.ORDER_THAW)
            if not self._await(order) or page[p.STATE] != p.STATE_ARMED:
                return False
        return old == proof.incarnation or self.arm(proof)

    def disarm(self) -> None:
        """See `Fence`. Does not wait: `state` becomes IDLE. Overtakes no kill that was ordered."""
        with self._lock:
            page = self._page_or_none()
            if page is None or (p.word_of(page[p.ORDER]) == p.ORDER_KILL and page[p.ORDER] != page[p.DONE]):
                return
            self._proof, self._is_over, self._is_given_up = None, False, True
            self._order(p.ORDER_DISARM)
        self._wake()

    def state(self) -> GuardState:
        """See `Fence`. ABSENT: none was launched, it ended, or it has not looked for 1 s while it should."""
        with self._lock:
            page = self._page_or_none()
            if page is None or self._wakes is None or self._is_silent:
                return GuardState.ABSENT
            return STATES.get(page[p.STATE], GuardState.ABSENT)

    def step(self, now: Instant) -> float:
        """Hear the guard, and see that it looks; return in how many seconds to be called again."""
        if self._wakes is None:
            return _IDLE_S
        self._hear()
        with self._lock:
            page = self._page()
            looked, was_away = page[p.LOOKED_BOOT_NS], self._stepped is None or elapsed_s(self._stepped, now) >= _SILENT_S
            self._stepped = now
            if page[p.STATE] == p.STATE_IDLE and page[p.ORDER] == page[p.DONE]:
                self._is_silent = False  # it sleeps until it is told something
                return _IDLE_S
            if was_away or looked != self._looked or self._looked_at is None:  # away: who was frozen with us goes on now, too
                self._looked, self._looked_at, self._is_silent = looked, now, False
            elif elapsed_s(self._looked_at, now) >= _SILENT_S:
                self._is_silent = True
        return _STEP_S

    # --- the page, all under _lock

    def _page(self) -> p.Page:
        assert self._file is not None, "no guard was launched"
        return self._file.page

    def _page_or_none(self) -> p.Page | None:
        return None if self._file is None else self._file.page

    def _is_under(self, incarnation: Incarnation) -> bool:
        page = self._page_or_none()
        return page is not None and page[p.ARMED_INCARNATION] == incarnation_word(incarnation)

    def _may_follow(self, proof: Proof) -> bool:
        """Return whether an armed guard may go over to this lock: only inside the deadline of the one before (§1.5)."""
        page = self._page()
        if page[p.STATE] != p.STATE_ARMED:
            return True
        is_inside = _ns(proof.sent.boot_s) < page[p.DEADLINE_BOOT_NS] and _ns(proof.sent.raw_s) < page[p.DEADLINE_RAW_NS]
        return is_inside or self._is_under(proof.incarnation)

    def _write(self, proof: Proof, word: int) -> None:
        page = self._page()
        page[p.HOLD_NS] = _ns(self._hold_s)
        self._write_deadline(proof)
        page[p.INCARNATION] = word

    def _write_deadline(self, proof: Proof) -> None:
        page = self._page()
        left_s = proof.ttl_s - self._margin(proof.ttl_s)
        page[p.DEADLINE_RAW_NS] = max(0, _ns(proof.sent.raw_s + left_s))
        page[p.DEADLINE_BOOT_NS] = max(0, _ns(proof.sent.boot_s + left_s))

    def _end(self) -> int:
        page = self._page()
        self._is_over = True
        page[p.DEADLINE_BOOT_NS] = 0
        return self._order(p.ORDER_KILL)

    def _order(self, word: int) -> int:
        page = self._page()
        order = p.numbered(p.number_of(page[p.ORDER]) + 1, word)
        page[p.ORDER] = order
        return order

    # --- talking

    def _wake(self) -> None:
        """Have the guard look now; one that cannot be told looks within 0.25 s."""
        wakes = self._wakes
        if wakes is not None:
            try:
                wakes.send(b"0", socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            except OSError:
                return

    def _hear(self) -> None:
        """Take what the guard sent; never waits. The keeper's thread alone comes here."""
        wakes = self._wakes
        while wakes is not None:
            try:
                message = wakes.recv(_MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            with self._lock:
                if not message and self._wakes is wakes:
                    self._wakes = None
                if message.startswith(b"! "):
                    self._said = [*self._said, message[2:].decode("utf-8", "replace")][-_LINES:]
            if not message:
                wakes.close()
                return

    def _is_settled(self) -> bool:
        """Return whether the guard has carried out what it was told before; asks it once."""
        if self._orders is None or self._file is None:
            return False
        page = self._file.page
        return page[p.ORDER] == page[p.DONE] or self._await(page[p.ORDER])

    def _await(self, order: int) -> bool:
        """Ask the guard and return whether it has carried out this order."""
        if self._orders is None:
            return False
        try:
            answer = self._orders.ask()
        except GuardUnavailable:
            self._orders.close()
            self._orders = None  # an answer that comes later would be taken for another one's
            return False
        return answer.done == order

    def _adopt(self) -> tuple[Line, PageFile, int] | None:
        """Connect to the guard that runs, and have its page; None: none runs."""
        line = launch.connect(self.place.name, self.place.user)
        if line is None:
            return None
        try:
            answer, fd = line.ask_for_page("agent")
            if fd is None:
                raise GuardUnavailable("the guard did not show its page")
        except GuardUnavailable:
            line.close()
            raise
        known = self._file
        if known is None or not os.path.sameopenfile(known.fd, fd):
            return line, PageFile(fd), answer.pid
        os.close(fd)
        return line, known, answer.pid

    def _start(self) -> tuple[Line, PageFile, int]:
        """Start a guard on the page that is known, left behind, or new."""
        file = self._file or launch.own_page(self.place)
        launch.start(self.place, file)
        started = self._adopt()
        if file is not self._file:
            file.close()
        if started is None:
            raise GuardUnavailable("the guard ended as soon as it was there")
        return started

    def _hang_up(self) -> None:
        with self._lock:
            wakes, self._wakes = self._wakes, None
        for each in (wakes, self._orders):
            if each is not None:
                each.close()
        self._orders = None


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
