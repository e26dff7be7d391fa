"""Run schedules: one by its seed, or many on all cores; and say what they showed."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median

from tests.simulation.parts import REAL, Parts
from tests.simulation.plan import FAULTS_END_S, LENGTH_S, Kind, Plan, plan_of
from tests.simulation.world import World

OUTAGE_S = 1.5  # routed clients normally hear something several times a second
STEADY_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one schedule showed."""

    seed: int
    violations: tuple[str, ...]
    simulated_s: float
    events: int
    promotions: int
    outages_s: tuple[float, ...]  # times without a writable leader, as the routed client saw them
    excused: int
    by_act: int
    lost: int  # acknowledged statements that the last leader does not have
    converged_s: float  # after the last fault
    orphaned_s: float
    torn: int  # rewinds that were cut short, or failed after they had begun
    trace: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """Return the line that replays a failure."""
        what = self.violations[0] if self.violations else "ok"
        return f"script/simulate --seed {self.seed} --verbose   # {what}"


def run(seed: int, *, parts: Parts = REAL, focus: Sequence[Kind] = (), is_verbose: bool = False) -> Report:
    """Run one schedule to its end or its first violation."""
    return run_plan(plan_of(seed, focus), parts, is_verbose=is_verbose)


def run_plan(plan: Plan, parts: Parts = REAL, *, is_verbose: bool = False) -> Report:
    """Run one schedule to its end or its first violation."""
    world = World(plan, parts)
    world.checkers.notes = [] if is_verbose else None
    converged_s = 0.0
    try:
        world.start()
        world.run_until(FAULTS_END_S)
        converged_s = _converge(world)
    except Exception:  # noqa: BLE001  # whatever the code under test raises is a finding of this seed
        world.checkers.fail("none", traceback.format_exc())
    return _report(world, converged_s)


def _converge(world: World) -> float:
    """Go on until all has been well for a while; return how long that took from the last fault."""
    end_s, checkers = FAULTS_END_S + world.plan.bound_s, world.checkers
    well_s: float | None = None
    why: str | None = "nobody looked"
    while not checkers.violations:
        world.run_until(world.engine.now_s + 0.5)
        now_s, why = world.engine.now_s, checkers.unconverged()
        well_s = None if why is not None else well_s or now_s
        if well_s is not None and now_s - well_s >= STEADY_S and now_s >= LENGTH_S:
            return well_s - FAULTS_END_S
        if now_s > end_s and (why is not None or now_s > end_s + LENGTH_S):
            checkers.fail("5", f"not converged {world.plan.bound_s:.0f} s after the last fault: {why}")
    return 0.0


def _report(world: World, converged_s: float) -> Report:
    checkers, told = world.checkers, world.clients.routed
    gaps = [later - sooner for sooner, later in zip(told.acknowledged_s, told.acknowledged_s[1:], strict=False)]
    return Report(
        seed=world.plan.seed,
        violations=tuple(str(violation) for violation in checkers.violations),
        simulated_s=world.engine.now_s,
        events=world.engine.events,
        promotions=checkers.tally.promotions,
        outages_s=tuple(gap for gap in gaps if gap > OUTAGE_S),
        excused=checkers.tally.excused,
        by_act=checkers.tally.by_act,
        lost=_lost(world),
        converged_s=converged_s,
        orphaned_s=checkers.tally.orphaned_s,
        torn=checkers.tally.torn,
        trace=tuple(checkers.notes or ()),
    )


def _lost(world: World) -> int:
    leader = world.leader()
    data = leader.postgres.data if leader is not None else None
    if data is None:
        return 0
    return len(world.checkers.tally.acknowledged.keys() - data.branch.statements(data.written))


def _quiet(seed: int) -> Report:
    return run(seed)


def run_many(seeds: Iterable[int], jobs: int) -> Iterator[Report]:
    """Run schedules on so many processes; yield their reports in order."""
    if jobs <= 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        yield from pool.map(_quiet, seeds, chunksize=4)


@dataclass(slots=True)
class Summary:
    """What many schedules showed."""

    reports: list[Report]

    def lines(self) -> Iterator[str]:
        """Yield the summary, one fact a line."""
        reports = self.reports
        outages = [outage for report in reports for outage in report.outages_s]
        converged = [report.converged_s for report in reports if not report.violations]
        yield _line("schedules", f"{len(reports)}, {sum(report.simulated_s for report in reports):.0f} s simulated")
        yield _line("events", sum(report.events for report in reports))
        yield _line("promotions", sum(report.promotions for report in reports))
        if outages:
            yield _line(
                "without a writable leader", f"median {median(outages):.1f} s, max {max(outages):.1f} s, {len(outages)} times"
            )
        if converged:
            yield _line("well after the last fault", f"median {median(converged):.1f} s, max {max(converged):.1f} s")
        yield _line("lost by asynchronous failover", f"{sum(report.lost for report in reports)} statements")
        yield _line("by dead or frozen agents", f"{sum(report.excused for report in reports)} statements (not failed)")
        yield _line("after an act of the store", f"{sum(report.by_act for report in reports)} statements (not failed)")
        orphaned_s = max((report.orphaned_s for report in reports), default=0.0)
        yield _line("orphaned primary writable", f"max {orphaned_s:.1f} s beside a new agent")
        yield _line("rewinds cut short", f"{sum(report.torn for report in reports)}, their data directories cloned anew")
        yield _line("failed", sum(1 for report in reports if report.violations))


def _line(what: str, value: object) -> str:
    return f"{what:<30}{value}"
