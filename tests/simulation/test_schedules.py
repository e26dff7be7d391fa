"""Hundreds of schedules: whatever goes wrong, no invariant is broken. A failing seed prints the line that replays it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.plan import FAULTS_END_S, LENGTH_S, Plan, plan_of
from tests.simulation.runner import run

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "300"))
BATCH = 25
FIRST_SEED = 1


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """Return as many processes as there are cores; started anew, not forked beside pytest's threads."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=context) as pool:
        yield pool


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SCHEDULES, BATCH))
def test_no_schedule_breaks_an_invariant(first: int, workers: ProcessPoolExecutor) -> None:
    seeds = range(first, min(first + BATCH, FIRST_SEED + SCHEDULES))
    reports = list(workers.map(run, seeds))
    assert all(report.violations or report.simulated_s >= LENGTH_S for report in reports)
    failed = [report.line for report in reports if report.violations]
    assert not failed, "\n".join(["", *failed])


def test_a_seed_replays_to_the_letter() -> None:
    assert run(7, is_verbose=True) == run(7, is_verbose=True)


@pytest.mark.parametrize("seed", range(1, 20))
def test_each_plan_has_three_nodes_and_three_faults_in_time(seed: int) -> None:
    plan: Plan = plan_of(seed)
    assert len(plan.names) >= 3
    assert len(plan.faults) >= 3
    assert all(fault.at_s < FAULTS_END_S for fault in plan.faults)
    assert plan == plan_of(seed)
