"""The command behind script/simulate."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tests.simulation.runner import Report, Summary, run, run_many


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; return the exit code: 1 if a schedule failed."""
    options = _parsed(arguments)
    if options.seed is not None:
        return _one(options.seed, is_verbose=options.verbose)
    seeds = range(options.first, options.first + options.seeds)
    reports: list[Report] = []
    for report in run_many(seeds, options.jobs):
        reports.append(report)
        if report.violations:
            sys.stdout.write(f"\r{report.line}\n")
        _progress(len(reports), len(seeds))
    sys.stdout.write("\n")
    for line in Summary(reports).lines():
        sys.stdout.write(f"{line}\n")
    return 1 if any(report.violations for report in reports) else 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/simulate", description="Simulated clusters under faults.")
    parser.add_argument("--seeds", type=int, default=300, help="how many schedules")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes")
    parser.add_argument("--seed", type=int, help="one schedule only")
    parser.add_argument("--verbose", action="store_true", help="print the trace of that schedule")
    return parser.parse_args(arguments)


def _one(seed: int, *, is_verbose: bool) -> int:
    report = run(seed, is_verbose=is_verbose)
    for line in (*report.trace, *report.violations, *Summary([report]).lines()):
        sys.stdout.write(f"{line}\n")
    return 1 if report.violations else 0


def _progress(done: int, of: int) -> None:
    if sys.stdout.isatty() or done == of or done % 50 == 0:
        sys.stdout.write(f"\r{done} of {of} schedules")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
