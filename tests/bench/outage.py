"""How long writes are away when something ends, and how soon after the event the agent has decided.

An outage counts for the client: from its last acknowledged insert to the next one. A decision is timed by the agent's own
log: from the moment before the event is caused to the time of the line that states the decision.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.bench.api import switch_over
from tests.bench.cluster import LOOP_WAIT_S, TTL_S, Cluster, Node, Shape
from tests.bench.figure import Figure
from tests.bench.scenario import Effort, Measured, Scenario, any_moment_s, rest, say
from tests.bench.software import CannotMeasure, Software
from tests.bench.writer import Writer
from tests.support.waiting import NotInTime, wait_until

_SETTLE_S = 1.0
_EXIT_TIMEOUT_S = 60.0
_LINE_TIMEOUT_S = 5.0
_STAMP = "%Y-%m-%d %H:%M:%S,%f"
_STAMP_LENGTH = len("2026-01-01 00:00:00,000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that takes writes away."""

    name: str
    outage: Figure
    cause: Callable[[Cluster, Node], None]  # on the leader
    mend: Callable[[Node], None] = lambda _: None  # whatever does not come back by itself
    decision: Figure | None = None
    line: str = ""  # the decision's in the log of the leader's agent
    runs: int = 20
    dynamic: Mapping[str, Any] = field(default_factory=dict)


def scenarios() -> list[Scenario]:
    """Return one scenario an event."""
    return [_scenario(event) for event in _EVENTS]


def _scenario(event: Event) -> Scenario:
    figures = (event.outage, *([event.decision] if event.decision else []))

    def measure(software: Software, effort: Effort) -> Measured:
        measured: dict[Figure, list[float]] = {figure: [] for figure in figures}
        with Cluster(Shape(software=software, dynamic=event.dynamic)) as cluster, Writer(cluster.port) as writer:
            for number in range(effort.runs_of(event.runs)):
                _settle(cluster, writer, effort)
                _run(event, cluster, writer, measured)
                shown = ", ".join(f"{values[-1]:.3f} {figure.unit}" for figure, values in measured.items() if values)
                say(f"{event.name} of {software.title}, run {number + 1}: {shown}")
        return measured

    return Scenario(name=event.name, figures=figures, measure=measure)


def _settle(cluster: Cluster, writer: Writer, effort: Effort) -> None:
    """Wait until all is well, and then for a moment of no special phase of the agents' cycles."""
    cluster.wait_healthy()
    writer.wait_steady()
    rest(_SETTLE_S + any_moment_s(0.0 if effort.is_quick else LOOP_WAIT_S))


def _run(event: Event, cluster: Cluster, writer: Writer, measured: Mapping[Figure, list[float]]) -> None:
    leader = cluster.leader
    log_bytes = leader.process.log_file.stat().st_size
    began_s, began_wall_s = time.monotonic(), time.time()
    event.cause(cluster, leader)
    wait_until(lambda: writer.outage_s(began_s) > 0, _EXIT_TIMEOUT_S, f"an outage after {event.name}", cluster.describe)
    writer.wait_steady()
    if event.decision is not None and not cluster.shape.software.is_stock:
        decided_wall_s = _time_of_line(event.line, leader, log_bytes)
        measured[event.decision].append(max(0.0, decided_wall_s - began_wall_s) * 1000)  # the log has milliseconds
    event.mend(leader)
    cluster.wait_healthy()
    writer.wait_steady()
    measured[event.outage].append(writer.outage_s(began_s))


def _time_of_line(line: str, node: Node, from_bytes: int) -> float:
    """Return when (wall clock) the agent wrote the first line that matches, after this position of its log."""
    pattern = re.compile(line)

    def found() -> str | None:
        with node.process.log_file.open("rb") as log:
            log.seek(from_bytes)
            lines = log.read().decode(errors="replace").splitlines()
        return next((each for each in lines if pattern.search(each)), None)

    try:
        text = wait_until(found, _LINE_TIMEOUT_S, f"the line {line!r}", node.process.log_tail)
    except NotInTime as error:
        raise CannotMeasure(f"the log does not say {line!r}, so the decision cannot be timed\n{error}") from error
    assert text is not None
    return datetime.strptime(text[:_STAMP_LENGTH], _STAMP).timestamp()  # noqa: DTZ007  # the log is in local time


# --- causes


def _switch_over(cluster: Cluster, leader: Node) -> None:
    answer = switch_over(leader.rest_port, leader.name)
    if answer.status != 200:
        raise CannotMeasure(f"POST /switchover: {answer.status} {answer.text}\n{cluster.describe()}")


def _terminate_agent(_cluster: Cluster, leader: Node) -> None:
    leader.process.signal(signal.SIGTERM)


def _kill_postmaster(_cluster: Cluster, leader: Node) -> None:
    os.kill(leader.postmaster_pid, signal.SIGKILL)


def _kill_node(_cluster: Cluster, leader: Node) -> None:
    leader.kill()


def _end_and_restart(node: Node) -> None:
    node.process.wait_end(_EXIT_TIMEOUT_S)
    node.restart()


_EVENTS = (
    Event(
        name="switchover",
        outage=Figure(name="write outage: switchover", unit="s", most=0.8),
        cause=_switch_over,
        decision=Figure(name="decision after: POST /switchover", unit="ms", most=50, digits=0),
        line="switchover: demoting myself",
    ),
    Event(
        name="sigterm",
        outage=Figure(name="write outage: SIGTERM of the leader's agent", unit="s", most=0.8),
        cause=_terminate_agent,
        mend=_end_and_restart,
        decision=Figure(name="decision after: SIGTERM", unit="ms", most=50, digits=0),
        line="shutting down: stopping Postgres",
    ),
    Event(
        name="postmaster",
        outage=Figure(name="write outage: postmaster killed, restart in place", unit="s", most=1.5),
        cause=_kill_postmaster,
        decision=Figure(name="decision after: postmaster killed", unit="ms", most=50, digits=0),
        line="starting primary after failure",
    ),
    Event(
        name="postmaster-failover",
        outage=Figure(name="write outage: postmaster killed, primary_start_timeout 0", unit="s", most=1.5),
        cause=_kill_postmaster,
        decision=Figure(name="decision after: postmaster killed, start timeout 0", unit="ms", most=50, digits=0),
        line="stopped Postgres to fail over after a crash",
        dynamic={"primary_start_timeout": 0},
    ),
    Event(
        name="node",
        outage=Figure(name="write outage: node killed", unit="s", most=TTL_S, never_above=TTL_S + 1.5),
        cause=_kill_node,
        mend=Node.restart,
        runs=10,
    ),
)
