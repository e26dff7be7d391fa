"""The guard's logic: what it does with Postgres when the lease runs out and nobody stops it (design.md §5, safety_rules.md §4).

Promise: from the acknowledgement of an arming on, Postgres is held or dead when the page's deadline has passed, whatever the
agent does, and never goes on without an order that names the lock's incarnation under which the guard was armed.
Mechanism: `turn` is called at least every 0.25 s while armed; it reads clocks, order and page, in that sequence, and acts.
Every field that it needs after a restart is on the page, written before its effect, so another guard goes on where this one
died. Not promised: anything while the guard itself is stopped or kept from the processor; the lease's margin counts with 0.25 s
of it.

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
LONGEST_NS = 7 * 24 * 3600 * 1_000_000_000  # no ttl is longer
FOREVER_NS = 1 << 62
DRILL_STEP_S = 0.02
STATE_NAMES = {p.STATE_IDLE: "idle", p.STATE_ARMED: "armed", p.STATE_HELD: "held", p.STATE_KILLED: "killed"}


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
    """See the module. One `turn`, `drill` or `give_up` at a time; the driver answers their requests."""

    def __init__(self, page: p.Page) -> None:
        self._page = page
        self._postmaster: Seen | None = None  # None: not looked for yet, or none lives
        self.said: list[str] = []  # what happened, for the log; the driver takes it
        self.is_empty = False  # killed, and nothing was left at the last look

    @property
    def state(self) -> int:
        """One of the page's STATE_ words. What is none of them counts as armed: then the deadline decides."""
        state = self._page[p.STATE]
        return state if state in STATE_NAMES else p.STATE_ARMED

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
                if page[p.THAWING]:  # a drill whose guard died
                    yield from self._go_on()
                return FOREVER_NS

    # --- orders

    def _obey(self, word: int) -> GuardSteps[None]:
        match word:
            case p.ORDER_ARM:
                yield from self._arm()
            case p.ORDER_THAW:
                yield from self._thaw()
            case p.ORDER_KILL if self.state != p.STATE_IDLE:  # idle: nothing is guarded, a refusal came late
                yield from self._kill("ordered")
            case p.ORDER_DISARM:
                yield from self.give_up()

    def _arm(self) -> GuardSteps[None]:
        """Arm, or take the incarnation of a newer lock while armed. A held or killed server is not armed by this order."""
        if self.state in (p.STATE_IDLE, p.STATE_ARMED):
            self._page[p.ARMED_INCARNATION] = self._page[p.INCARNATION]
            self._enter(p.STATE_ARMED)
            yield from self._find_postmaster()

    def give_up(self) -> GuardSteps[None]:
        """Stop guarding. What is held or killed ends first: a hold is never lifted by this order."""
        if self.state in (p.STATE_HELD, p.STATE_KILLED):
            yield from self._kill("disarmed while held" if self.state == p.STATE_HELD else "")
            if not self.is_empty:
                return
        if self._page[p.THAWING]:
            yield from self._go_on()
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
        if _left_ns(page, (yield from _clock())) <= 0:
            return
        page[p.THAWING] = 1  # before the state: a guard that dies between the two leaves a held server, not a half-held one
        self._enter(p.STATE_ARMED)  # before the first process runs: the deadline guards it from here on
        yield from self._go_on()

    def _go_on(self) -> GuardSteps[None]:
        """Continue all processes; again by the next guard if this one dies half-way."""
        self._postmaster = self._postmaster or (yield from sweep.find_postmaster())
        is_there = self._postmaster is not None and (yield from sweep.thaw(self._postmaster))
        self._page[p.THAWING] = 0
        if is_there:
            self.said.append("let go on")
        elif self.state == p.STATE_ARMED:
            yield from self._kill("its postmaster died while it was held")
        else:
            yield from sweep.kill_stopped()

    # --- looks

    def _while_armed(self) -> GuardSteps[int]:
        page = self._page
        left_ns = _left_ns(page, (yield from _clock()))
        if left_ns <= 0:
            return (yield from self._hold("the lease is over"))
        if page[p.THAWING]:  # a thaw whose guard died
            yield from self._go_on()
            return 0
        known = self._postmaster
        if known is None or (yield from sweep.look(known)) is None:
            yield from self._find_postmaster()
        return min(left_ns, LOOK_NS)

    def _find_postmaster(self) -> GuardSteps[None]:
        found = yield from sweep.find_postmaster()
        if found is not None and found.session != found.pid:
            self.said.append(f"postmaster {found.pid} leads no session: it will be killed, not held, when the lease is over")
        self._postmaster = found
        self._page[p.POSTMASTER] = found.pid if found else 0

    def _hold(self, why: str) -> GuardSteps[int]:
        """Stop the server; what cannot be held is killed (rules 2, 13, 15)."""
        page = self._page
        began = yield from _clock()
        if self.state != p.STATE_HELD:
            page[p.HELD_BOOT_NS] = began.boot_ns
        page[p.SWEEP_NS] = 0
        self._enter(p.STATE_HELD)  # before the first signal: a guard that dies half-way is followed by one that completes it
        page[p.THAWING] = 0
        held = yield from sweep.hold(self._postmaster)
        if held.outcome != sweep.HELD:
            yield from self._kill(f"{why}, and a hold is {held.outcome}")
            return WATCH_NS
        self._postmaster = held.postmaster
        yield from self._swept(began, held.count)
        self.said.append(f"held {held.count} processes: {why}")
        return WATCH_NS

    def _while_held(self) -> GuardSteps[int]:
        """Keep it held; who runs without our thaw, or a hold that lasts too long, ends it (§4.3)."""
        page = self._page
        now = yield from _clock()
        if now.boot_ns - page[p.HELD_BOOT_NS] >= page[p.HOLD_NS]:
            yield from self._kill("held for too long")
            return WATCH_NS
        if not page[p.SWEEP_NS]:
            return (yield from self._hold("the guard before this one died while it held"))
        self._postmaster = self._postmaster or (yield from sweep.find_postmaster())
        if self._postmaster is None or not (yield from sweep.is_held(self._postmaster)):
            yield from self._kill("something ran, or its postmaster died, while it was held")
        return WATCH_NS

    def _kill(self, why: str) -> GuardSteps[None]:
        """Kill whatever lives. why: empty at the looks after a kill."""
        began = yield from _clock()
        self._enter(p.STATE_KILLED)
        self._page[p.THAWING] = 0
        killed = yield from sweep.kill(self._postmaster, sweep.KILL_ROUNDS if why else sweep.WATCH_ROUNDS)
        self._postmaster = None
        self.is_empty = not killed.left
        if why or killed.count > len(killed.left):
            yield from self._swept(began, killed.count)
            left = "".join(f", pid {each.pid} is left in state {each.letter}" for each in killed.left)
            self.said.append(f"killed {killed.count} processes: {why or 'they appeared after the kill'}{left}")

    def drill(self, hold_ns: int) -> GuardSteps[str]:
        """Hold and thaw a server that nobody guards; return what it did, or why not. An order of the agent ends it early."""
        page = self._page
        if self.state != p.STATE_IDLE or page[p.THAWING] or page[p.ORDER] != page[p.DONE]:
            return "refused: not idle"
        began = yield from _clock()
        page[p.THAWING] = 1  # before the first signal: another guard lets it go on
        held = yield from sweep.hold(None)
        stopped = yield from _clock()
        self._postmaster = held.postmaster
        now = stopped
        while held.outcome == sweep.HELD and now.boot_ns - stopped.boot_ns < hold_ns and page[p.ORDER] == page[p.DONE]:
            yield sweep.Pause(DRILL_STEP_S)
            now = yield from _clock()
        is_quiet = held.postmaster is not None and (yield from sweep.is_held(held.postmaster))
        if held.postmaster is None:
            page[p.THAWING] = 0
        else:
            yield from self._go_on()
        sweep_ms = (stopped.boot_ns - began.boot_ns) / 1e6
        kept_ms = (now.boot_ns - stopped.boot_ns) / 1e6
        outcome = held.outcome if is_quiet or held.outcome != sweep.HELD else "broken: something ran meanwhile"
        return f"{outcome}: {held.count} processes in {sweep_ms:.1f} ms, held for {kept_ms:.0f} ms"

    def _swept(self, began: Clock, count: int) -> GuardSteps[None]:
        self._page[p.SWEPT_PROCESSES] = count
        self._page[p.SWEEP_NS] = max(1, (yield from _clock()).boot_ns - began.boot_ns)

    def _enter(self, state: int) -> None:
        self._page[p.STATE] = state


def _left_ns(page: p.Page, now: Clock) -> int:
    """Return in how many ns Postgres must be fenced: when either clock says so, or the page makes no sense."""
    left_ns = min(page[p.DEADLINE_BOOT_NS] - now.boot_ns, page[p.DEADLINE_RAW_NS] - now.raw_ns)
    return left_ns if left_ns < LONGEST_NS else 0


def _clock() -> GuardSteps[Clock]:
    answer = yield ReadClock()
    assert isinstance(answer, Clock)
    return answer
