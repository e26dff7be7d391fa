"""What the guard of a data directory does, for people: `patronictl fence status` and `test`. Works without the agent.

Writes no page, and its connection keeps no guard alive: that is the agent's part (guard_client.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from patroni.decision.lease import Instant
from patroni.decision.view import GuardState
from patroni.fence import guard_launch as launch
from patroni.fence import page as p
from patroni.fence import page_file
from patroni.fence.guard_client import STATES
from patroni.fence.guard_launch import GuardUnavailable, Place
from patroni.fence.page_file import PageUnusable

_DRILL_SPARE_S = 5.0  # beyond the hold itself: a stop and a thaw of hundreds of processes on a busy machine


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStatus:
    """One look at a guard and its page."""

    state: GuardState  # ABSENT: no guard runs
    page_state: GuardState  # what the page says; with no guard: what the next one goes on with
    pid: int | None  # None: no guard runs
    postmaster: int | None  # that it watches over; None: it sees none
    left_s: float | None  # until Postgres is fenced; None: not armed
    held_s: float | None  # how long it has been held; None: it is not
    processes: int | None  # of the last hold or kill; None: there was none
    sweep_ms: float | None  # how long that took
    note: str  # its last words, empty if none


def status(place: Place, now: Instant) -> GuardStatus | None:
    """Look; None: no guard ever ran here since the machine started. Raise GuardUnavailable for what cannot be asked."""
    line = launch.connect(place.name, place.user)
    try:
        pid = None if line is None else line.ask().pid
        file = page_file.open_page(place.name, place.user, is_writable=False)
    except PageUnusable as error:
        raise GuardUnavailable(f"the guard's page: {error}") from error
    finally:
        if line is not None:
            line.close()
    if file is None:
        return None
    try:
        return _seen(file.page, pid, now)
    finally:
        file.close()


def drill(place: Place, hold_ms: int) -> str:
    """Hold an unguarded server for so long, and let it go on; return what the guard says of it.

    The caller sees to it that it is a running standby: the guard does not know, and refuses only where it guards.
    """
    line = launch.connect(place.name, place.user)
    if line is None:
        raise GuardUnavailable("no guard runs here; its agent starts it")
    try:
        return line.ask(f"drill {hold_ms}", hold_ms / 1000 + _DRILL_SPARE_S).text
    finally:
        line.close()


def disarm(place: Place) -> GuardState:
    """Have the guard stop guarding; what it holds is killed. An agent that leads arms it again. Return its state afterwards."""
    line = launch.connect(place.name, place.user)
    if line is None:
        raise GuardUnavailable("no guard runs here")
    try:
        return STATES.get(line.ask("disarm").state, GuardState.ABSENT)
    finally:
        line.close()


def _seen(page: p.Page, pid: int | None, now: Instant) -> GuardStatus:
    state = STATES.get(page[p.STATE], GuardState.ARMED)
    left_s = min(page[p.DEADLINE_BOOT_NS] / 1e9 - now.boot_s, page[p.DEADLINE_RAW_NS] / 1e9 - now.raw_s)
    sweep_ns = page[p.SWEEP_NS]
    return GuardStatus(
        state=GuardState.ABSENT if pid is None else state,
        page_state=state,
        pid=pid,
        postmaster=page[p.POSTMASTER] or None if state is GuardState.ARMED else None,
        left_s=left_s if state is GuardState.ARMED else None,
        held_s=now.boot_s - page[p.HELD_BOOT_NS] / 1e9 if state is GuardState.HELD else None,
        processes=page[p.SWEPT_PROCESSES] if sweep_ns else None,
        sweep_ms=sweep_ns / 1e6 if sweep_ns else None,
        note=page.note,
    )
