"""Thousands of random views, many of them absurd: decide answers each, always the same, and never breaks a rule of safety.

Each view is made from a number, so a failure names the one that replays it. The properties are those that one decision can
keep or break by itself (contract/ha_behaviour.md §9, safety_rules.md §6); what a run of them does, the simulation checks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from patroni.decision.actions import (
    AcquireLock,
    Action,
    AdoptLock,
    AskHistory,
    AskPeers,
    ClaimInitialize,
    ClearFailover,
    CloneFrom,
    CrashRecovery,
    Demote,
    Promote,
    ReadCluster,
    ReadFiles,
    Reinitialize,
    ReleaseLock,
    Rewind,
    StartAsPrimary,
    StartAsStandby,
    StopPostgres,
    WriteConfig,
    WriteHistory,
    WriteStatus,
)
from patroni.decision.cluster import (
    Cluster,
    Incarnation,
    Initialize,
    Lsn,
    Member,
    PostgresState,
    Role,
    Status,
    Tags,
    Timeline,
    Token,
)
from patroni.decision.decide import decide
from patroni.decision.fact import may_write
from patroni.decision.lease import Lease
from patroni.decision.node import ClusterState, DataDirectory, JobKind, Node, Process
from patroni.decision.settings import Settings
from patroni.decision.view import Asked, Decision, GuardState, LeaderHistory, Memory, RewindState, Silent, View
from tests.decision.builders import (
    LSN,
    NOW_S,
    OTHER_SYSTEM,
    SYSTEM,
    a_chain,
    a_cluster,
    a_history,
    a_job,
    a_leader_history,
    a_leader_key,
    a_memory,
    a_primary,
    a_proof,
    a_request,
    a_slot,
    an_answer,
    an_outcome,
    control,
    failed,
    held,
    upstream,
    url,
)
from tests.decision.test_decide import CASES

T = TypeVar("T")
VIEWS = 10_000
ACTIONS: Sequence[Action] = (AcquireLock(), Promote(), ReleaseLock(Token("t1")), ClaimInitialize(), WriteConfig())
LSNS = (None, Lsn(0), Lsn(4900), LSN, Lsn(5001))
TIMELINES = (None, Timeline(1), Timeline(2), Timeline(3))
INCARNATIONS = (Incarnation("i1"), Incarnation("i2"))
URLS = (None, url("b"), "postgres://[::1", "", "x")


class Maker:
    """Makes views from one random source; `pick` favours nothing, `maybe` is a coin with a bias."""

    def __init__(self, number: int) -> None:
        self.chance = random.Random(number)

    def pick(self, values: Sequence[T]) -> T:
        return self.chance.choice(values)

    def maybe(self, value: Callable[[], T], likely: float = 0.5) -> T | None:
        return value() if self.chance.random() < likely else None

    def coin(self, likely: float = 0.5) -> bool:
        return self.chance.random() < likely

    def view(self) -> View:
        """Return a wholly random view, or more often the view of a table's row with a few parts exchanged."""
        absurd = self.absurd()
        if self.coin(0.3):
            return absurd
        parts = self.chance.sample([field.name for field in fields(View)], self.pick((0, 1, 1, 2, 3)))
        return replace(self.pick(CASES).given, **{part: getattr(absurd, part) for part in parts})

    def absurd(self) -> View:
        return View(
            node=self.node(),
            now_s=NOW_S,
            wall=a_request(at=timedelta(seconds=self.pick((-20, -1, 0, 5)))).scheduled_at or pytest.fail("no time"),
            seed=self.chance.getrandbits(32),
            settings=self.settings(),
            cluster=self.maybe(self.cluster, 0.9),
            cluster_age_s=self.pick((None, 0.1, 2.9, 3.1, 31.0, 61.0)),
            is_fresh=self.coin(0.7),
            store_silent_s=self.pick((0.0, 0.0, 0.0, 9.0, 11.0)),
            lease=self.lease(),
            guard=self.pick((*GuardState, GuardState.IDLE, GuardState.ARMED)),
            peers=self.peers(),
            is_leader_silent=self.coin(0.2),
            leader_history=self.maybe(self.leader_history),
            failsafe_until_s=self.pick((None, None, NOW_S - 1, NOW_S + 1)),
            is_stopping=self.coin(0.15),
            chain=self.maybe(lambda: a_chain(self.pick(ACTIONS)), 0.15),
            last_chain=self.maybe(lambda: failed(self.pick(ACTIONS), is_refusal=self.coin())),
            memory=self.memory(),
        )

    def node(self) -> Node:
        kind = self.maybe(lambda: self.pick(tuple(JobKind)), 0.2)
        last = self.maybe(lambda: self.pick(tuple(JobKind)), 0.6)
        given: dict[str, Any] = {
            "state": self.pick(tuple(PostgresState)),
            "state_age_s": self.pick((0.0, 299.0, 301.0)),
            "role": self.pick(tuple(Role)),
            "process": self.pick((*Process, Process.ALIVE, Process.ALIVE, Process.DOWN)),
            "data_directory": self.pick((*DataDirectory, DataDirectory.PRESENT, DataDirectory.PRESENT)),
            "has_recovery_signal": self.coin(),
            "has_backup_label": self.coin(0.1),
            "is_torn": self.coin(0.05),
            "system_id": self.pick((None, SYSTEM, SYSTEM, SYSTEM, OTHER_SYSTEM)),
            "control": self.maybe(lambda: control(self.pick((None, *ClusterState)), can_rewind=self.coin()), 0.8),
            "major": self.pick((None, 13, 15)),
            "is_in_recovery": self.pick((None, True, True, False)),
            "timeline": self.pick(TIMELINES),
            "lsn": self.pick(LSNS),
            "replay_lsn": self.pick(LSNS),
            "is_replay_paused": self.coin(0.1),
            "replication_state": self.pick((None, "streaming")),
            "upstream": self.pick((None, upstream("b"), upstream("c"))),
            "slots": tuple(a_slot(name, is_active=self.coin()) for name in "bcx" if self.coin()),
            "local_history": self.pick(((), a_history(4000).rows)),
            "is_checkpointed": self.coin(),
            "job": a_job(kind, is_cancelled=self.coin(0.2)) if kind else None,
            "last_job": an_outcome(last, is_ok=self.coin()) if last else None,
        }
        return a_primary(**given)

    def settings(self) -> Settings:
        return Settings(
            primary_start_timeout_s=self.pick((300.0, 0.0)),
            primary_race_backoff_s=self.pick((0.0, 0.0, 30.0)),
            check_timeline=self.coin(0.3),
            use_slots=self.coin(0.8),
            is_paused=self.coin(0.1),
            use_pg_rewind=self.coin(),
            remove_data_directory_on_rewind_failure=self.coin(0.3),
            remove_data_directory_on_diverged_timelines=self.coin(0.3),
            has_bootstrap_section=self.coin(),
            tags=self.tags(),
        )

    def tags(self) -> Tags:
        source = self.pick((None, None, "a", "b", "x"))
        return Tags(
            nofailover=self.coin(0.1),
            failover_priority=self.pick((0, 1, 2)),
            clonefrom=self.coin(0.2),
            nostream=self.coin(0.1),
            replicatefrom=source,
        )

    def member(self, name: str) -> Member:
        return Member(
            name=name,
            conn_url=self.pick(URLS),
            api_url=self.pick((None, "http://x/patroni", "http://x/patroni")),
            state=self.pick((None, *PostgresState)),
            role=self.pick((None, *Role, Role.PRIMARY)),
            tags=self.tags(),
            timeline=self.pick(TIMELINES),
            checkpoint_after_promote=self.pick((None, None, False)),
        )

    def cluster(self) -> Cluster:
        key = self.pick((None, "a", "a", "b", "b", "x"))
        request = a_request(self.pick((None, "a", "c", "x")), self.pick((None, "a", "b")), self.maybe(timedelta))
        return a_cluster(
            a_leader_key(key, self.pick(INCARNATIONS)) if key else None,
            initialize=self.pick((SYSTEM, SYSTEM, SYSTEM, OTHER_SYSTEM, *Initialize)),
            config=self.pick((None, a_cluster().config)),
            status=self.pick((Status(), Status(lsn=LSN), Status(lsn=Lsn(9999999), retain_slots=("x",)))),
            members={name: self.member(name) for name in "abc" if self.coin(0.8)},
            failover=self.maybe(lambda: request, 0.3),
            failover_token=self.pick((None, Token("f1"))),
            history=self.pick((a_history(), a_history(4000), a_history(4000, 4500))),
        )

    def lease(self) -> Lease:
        return self.pick(
            (
                Lease(),
                Lease(is_refused=True),
                Lease(is_gone=True),
                held(
                    self.pick((0.1, 2.0, 7.4, 7.6, 28.0)),
                    proof=a_proof(incarnation=self.pick(INCARNATIONS)),
                ),
                held(),
                held(is_gone=True),
                held(is_refused=True),
            )
        )

    def peers(self) -> Mapping[str, Any]:
        known = {name: self.peer() for name in "bcx"}
        return {name: peer for name, peer in known.items() if peer is not None}

    def peer(self) -> object:
        age_s = self.pick((0.1, 2.5, 3.5))
        answer = an_answer(
            self.pick(LSNS),
            age_s=age_s,
            is_in_recovery=self.coin(0.9),
            timeline=self.pick(TIMELINES),
            nofailover=self.coin(0.1),
            failover_priority=self.pick((0, 1, 2)),
        )
        return self.pick((None, Silent(age_s=age_s), Asked(age_s=age_s), answer, answer, answer))

    def leader_history(self) -> LeaderHistory:
        switches = self.pick(((), (4000,), (5000,)))
        return a_leader_history(*switches, age_s=self.pick((0.1, 4.0)), is_primary=self.coin(0.8), member=self.pick("bc"))

    def memory(self) -> Memory:
        return a_memory(
            healthy_leader=self.pick((None, "a", "b")),
            rival_since_s=self.pick(({}, {"b": NOW_S - 5}, {"b": NOW_S - 50})),
            asking_since_s=self.pick((None, NOW_S - 1, NOW_S - 6)),
            won_at_s=self.pick((None, NOW_S - 60)),
            won_facts=(LSN, PostgresState.RUNNING, Role.REPLICA),
            released_at_s=self.pick((None, None, NOW_S - 5)),
            released=self.pick((None, Incarnation("i1"))),
            release_asked_s=self.pick((None, NOW_S)),
            handed_over_lsn=self.pick((None, Lsn(4900))),
            has_joined=self.coin(0.8),
            is_own_bootstrap=self.coin(0.1),
            is_aborting=self.coin(0.05),
            was_in_production=self.coin(),
            rewind=self.pick(tuple(RewindState)),
            crash_recovery_at_s=self.pick((None, NOW_S - 5, NOW_S - 400)),
            moved_at_s=self.pick((None, NOW_S - 1)),
        )


MADE = [(Maker(number).view(), number) for number in range(VIEWS)]
DECIDED: list[tuple[View, Decision, int]] = [(view, decide(view), number) for view, number in MADE]


def ordered(*kinds: type) -> list[tuple[View, Any, int]]:
    """Return every order of these kinds with its view and the number that makes that again."""
    return [(view, action, number) for view, made, number in DECIDED for action in made.actions if isinstance(action, kinds)]


def test_the_same_view_has_the_same_decision() -> None:
    for view, decision, number in DECIDED[::7]:
        assert decide(view) == decision, number
        assert Maker(number).view() == view, number


def test_every_decision_has_words_and_a_time_to_look_again() -> None:
    for view, decision, number in DECIDED:
        assert str(decision.because), number
        assert view.now_s <= decision.wake_at_s <= view.now_s + view.settings.loop_wait_s, number


def test_what_was_ordered_once_is_not_ordered_again_at_once() -> None:
    for view, decision, number in DECIDED:
        again = decide(replace(view, memory=decision.memory, now_s=view.now_s + 0.05))
        assert not again.actions or again.actions != decision.actions, number


def test_the_views_reach_the_orders_that_matter() -> None:
    for kind in (AcquireLock, AdoptLock, Promote, ReleaseLock, Demote, StartAsPrimary, Rewind, Reinitialize, CloneFrom):
        assert len(ordered(kind)) >= 4, kind


def test_promotion_and_start_as_primary_need_a_proved_lease_with_time_left() -> None:
    for view, _, number in ordered(Promote, StartAsPrimary):
        assert view.lease.is_held, number
        assert view.lease.left_s >= 7.5, number


def test_promotion_needs_a_fresh_view_that_shows_our_lock() -> None:
    for view, _, number in ordered(Promote):
        assert view.is_fresh, number
        assert view.is_lock_ours, number
        assert view.node.is_in_recovery is True, number


@pytest.mark.parametrize("kind", [WriteStatus, WriteHistory])
def test_what_only_a_leader_writes_needs_its_lease(kind: type) -> None:
    for view, _, number in ordered(kind):
        assert view.lease.is_held and view.is_fresh, number


def test_the_lock_is_not_released_while_a_primary_may_write() -> None:
    for view, _, number in ordered(ReleaseLock):
        node = view.node
        has_shut_down = node.control is not None and node.control.cluster_state is ClusterState.SHUT_DOWN
        is_handed_over = has_shut_down and node.job is not None and node.job.kind in {JobKind.DEMOTE, JobKind.STOP}
        assert is_handed_over or node.process is Process.DOWN or not may_write(node), number
        assert node.process is not Process.ORPHANS or is_handed_over, number


def test_a_free_lock_is_created_and_never_overwritten() -> None:
    for view, _, number in ordered(AcquireLock):
        assert view.cluster is not None, number
        has_vanished = view.lease.is_gone and view.lease.proof is not None
        assert view.cluster.leader is None or has_vanished, number


def test_a_lock_is_adopted_only_in_the_version_that_was_judged() -> None:
    for view, action, number in ordered(AdoptLock):
        assert view.cluster is not None and view.cluster.leader is not None, number
        assert view.is_lock_ours and action.token == view.cluster.leader.token, number


def test_the_lock_is_not_taken_while_failsafe_keeps_a_primary() -> None:
    for view, _, number in ordered(AcquireLock, AdoptLock):
        is_kept = view.failsafe_until_s is not None and view.failsafe_until_s > view.now_s
        assert not is_kept or may_write(view.node), number


def test_another_clusters_node_never_takes_the_lock_or_clones() -> None:
    for view, _, number in ordered(AcquireLock, AdoptLock, Promote, StartAsPrimary, StartAsStandby):
        theirs = view.cluster.system_id if view.cluster else None
        assert theirs is None or view.node.system_id == theirs, number


def test_nothing_is_written_to_a_store_that_does_not_answer() -> None:
    quiet = (Demote, StopPostgres, StartAsStandby, ReadFiles, AskPeers, ReadCluster, AskHistory)
    for view, decision, number in DECIDED:
        is_silent = view.cluster is None or view.store_silent_s > view.settings.retry_timeout_s
        is_busy = view.node.job is not None or view.is_stopping or view.memory.is_own_bootstrap or view.memory.is_aborting
        if is_silent and not is_busy:
            assert all(isinstance(action, quiet) for action in decision.actions), number


def test_paused_nothing_is_started_stopped_promoted_or_demoted() -> None:
    touched = (Demote, StopPostgres, StartAsPrimary, StartAsStandby, Promote, Rewind, Reinitialize, CloneFrom)
    for view, action, number in ordered(*touched):
        is_ending = view.memory.is_own_bootstrap or view.memory.is_aborting
        assert not view.settings.is_paused or is_ending, (number, action)


def test_data_are_removed_only_with_leave_and_beside_a_primary_that_has_answered() -> None:
    for view, action, number in ordered(Reinitialize, Rewind):
        may_remove = (
            view.settings.remove_data_directory_on_diverged_timelines or view.settings.remove_data_directory_on_rewind_failure
        )
        assert isinstance(action, Rewind) or may_remove, number
        assert not view.lease.is_held or not view.is_lock_ours, number
        assert view.leader_history is not None and view.leader_history.is_primary, number
        assert view.leader_history.age_s <= 3.0, number


def test_nothing_is_started_or_promoted_on_a_torn_directory_nor_rewound_again() -> None:
    """Its end is a cluster in the making, or empty: another directory by then."""
    for view, _, number in ordered(StartAsPrimary, StartAsStandby, CrashRecovery, Rewind, Promote, AcquireLock, AdoptLock):
        is_other = view.memory.is_own_bootstrap or view.node.data_directory is DataDirectory.EMPTY
        assert not view.node.is_torn or is_other, number


def test_a_clone_needs_an_empty_directory_and_nobody_on_it() -> None:
    for view, _, number in ordered(CloneFrom):
        assert view.node.data_directory is DataDirectory.EMPTY, number
        assert view.node.process is Process.DOWN, number


def test_a_request_is_cleared_only_in_the_version_that_was_judged() -> None:
    for view, action, number in ordered(ClearFailover):
        assert view.cluster is not None, number
        assert action.token in {view.cluster.failover_token, view.cluster.failover and view.cluster.failover.token}, number


def test_nothing_new_is_begun_while_a_chain_runs() -> None:
    for view, decision, number in DECIDED:
        if view.chain is not None and not view.is_stopping and view.guard is not GuardState.HELD:
            assert all(isinstance(action, Demote) for action in decision.actions), number


def test_a_held_postgres_is_left_alone() -> None:
    for view, decision, number in DECIDED:
        assert view.guard is not GuardState.HELD or not decision.actions, number


def is_left_to_itself(view: View) -> bool:
    """Whether no operator, job, guard or unfinished bootstrap takes part."""
    is_special = view.settings.is_paused or view.is_stopping or view.memory.is_own_bootstrap or view.memory.is_aborting
    return not is_special and view.node.job is None and view.guard is not GuardState.HELD


def test_a_primary_without_a_lease_never_stays_beside_another_leader() -> None:
    for view, decision, number in DECIDED:
        is_other = view.cluster is not None and view.cluster.leader_name not in {None, "a"}
        is_loose = is_other and not view.lease.is_held and may_write(view.node)
        if is_loose and is_left_to_itself(view) and view.node.data_directory is DataDirectory.PRESENT:
            assert any(isinstance(action, Demote) for action in decision.actions), number
