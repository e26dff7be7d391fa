"""How many health checks a second the leader's agent answers, and what Postgres has of it."""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import closing

import psycopg2

from tests.bench.cluster import PASSWORD, Cluster, Node, Shape
from tests.bench.figure import Figure
from tests.bench.scenario import Effort, Measured, Scenario, rest, say
from tests.bench.software import CannotMeasure, Software
from tests.support.program import find_program

CONNECTIONS = 16
_RUNS = 5
_RUN_S = 10.0
_QUICK_RUN_S = 2.0
_SETTLE_S = 10.0
_STATISTICS_S = 1.5  # sessions that are used tell their counts once a second

KEPT_ALIVE = Figure(name="GET /primary, kept alive", unit="1/s", least=20_000, digits=0)
CLOSED = Figure(name="GET /primary, Connection: close", unit="1/s", least=5_000, digits=0)
STATEMENTS = Figure(name="GET /primary: SQL transactions meanwhile", unit="1/s", most=10, digits=1)


def scenarios() -> list[Scenario]:
    """Return the one scenario."""
    return [Scenario(name="requests", figures=(KEPT_ALIVE, CLOSED, STATEMENTS), measure=_measure)]


def _measure(software: Software, effort: Effort) -> Measured:
    measured: dict[Figure, list[float]] = {KEPT_ALIVE: [], CLOSED: [], STATEMENTS: []}
    wanted = [CLOSED] if software.is_stock else [KEPT_ALIVE, CLOSED]  # the stock one closes every connection
    with Cluster(Shape(software=software, has_haproxy=False)) as cluster:
        leader = cluster.leader
        rest(effort.seconds(_SETTLE_S))
        for number in range(effort.runs_of(_RUNS)):
            for figure in wanted:
                before, began_s = _transactions(leader), time.monotonic()
                measured[figure].append(_requests_per_s(leader, figure, _QUICK_RUN_S if effort.is_quick else _RUN_S))
                load_s = time.monotonic() - began_s
                rest(_STATISTICS_S)
                measured[STATEMENTS].append((_transactions(leader) - before) / load_s)
            say(f"requests of {software.title}, run {number + 1}: {measured[CLOSED][-1]:,.0f}/s with Connection: close")
    return measured


def _requests_per_s(node: Node, figure: Figure, run_s: float) -> float:
    """Return what wrk says; an answer other than 200 is no measurement."""
    words = [find_program("wrk"), "--threads=1", f"--connections={CONNECTIONS}", f"--duration={run_s:.0f}s"]
    if figure is CLOSED:
        words.append("--header=Connection: close")
    address = f"http://127.0.0.1:{node.rest_port}/primary"
    said = subprocess.run([*words, address], capture_output=True, text=True, timeout=run_s + 30, check=True).stdout
    found = re.search(r"Requests/sec: *([\d.]+)", said)
    if found is None or "Non-2xx" in said:
        raise CannotMeasure(f"wrk says:\n{said}")
    return float(found[1])


def _transactions(node: Node) -> int:
    """Return how many transactions Postgres has ended so far; the agents' statements are one each."""
    conninfo = f"host=127.0.0.1 port={node.postgres_port} dbname=postgres user=postgres password={PASSWORD}"
    with closing(psycopg2.connect(conninfo)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT sum(xact_commit + xact_rollback)::bigint FROM pg_stat_database")
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])
