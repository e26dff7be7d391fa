"""How long the guard needs to stop, continue and kill a server of 500 sessions, and what it weighs. Without an agent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from patroni.decision.view import GuardState
from patroni.fence import guard_launch, guard_status
from patroni.fence.guard_client import GuardFence
from patroni.fence.guard_launch import Place
from patroni.fence.guard_status import GuardStatus
from patroni.fence.page_file import DIRECTORY
from tests.bench.figure import Figure
from tests.bench.scenario import Effort, Measured, Scenario, say
from tests.bench.software import CannotMeasure, Software
from tests.fence.server import LIMIT_S, Server, now, proof
from tests.support.directories import server_directory, unprivileged_user
from tests.support.identity import running_as
from tests.support.postgres_binaries import installed_postgres
from tests.support.waiting import wait_until

_RUNS = 10
_SESSIONS = 500
_ROWS_EACH_S = 500  # written by all together: some sessions work at any moment, the others wait for a client
_LONG_S = 600.0

HOLD = Figure(name=f"hold of {_SESSIONS} sessions", unit="s", never_above=0.25, digits=3)
KILL = Figure(name=f"kill of {_SESSIONS} sessions", unit="s", digits=3)
WEIGHT = Figure(name="guard: RSS", unit="MB", most=12, digits=1)
OWN = Figure(name="guard: private memory", unit="MB", most=4, digits=1)


def scenarios() -> list[Scenario]:
    """Return the one scenario."""
    return [Scenario(name="hold", figures=(HOLD, KILL, WEIGHT, OWN), measure=_measure)]


def _measure(software: Software, effort: Effort) -> Measured:
    """Measure; a software without a guard of ours has nothing to show."""
    measured: dict[Figure, list[float]] = {figure: [] for figure in (HOLD, KILL, WEIGHT, OWN)}
    if software.is_stock:
        return measured
    with server_directory("hold") as directory, running_as(unprivileged_user()), ExitStack() as ending:
        server = Server(directory / "server", installed_postgres()[0])
        server.initialize()
        server.start(max_connections=_SESSIONS + 20)
        ending.callback(server.remove)
        fence = ending.enter_context(_guarded(server))
        for number in range(effort.runs_of(_RUNS)):
            with server.load(sessions=_SESSIONS, stormers=2, rows_each_s=_ROWS_EACH_S):
                _hold(fence, server, measured)
                _kill(fence, server, measured)
            say(f"hold, run {number + 1}: {measured[HOLD][-1]:.3f} s, kill {measured[KILL][-1]:.3f} s")
            server.start_again()
    return measured


@contextmanager
def _guarded(server: Server) -> Iterator[GuardFence]:
    place = guard_launch.place(str(server.data_dir), frozenset({"postgres"}), os.geteuid())
    fence = GuardFence(place, 60.0)
    fence.launch()
    try:
        yield fence
    finally:
        fence.disarm()
        fence.close()
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(DIRECTORY, place.name))


def _hold(fence: GuardFence, server: Server, measured: dict[Figure, list[float]]) -> None:
    """Let the lease be over, take the guard's own time from its clock reading to the last check, and let go on."""
    _expect(fence.arm(proof(_LONG_S)), "an armed guard")
    fence.adopt(proof(0.0))
    wait_until(lambda: fence.state() is GuardState.HELD and _swept_s(fence.place) is not None, LIMIT_S, "the hold")
    measured[HOLD].append(_swept_s(fence.place) or 0.0)
    rows = dict(line.split(":") for line in Path(f"/proc/{fence.pid}/smaps_rollup").read_text().splitlines()[1:])
    measured[WEIGHT].append(int(rows["Rss"].split()[0]) / 1024)
    measured[OWN].append(int(rows["Private_Dirty"].split()[0]) / 1024)
    wait_until(server.is_standing, LIMIT_S, "all standing", server.states)
    _expect(fence.thaw(proof(_LONG_S)), "the thaw")
    wait_until(server.answers, LIMIT_S, "the server after the thaw")


def _kill(fence: GuardFence, server: Server, measured: dict[Figure, list[float]]) -> None:
    _expect(fence.kill(), "the kill")
    measured[KILL].append(_swept_s(fence.place) or 0.0)
    fence.disarm()
    wait_until(lambda: fence.state() is GuardState.IDLE, LIMIT_S, "idle")


def _swept_s(place: Place) -> float | None:
    found: GuardStatus | None = guard_status.status(place, now())
    return None if found is None or found.sweep_ms is None else found.sweep_ms / 1000


def _expect(is_so: bool, what: str) -> None:  # a fact to be checked
    if not is_so:
        raise CannotMeasure(f"{what} failed")
