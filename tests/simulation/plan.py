"""Plans: one seed decides everything; a swarm of fault rates, so that each seed is bad in its own way.

A plan names what the cluster is like and which faults come when. Targets such as `leader` are found when the fault comes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from patroni.decision.settings import Settings

QUIET_S = 12.0  # before the first fault
FAULTS_END_S = 90.0
TTLS = (5.0, 6.0, 10.0, 10.0, 15.0, 20.0, 30.0)
SHORT_TTLS = (5.0, 6.0, 10.0)
FASTEST = 1.08  # of the store's clock (safety_rules.md §3)
LENGTH_S = 120.0  # at least; longer until the cluster has converged, or the bound is over


class Kind(StrEnum):
    """What can go wrong, or be asked for."""

    AGENT_KILL = "kill the agent"
    AGENT_FREEZE = "freeze the agent"
    AGENT_STOP = "stop the agent"  # SIGTERM
    HOST_SUSPEND = "suspend the host"
    HOST_CRASH = "crash the host"
    POSTMASTER_KILL = "kill the postmaster"
    POSTGRES_KILL = "kill all of Postgres"
    ISOLATE = "cut the node off from all"
    CUT_STORE = "cut the node off from the store"
    CUT_STORE_ONE_WAY = "cut one way between node and store"
    CUT_PEER = "cut two nodes off from each other"
    CUT_PEER_ONE_WAY = "cut one way between two nodes"
    STORE_TROUBLE = "requests to the store are late, lost, doubled"
    STORE_FREEZE = "freeze the store"
    STORE_STILL = "the store's clock stands still"
    STORE_DEPOSED = "a deposed leader of the store answers"
    STORE_RESTORE = "restore the store from a copy"
    SESSION_END = "the store ends a session"
    LOCK_DELETE = "an operator deletes the leader key"
    SLEW = "slew a clock"
    SLOW_POSTGRES = "Postgres starts, stops and promotes slowly"
    SLOW_NETWORK = "a slow network"
    SWITCHOVER = "ask for a switchover"
    TRAP_FREEZE = "freeze the agent at a step"
    TRAP_KILL = "kill the agent at a step"
    TRAP_CRASH = "crash the host at a step"


WEIGHTS = {
    Kind.AGENT_KILL: 3,
    Kind.AGENT_FREEZE: 3,
    Kind.AGENT_STOP: 2,
    Kind.HOST_SUSPEND: 2,
    Kind.HOST_CRASH: 3,
    Kind.POSTMASTER_KILL: 2,
    Kind.POSTGRES_KILL: 2,
    Kind.ISOLATE: 3,
    Kind.CUT_STORE: 3,
    Kind.CUT_STORE_ONE_WAY: 2,
    Kind.CUT_PEER: 2,
    Kind.CUT_PEER_ONE_WAY: 2,
    Kind.STORE_TROUBLE: 4,
    Kind.STORE_FREEZE: 2,
    Kind.STORE_STILL: 1,
    Kind.STORE_DEPOSED: 3,
    Kind.SLEW: 2,
    Kind.SLOW_POSTGRES: 3,
    Kind.SLOW_NETWORK: 1,
    Kind.SWITCHOVER: 3,
    Kind.TRAP_FREEZE: 3,
    Kind.TRAP_KILL: 3,
    Kind.TRAP_CRASH: 1,
}
BY_ACT = (Kind.STORE_RESTORE, Kind.SESSION_END, Kind.LOCK_DELETE)  # in schedules of their own, without cuts between nodes
CUTS = (Kind.ISOLATE, Kind.CUT_PEER, Kind.CUT_PEER_ONE_WAY)
HIDING = (*CUTS, Kind.SLOW_NETWORK)  # a node that runs may not be heard
STEPS = ("chain", "job", "keeper", "fence", "turn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong at a time, for a while."""

    at_s: float
    kind: Kind
    target: str  # a node's name, `leader` or `standby`
    for_s: float
    chance: int  # decides what else there is to decide
    step: str = ""  # of a trap: at which step of which actor it strikes
    skip: int = 0  # of a trap: how many such steps it lets pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one schedule is like."""

    seed: int
    names: tuple[str, ...]
    settings: Settings
    is_plain_store: bool
    is_sync: bool  # synchronous_standby_names = '*'
    is_new: bool  # the cluster is made from nothing
    store_rate: float
    boot_rates: tuple[float, ...]  # of each node
    replay_lag_s: float
    faults: tuple[Fault, ...]

    @property
    def bound_s(self) -> float:
        """Return within how many seconds after the last fault all must be well again."""
        return 3 * self.settings.ttl_s + 60.0


def plan_of(seed: int, focus: Sequence[Kind] = ()) -> Plan:
    """Return the plan of a seed. focus: nothing but these kinds, often, on the worst clocks; empty: a swarm."""
    chance = random.Random(seed)
    names = ("a", "b", "c") if chance.random() < 0.85 else ("a", "b", "c", "d")
    settings = _settings(chance, SHORT_TTLS if focus else TTLS)
    kinds = list(focus) or _kinds(chance)
    number = chance.randint(8, 14) if focus else chance.randint(4, 10)
    faults = sorted((_fault(chance, kinds, names, settings) for _ in range(number)), key=lambda fault: fault.at_s)
    is_drifting = chance.random() < 0.5
    return Plan(
        seed=seed,
        names=names,
        settings=settings,
        is_plain_store=not focus and chance.random() < 0.25,
        is_sync=chance.random() < 0.25,
        is_new=chance.random() < 0.15,
        store_rate=FASTEST if focus else chance.choice((1.0, FASTEST, chance.uniform(0.5, FASTEST))),
        boot_rates=tuple(0.92 if focus else chance.uniform(0.92, 1.08) if is_drifting else 1.0 for _ in names),
        replay_lag_s=chance.choice((0.0, 0.0, 0.0, chance.uniform(0.01, 2.0))),
        faults=tuple(faults),
    )


def _settings(chance: random.Random, ttls_s: Sequence[float]) -> Settings:
    ttl_s = chance.choice(ttls_s)
    loop_wait_s = max(1.0, ttl_s / chance.choice((3, 5)))
    return Settings(
        ttl_s=ttl_s,
        loop_wait_s=loop_wait_s,
        retry_timeout_s=max(1.0, (ttl_s - loop_wait_s) / 2 if chance.random() < 0.5 else ttl_s / 3),
        primary_start_timeout_s=chance.choice((300.0, 300.0, 20.0, 0.0)),
        maximum_lag_on_failover_bytes=chance.choice((1048576, 1048576, 4096, 500)),
        check_timeline=chance.random() < 0.5,
        use_pg_rewind=True,
        remove_data_directory_on_rewind_failure=True,
        remove_data_directory_on_diverged_timelines=chance.random() < 0.3,
        has_bootstrap_section=True,
        use_slots=chance.random() < 0.8,
    )


def _kinds(chance: random.Random) -> list[Kind]:
    """Choose which kinds this seed has."""
    kinds: list[Kind] = []
    while len(kinds) < 3 or chance.random() < 0.6:
        kinds.append(chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0])
    if chance.random() < 0.12:
        kinds = [kind for kind in kinds if kind not in CUTS] + [chance.choice(BY_ACT)]
    return kinds


def _fault(chance: random.Random, kinds: Sequence[Kind], names: Sequence[str], settings: Settings) -> Fault:
    kind = chance.choice(kinds)
    target = chance.choice(("leader", "leader", "leader", "standby", *names))
    longest_s = settings.ttl_s * chance.choice((0.3, 0.9, 1.1, 2.0, 3.0))
    return Fault(
        at_s=chance.uniform(QUIET_S, FAULTS_END_S - 5.0),
        kind=kind,
        target=target,
        for_s=chance.uniform(0.1, min(40.0, longest_s)),
        chance=chance.getrandbits(32),
        step=chance.choice(STEPS),
        skip=chance.choice((0, 0, 1, 2, 3, 5, 8)),
    )
