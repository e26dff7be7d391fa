"""Measure, and print one table: `script/bench [--peer] [--only NAME ...] [--runs N] [--quick]`."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from datetime import UTC, datetime

from tests.bench import health_check, hold, idle, outage
from tests.bench.figure import Figure, table
from tests.bench.machine import load, machine
from tests.bench.scenario import Effort, Measured, Scenario, say
from tests.bench.software import CannotMeasure, Software, ours, stock
from tests.support.program import MissingProgram, find_program
from tests.support.waiting import NotInTime

SCENARIOS = [*outage.scenarios(), *idle.scenarios(), *health_check.scenarios(), *hold.scenarios()]
RATIO = Figure(name="GET /primary, Connection: close, ours / stock", unit="x", least=3, digits=1)


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    options = _parser().parse_args()
    os.environ.pop("PYTHONPATH", None)  # the stock agent's modules have the names of ours
    wanted = [scenario for scenario in SCENARIOS if not options.only or scenario.name in options.only]
    effort = Effort(runs=options.runs, is_quick=options.quick)
    began, load_before = datetime.now(tz=UTC), load()
    try:
        for program in ("etcd", "haproxy", "wrk"):
            find_program(program)
        mine, theirs = _measure(wanted, effort, ours(), stock() if options.peer else None)
    except (CannotMeasure, MissingProgram, NotInTime) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"\n{table(mine, theirs)}\n")
    print(f"machine: {machine()}")
    print(f"commit:  {os.environ.get('BENCH_COMMIT', 'unknown')}")
    print(f"load:    {load_before} before; {began:%Y-%m-%d %H:%M} to {datetime.now(tz=UTC):%H:%M} UTC")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--peer", action="store_true", help="measure the stock agent, too")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}; repeatable")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each measurement; default: as many as the goal asks for")
    parser.add_argument("--quick", action="store_true", help="few and short runs, to see that it works")
    return parser


def _measure(wanted: list[Scenario], effort: Effort, own: Software, peer: Software | None) -> tuple[Measured, Measured | None]:
    """Take all figures: of each scenario first ours, then right after it the peer's."""
    mine: dict[Figure, list[float]] = {}
    theirs: dict[Figure, list[float]] = {}
    for scenario in wanted:
        mine.update(_take(scenario, own, effort))
        if peer is not None:
            theirs.update(_take(scenario, peer, effort))
    rates = (mine.get(health_check.CLOSED), theirs.get(health_check.CLOSED))
    if rates[0] and rates[1]:
        mine[RATIO] = [statistics.median(rates[0]) / statistics.median(rates[1])]
    return mine, theirs if peer is not None else None


def _take(scenario: Scenario, software: Software, effort: Effort) -> Measured:
    say(f"{scenario.name}: {software.title} {software.version}, load {load()}")
    return scenario.measure(software, effort)


if __name__ == "__main__":
    sys.exit(main())
