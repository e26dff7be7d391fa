"""Each deliberate bug is found within a bounded number of seeds: the checkers see, and the world is bad enough."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.runner import run

SEEDS = 80


@pytest.mark.parametrize("name", BUGS)
def test_it_is_found(name: str) -> None:
    bug = BUGS[name]
    for seed in range(1, SEEDS + 1):
        report = run(seed, parts=bug.parts, focus=bug.focus)
        if report.violations:
            assert any(f"invariant {invariant}:" in report.violations[0] for invariant in bug.invariants), report.line
            return
    pytest.fail(f"{SEEDS} schedules did not show: {name}")
