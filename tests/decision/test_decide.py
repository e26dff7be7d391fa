"""What holds for all tables: nothing is left out, repetitions are paced, the memory forgets in time, reasons have words."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import pytest

from patroni.decision import actions as all_actions
from patroni.decision.actions import (
    AcquireLock,
    AskPeers,
    ReadFiles,
    StartAsStandby,
    WriteConfig,
)
from patroni.decision.cluster import Incarnation, Lsn, PostgresState, Role, Status
from patroni.decision.decide import decide
from patroni.decision.lease import Lease
from patroni.decision.node import JobKind, Process
from patroni.decision.reasons import Code
from patroni.decision.view import Memory, View
from tests.decision import (
    test_bootstrap,
    test_leader,
    test_leader_race,
    test_recovery,
    test_rewind,
    test_standby,
    test_store_silent,
    test_stuck,
    test_switchover,
    test_torn,
    test_twin,
)
from tests.decision.builders import (
    LSN,
    NOW_S,
    OTHER_SYSTEM,
    Case,
    a_chain,
    a_cluster,
    a_dead,
    a_free,
    a_job,
    a_leader,
    a_leader_key,
    a_memory,
    a_primary,
    a_standby,
    a_view,
    an_empty,
    settings,
    storeless,
    tagged,
    upstream,
)

TABLES = (
    test_bootstrap,
    test_leader,
    test_leader_race,
    test_recovery,
    test_rewind,
    test_standby,
    test_store_silent,
    test_stuck,
    test_switchover,
    test_torn,
    test_twin,
)
CASES: list[Case] = [row for table in TABLES for row in table.CASES]


@pytest.mark.parametrize("code", Code)
def test_every_code_occurs_in_a_table(code: Code) -> None:
    assert any(row.code is code for row in CASES)


@pytest.mark.parametrize("action", get_args(all_actions.Action))
def test_every_action_occurs_in_a_table(action: type) -> None:
    assert any(isinstance(made, action) for row in CASES for made in row.actions)


def test_every_reason_has_words() -> None:
    for row in CASES:
        assert str(decide(row.given).because)


def test_names_of_cases_are_told_apart() -> None:
    for table in TABLES:
        names = [row.name for row in table.CASES]
        assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("given", "then"),
    [
        (a_leader(), "no action. I am (a), the leader with the lock"),
        (a_view(), "no action. I am (a), a secondary, and following a leader (b)"),
        (a_view(settings=tagged(replicatefrom="c")), "no action. I am (a), a secondary, and following a leader (b)"),
        (a_free(settings=settings(is_paused=True)), "no action. I am (a)"),
        (a_leader(a_dead(job=a_job(JobKind.START_AS_PRIMARY))), "updated leader lock during starting primary after failure"),
        (a_view(a_standby(job=a_job(JobKind.REWIND, subject="b"))), "running pg_rewind from b in progress"),
        (a_view(an_empty(job=a_job(JobKind.CLONE_FROM_LEADER, subject="b"))), "bootstrap from leader 'b' in progress"),
        (a_view(a_dead(job=a_job(JobKind.DEMOTE, subject="switchover"))), "switchover: demote in progress"),
        (a_view(a_dead(job=a_job(JobKind.DEMOTE))), "demote in progress"),
    ],
)
def test_words(given: View, then: str) -> None:
    assert str(decide(given).because) == then


# --- repetitions


def again(given: View, after_s: float, times: int) -> list[bool]:
    """Decide again and again on the same view after so many seconds; return when something was ordered."""
    ordered = []
    for number in range(times):
        decision = decide(replace(given, now_s=NOW_S + number * after_s))
        ordered.append(bool(decision.actions))
        given = replace(given, memory=decision.memory)
    return ordered


DEAD = storeless(a_view(a_dead(Role.REPLICA)))


def test_a_repetition_waits_a_tenth_of_a_second_doubling() -> None:
    assert again(DEAD, 0.1, 16) == [number in {0, 1, 3, 7, 15} for number in range(16)]


def test_a_repetition_held_back_says_when() -> None:
    first = decide(DEAD)
    assert first.actions == (StartAsStandby(upstream=upstream("b"), timeout_s=None),)
    held_back = decide(replace(DEAD, memory=first.memory, now_s=NOW_S + 0.04))
    assert (held_back.because, held_back.actions) == (first.because, ())
    assert held_back.wake_at_s == pytest.approx(NOW_S + 0.1)


def test_no_repetition_waits_longer_than_loop_wait() -> None:
    ordered = again(DEAD, 1.0, 80)
    late = [number for number, is_ordered in enumerate(ordered) if is_ordered][-4:]
    assert [later - earlier for earlier, later in pairwise(late)] == [10, 10, 10]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(a_free(), id="taking the lock"),
        pytest.param(a_leader(a_standby()), id="promoting"),
        pytest.param(a_view(a_primary()), id="demoting"),
    ],
)
def test_what_takes_or_gives_up_power_is_repeated_within_a_second(given: View) -> None:
    assert sum(again(given, 1.0, 20)) == 20


def test_a_question_is_repeated_every_tenth_of_a_second() -> None:
    assert again(a_view(a_dead(process=Process.UNKNOWN)), 0.1, 30) == [True] * 30
    assert again(a_view(a_dead(process=Process.UNKNOWN)), 0.05, 4) == [True, False, True, False]


def test_changed_facts_are_no_repetition() -> None:
    first = decide(a_free())
    assert first.actions == (AcquireLock(),)
    later = decide(a_free(a_standby(lsn=Lsn(5001)), memory=first.memory))
    assert later.actions == (AcquireLock(),)


def test_other_decisions_between_do_not_hide_a_repetition() -> None:
    first = decide(a_free())
    between = decide(a_free(memory=first.memory, peers={}))
    assert isinstance(between.actions[0], AskPeers)
    assert decide(a_free(memory=between.memory)).actions == ()


def test_old_repetitions_are_forgotten() -> None:
    memory = decide(a_free(peers={})).memory
    assert len(decide(a_free(memory=memory, now_s=NOW_S + 19.9)).memory.repeated) == 2
    assert len(decide(a_free(memory=memory, now_s=NOW_S + 20.0)).memory.repeated) == 1


def test_a_decision_without_effect_is_not_remembered_as_made() -> None:
    memory = decide(a_leader(cluster=a_cluster("a", config=None), memory=a_memory(status_at_s=NOW_S))).memory
    assert memory.repeated[0].actions == (WriteConfig(),)


# --- memory


def test_the_last_healthy_view_is_kept_while_nobody_leads() -> None:
    first = decide(a_view(memory=Memory())).memory
    assert (first.healthy_leader, set(first.healthy_members)) == ("b", {"a", "b", "c"})
    assert decide(a_free(cluster=a_cluster(None, members={}), memory=first)).memory.healthy_members == first.healthy_members
    very_first = decide(a_free(memory=Memory())).memory
    assert (very_first.healthy_leader, set(very_first.healthy_members)) == (None, {"a", "b", "c"})
    assert decide(storeless(a_view(memory=first))).memory.healthy_leader == "b"


def test_a_life_of_the_server() -> None:
    assert decide(a_leader(memory=Memory())).memory.was_in_production
    assert not decide(a_view(memory=Memory())).memory.was_in_production
    assert not decide(a_view(a_standby(control=None), memory=Memory())).memory.was_in_production
    over = decide(a_leader(a_dead(), memory=a_memory(handed_over_lsn=LSN))).memory
    assert not over.was_in_production
    assert over.handed_over_lsn is None
    unknown = decide(a_leader(a_dead(process=Process.UNKNOWN))).memory
    assert unknown.was_in_production


def test_whom_a_start_follows_is_remembered_until_it_ends() -> None:
    started = decide(a_view(a_dead(Role.REPLICA), memory=Memory(has_joined=True))).memory
    assert (started.has_followed, started.following) == (True, upstream("b"))
    under_way = a_view(a_dead(Role.REPLICA, job=a_job(JobKind.START_AS_STANDBY)), memory=started)
    assert decide(under_way).memory.has_followed
    assert decide(replace(under_way, node=a_dead(Role.REPLICA), chain=a_chain(ReadFiles()))).memory.has_followed
    assert not decide(a_view(a_dead(Role.REPLICA, process=Process.ORPHANS), memory=started)).memory.has_followed


def test_what_a_running_server_has_behind_it() -> None:
    memory = a_memory(crash_recovery_at_s=1.0, history_asked_at_s=1.0)
    done = decide(a_view(memory=memory)).memory
    assert (done.crash_recovery_at_s, done.history_asked_at_s) == (None, None)
    starting = a_standby(state=PostgresState.STARTING)
    assert decide(a_view(starting, memory=memory)).memory.crash_recovery_at_s == 1.0
    silent = a_standby(is_in_recovery=None)
    assert decide(a_view(silent, memory=memory)).memory.crash_recovery_at_s == 1.0


def test_the_position() -> None:
    first = decide(a_view(memory=Memory())).memory
    assert (first.last_lsn, first.moved_at_s) == (LSN, None)
    still = decide(a_view(memory=first, now_s=NOW_S + 1)).memory
    assert (still.last_lsn, still.moved_at_s) == (LSN, None)
    moved = decide(a_view(a_standby(lsn=Lsn(5001)), memory=first, now_s=NOW_S + 1)).memory
    assert (moved.last_lsn, moved.moved_at_s) == (5001, NOW_S + 1)
    assert decide(a_view(a_standby(lsn=None), memory=moved)).memory.last_lsn == 5001


def test_a_won_lock_is_timed_until_the_promotion() -> None:
    given = a_leader(a_standby())
    won = decide(given).memory
    assert won.won_at_s == NOW_S
    later = replace(given, memory=won, now_s=NOW_S + 5)
    assert decide(later).memory.won_at_s == NOW_S
    assert decide(replace(later, node=a_standby(replay_lsn=Lsn(5001)))).memory.won_at_s == NOW_S + 5
    assert decide(replace(later, node=a_primary())).memory.won_at_s is None
    assert decide(replace(later, lease=Lease())).memory.won_at_s is None


def test_joining() -> None:
    assert decide(a_view(memory=Memory())).memory.has_joined
    for given in (
        a_view(cluster=a_cluster(initialize=OTHER_SYSTEM), memory=Memory()),
        a_view(a_standby(is_in_recovery=None), memory=Memory()),
        a_view(a_standby(state=PostgresState.STARTING), memory=Memory()),
        a_view(a_dead(), memory=Memory()),
        storeless(a_view(memory=Memory())),
    ):
        assert not decide(given).memory.has_joined


def test_slots_of_members_that_were_seen() -> None:
    retained = a_cluster("b", status=Status(lsn=LSN, retain_slots=("x",)))
    seen = decide(a_view(cluster=retained, memory=Memory())).memory.slot_seen_at_s
    assert seen == dict.fromkeys(("a", "b", "c", "x"), NOW_S)
    leads = a_cluster("a", status=Status(lsn=LSN, retain_slots=("y",)))
    won = decide(a_leader(cluster=leads, memory=a_memory(slot_seen_at_s=seen), now_s=NOW_S + 1800)).memory
    assert won.slot_seen_at_s["x"] == NOW_S
    assert "y" not in won.slot_seen_at_s
    assert "x" not in decide(a_leader(memory=a_memory(slot_seen_at_s=seen), now_s=NOW_S + 1801)).memory.slot_seen_at_s


def test_a_new_lock_of_ours_is_not_the_one_given_up() -> None:
    given = a_leader(memory=a_memory(released=a_leader_key("a").incarnation))
    assert decide(given).memory.released is not None
    other = a_leader(memory=a_memory(released=Incarnation("i0")))
    assert decide(other).memory.released is None
