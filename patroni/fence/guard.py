"""The guard's logic: what it does with Postgres when the lease runs out and nobody stops it (design.md §5, safety_rules.md §4).

Promise: from the acknowledgement of an arming on, Postgres is held or dead `margin` before the lease's end at the latest,
whatever the agent does, and never goes on without an order that names the lock's incarnation under which the guard was armed.
Mechanism: `turn` is called at least every 0.25 s while armed; it reads clocks, page and order, in that sequence, and acts.
Every field that it needs after a restart is on the page, so another guard goes on where this one died. Not promised: anything
while the guard itself is stopped or kept from the processor; the margin counts with 0.25 s of it.

Imported by the guard's process: nothing heavy here (see page.py). All times in ns of the two clocks.
"""

from __future__ import annotations

from patroni.fence import page as p
from patroni.fence import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from patroni.fence.sweep import Answer, Request, Seen

LOOK_NS = 250_000_000  # while armed (safety_rules.md §3): a wait does not count suspend, the lease does
WATCH_NS = 100_000_000  # while held or killed (§4.3)
FOREVER_NS = 1 << 62


class Clock:
    """One reading of CLOCK_BOOTTIME and CLOCK_MONOTONIC_RAW, in ns."""

    __slots__ = ("boot_ns", "raw_ns")

    def __init__(self, boot_ns: int, raw_ns: int) -> None:
        self.boot_ns = boot_ns
        self.raw_ns = raw_ns


class ReadClock:
    """Answer: Clock."""

    __slots__ = ()


if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeVar

    V = TypeVar("V")
    GuardSteps = Generator[Request | ReadClock, Answer | Clock, V]


class Guard:
    """See the module. One `turn` at a time; its driver answers the requests and waits as long as it returns."""

    def __init__(self, page: p.Page) -> None:
        self._page = page
        self._postmaster: Seen | None = None
        self.said: list[str] = []  # what happened, for the log; the driver takes it

    @property
    def state(self) -> int:
        """One of the page's STATE_ words."""
        return self._page[p.STATE] or p.STATE_IDLE

    def turn(self) -> GuardSteps[int]:
        """Do what is due; return for how many ns to wait at most, unless woken."""
        page = self._page
        now = yield from _clock()
        page[p.LOOKED_BOOT_NS] = now.boot_ns
        order = page[p.ORDER]
        if order != page[p.DONE]:
            yield from self._obey(p.word_of(order))
            page[p.DONE] = order  # after its effect: a guard that dies before obeys again
        match self.state:
            case p.STATE_ARMED:
                return (yield from self._while_armed())
            case p.STATE_HELD:
                return (yield from self._while_held())
            case p.STATE_KILLED:
                yield from self._kill("")
                return WATCH_NS
            case _:
                return FOREVER_NS

    # --- orders

    def _obey(self, word: int) -> GuardSteps[None]:
        match word:
            case p.ORDER_ARM:
                yield from self._arm()
            case p.ORDER_THAW:
                yield from self._thaw()
            case p.ORDER_KILL:
                yield from self._kill("ordered")
            case p.ORDER_DISARM:
                yield from self._disarm()
            case _:
                self.said.append(f"an order that is none: {word}")

    def _arm(self) -> GuardSteps[None]:
        """Arm, or take the incarnation of a newer lock while armed. A held or killed server is not armed by this order."""
        if self.state in (p.STATE_IDLE, p.STATE_ARMED):
            self._page[p.ARMED_INCARNATION] = self._page[p.INCARNATION]
            self._postmaster = yield from sweep.find_postmaster()
            self._enter(p.STATE_ARMED)

    def _disarm(self) -> GuardSteps[None]:
        """Stop guarding. What is held or killed ends first: a hold is never lifted by this order."""
        if self.state == p.STATE_HELD:
            yield from self._kill("disarmed while held")
        if self.state == p.STATE_KILLED and (yield from sweep.find_postmaster()) is not None:
            return
        self._postmaster = None
        self._enter(p.STATE_IDLE)

    def _thaw(self) -> GuardSteps[None]:
        """Let a held server go on: the order names the incarnation, and the new deadline lies ahead (§4.4, rule 17)."""
        page = self._page
        if self.state != p.STATE_HELD:
            return
        if page[p.INCARNATION] != page[p.ARMED_INCARNATION]:
            yield from self._kill("the lock is another one")
            return
        if _left_ns(page, (yield from _clock())) <= 0 or self._postmaster is None:
            return
        self._enter(p.STATE_ARMED)  # before the first process runs: the deadline guards it from here on
        if not (yield from sweep.thaw(self._postmaster)):
            yield from self._kill("its postmaster died")

    # --- looks

    def _while_armed(self) -> GuardSteps[int]:
        left_ns = _left_ns(self._page, (yield from _clock()))
        if left_ns <= 0:
            return (yield from self._hold())
        known = self._postmaster
        if known is None or (yield from sweep.look(known)) is None:
            self._postmaster = yield from sweep.find_postmaster()
        return min(left_ns, LOOK_NS)

    def _hold(self) -> GuardSteps[int]:
        """Stop the server; what cannot be held is killed (rules 2, 13, 15)."""
        began = yield from _clock()
        known = self._postmaster
        if known is not None and known.session != known.pid:
            yield from self._kill("the lease is over, and its postmaster leads no session")
            return WATCH_NS
        self._page[p.HELD_BOOT_NS] = began.boot_ns
        self._enter(p.STATE_HELD)  # before the first signal: a guard that dies half-way is followed by one that completes it
        outcome = yield from sweep.hold(known)
        if outcome != sweep.HELD:
            yield from self._kill(f"the lease is over, hold {outcome}")
            return WATCH_NS
        self._postmaster = known or (yield from sweep.find_postmaster())
        self._page[p.SWEEP_NS] = (yield from _clock()).boot_ns - began.boot_ns
        self.said.append("held: the lease is over")
        return WATCH_NS

    def _while_held(self) -> GuardSteps[int]:
        """Keep it held; who runs without our thaw, or a hold that lasts too long, ends it (§4.3)."""
        now = yield from _clock()
        if now.boot_ns - self._page[p.HELD_BOOT_NS] >= self._page[p.HOLD_NS]:
            yield from self._kill("held for too long")
            return WATCH_NS
        if self._postmaster is None:  # this guard took over from one that died
            self._postmaster = yield from sweep.find_postmaster()
            yield from sweep.hold(self._postmaster)
        found = yield from sweep.find()
        if not found or not all(each.is_quiet for each in found):
            yield from self._kill("something ran while it was held" if found else "nothing is left of it")
        return WATCH_NS

    def _kill(self, why: str) -> GuardSteps[None]:
        began = yield from _clock()
        self._enter(p.STATE_KILLED)
        left = yield from sweep.kill()
        if why:
            self._page[p.SWEEP_NS] = (yield from _clock()).boot_ns - began.boot_ns
            self.said.append(f"killed: {why}" + "".join(f", pid {each.pid} is left" for each in left))

    def _enter(self, state: int) -> None:
        self._page[p.STATE] = state


def _left_ns(page: p.Page, now: Clock) -> int:
    """Return in how many ns Postgres must be fenced; the lease is over when either clock says so."""
    left_ns = min(page[p.DEADLINE_BOOT_NS] - now.boot_ns, page[p.DEADLINE_RAW_NS] - now.raw_ns)
    return left_ns - page[p.MARGIN_NS]


def _clock() -> GuardSteps[Clock]:
    answer = yield ReadClock()
    assert isinstance(answer, Clock)
    return answer
