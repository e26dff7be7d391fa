"""What an agent costs while nothing happens: no HTTP requests but those of the other agents."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cluster import Cluster, Node, Shape
from tests.bench.figure import Figure
from tests.bench.scenario import Effort, Measured, Scenario, rest, say
from tests.bench.software import Software

_RUNS = 5
_MINUTE_S = 60.0
_SETTLE_S = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")

CPU = {role: Figure(name=f"idle {role}: CPU", unit="s/min", most=0.04, digits=3) for role in ("leader", "replica")}
RSS = {role: Figure(name=f"idle {role}: RSS", unit="MB", most=43, digits=1) for role in ("leader", "replica")}
REQUESTS = {
    "leader": Figure(name="idle leader: store requests", unit="1/min", most=15, digits=1),
    "replica": Figure(name="idle replica: store requests", unit="1/min", most=9, digits=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spent:
    cpu_s: float
    requests: int


def scenarios() -> list[Scenario]:
    """Return the one scenario."""
    return [Scenario(name="idle", figures=(*CPU.values(), *RSS.values(), *REQUESTS.values()), measure=_measure)]


def _measure(software: Software, effort: Effort) -> Measured:
    measured: dict[Figure, list[float]] = {figure: [] for figure in (*CPU.values(), *RSS.values(), *REQUESTS.values())}
    window_s = effort.seconds(_MINUTE_S)
    with Cluster(Shape(software=software, counts_requests=True, has_haproxy=False)) as cluster:
        leader = cluster.leader
        rest(effort.seconds(_SETTLE_S))
        for number in range(effort.runs_of(_RUNS)):
            before = [_spent(node) for node in cluster.nodes]
            rest(window_s)
            after = [_spent(node) for node in cluster.nodes]
            for node, was, now in zip(cluster.nodes, before, after, strict=True):
                role = "leader" if node is leader else "replica"
                measured[CPU[role]].append((now.cpu_s - was.cpu_s) * _MINUTE_S / window_s)
                measured[REQUESTS[role]].append((now.requests - was.requests) * _MINUTE_S / window_s)
                measured[RSS[role]].append(_rss_bytes(node) / 1e6)
            say(f"idle of {software.title}, window {number + 1}: leader {measured[CPU['leader']][-1]:.3f} CPU s a minute")
    return measured


def _spent(node: Node) -> _Spent:
    """Return what the agent has used so far: its threads by the scheduler's own clock, its ended children by ticks."""
    process = Path(f"/proc/{node.process.pid}")
    threads_ns = sum(int((task / "schedstat").read_text().split()[0]) for task in (process / "task").iterdir())
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    own_ticks, children_ticks = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    assert node.proxy is not None
    return _Spent(cpu_s=max(threads_ns / 1e9, own_ticks / _TICKS) + children_ticks / _TICKS, requests=node.proxy.requests)


def _rss_bytes(node: Node) -> int:
    """Return the resident memory of the agent."""
    pages = int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
