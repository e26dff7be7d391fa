"""The lock is ours: promotion, upkeep, its loss (contract/ha_behaviour.md §2.14-2.16, 2.21)."""

# ruff: noqa: ANN401  # builders hand any field on to the records

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from patroni.decision.actions import (
    AcquireLock,
    AskPeers,
    Checkpoint,
    ClearFailover,
    Demote,
    DemoteKind,
    Promote,
    ReadCluster,
    ReleaseLock,
    SyncSlots,
    WriteHistory,
    WriteStatus,
)
from patroni.decision.cluster import (
    DynamicConfig,
    History,
    HistoryRow,
    Lsn,
    PostgresState,
    Role,
    SlotName,
    Status,
    Tags,
    Timeline,
    Token,
)
from patroni.decision.decide import decide
from patroni.decision.leader import history_rows, status
from patroni.decision.lease import Lease
from patroni.decision.reasons import Code
from patroni.decision.view import GuardState, Silent
from tests.decision.builders import (
    FAILOVER,
    LSN,
    NOW_S,
    TOKEN,
    Case,
    a_cluster,
    a_free,
    a_leader,
    a_member,
    a_memory,
    a_primary,
    a_proof,
    a_request,
    a_slot,
    a_standby,
    a_view,
    answers,
    case,
    failed,
    held,
    rows,
    settings,
    tagged,
)

NOLOCK = Demote(DemoteKind.IMMEDIATE_NOLOCK)
PROMOTED = a_standby(role=Role.PROMOTED)


def stuck(age_s: float, role: Role = Role.REPLICA, **changes: Any) -> dict[str, Any]:
    memory = a_memory(won_at_s=NOW_S - age_s, won_facts=(LSN, PostgresState.RUNNING, role))
    return {"memory": memory, **changes}


SLOTS = SyncSlots(create=(SlotName("b"), SlotName("c")), drop=())
HOLDS = [
    case("all is well", a_leader(), Code.LEADER_OK),
    case("a standby with the lock", a_leader(a_standby()), Code.LEADER_PROMOTING, SLOTS, Promote()),
    case(
        "the answered request goes first",
        a_leader(a_standby(), a_cluster("a", failover=a_request("a"), failover_token=FAILOVER)),
        Code.LEADER_PROMOTING,
        ClearFailover(FAILOVER),
        SLOTS,
        Promote(),
    ),
    case(
        "a key that asks for nothing stays",
        a_leader(a_standby(), a_cluster("a", failover_token=FAILOVER)),
        Code.LEADER_PROMOTING,
        SLOTS,
        Promote(),
    ),
    case(
        "they could not be made",
        a_leader(a_standby(), last_chain=failed(SLOTS)),
        Code.LEADER_PROMOTING,
        Promote(),
    ),
    case(
        "the slots are there",
        a_leader(a_standby(slots=tuple(a_slot(name) for name in "bc"))),
        Code.LEADER_PROMOTING,
        Promote(),
    ),
    case("just enough of the lease", a_leader(a_standby(), lease=held(7.5)), Code.LEADER_PROMOTING, SLOTS, Promote()),
    case("too little of the lease", a_leader(a_standby(), lease=held(7.4)), Code.LEADER_LEASE_SHORT),
    case(
        "a short ttl needs two seconds",
        a_leader(a_standby(), lease=held(1.9, proof=a_proof(ttl_s=5.0))),
        Code.LEADER_LEASE_SHORT,
    ),
    case(
        "won before it was a standby cluster",
        a_leader(a_standby(), settings=settings(is_standby_cluster=True)),
        Code.RACE_RELEASED,
        ReleaseLock(TOKEN),
    ),
    case("the leader stays", a_leader(settings=settings(is_standby_cluster=True)), Code.LEADER_OK),
    case("the promotion was signalled", a_leader(PROMOTED), Code.LEADER_PROMOTING),
    case("the view is older than the lock", a_leader(is_fresh=False), Code.LEADER_VIEW_OLD, ReadCluster()),
    case(
        "it shows the leader before us",
        a_leader(a_standby(), a_cluster("b"), is_fresh=False),
        Code.LEADER_VIEW_OLD,
        ReadCluster(),
    ),
    case("Postgres does not answer", a_leader(a_primary(is_in_recovery=None)), Code.PG_UNREACHABLE),
    case("nor does a standby", a_leader(a_standby(is_in_recovery=None)), Code.PG_UNREACHABLE),
    case("nothing happens", a_leader(a_standby(), **stuck(30.0)), Code.LEADER_PROMOTION_STUCK, ReleaseLock(TOKEN)),
    case("for not so long", a_leader(a_standby(), **stuck(29.9)), Code.LEADER_PROMOTING, SLOTS, Promote()),
    case(
        "for ttl", a_leader(a_standby(), **stuck(59.0, settings=settings(ttl_s=60.0))), Code.LEADER_PROMOTING, SLOTS, Promote()
    ),
    case(
        "there was progress", a_leader(a_standby(replay_lsn=Lsn(4999)), **stuck(30.0)), Code.LEADER_PROMOTING, SLOTS, Promote()
    ),
    case(
        "a signalled promotion is stopped first",
        a_leader(PROMOTED, **stuck(30.0, Role.PROMOTED)),
        Code.LEADER_PROMOTION_STUCK,
        Demote(DemoteKind.IMMEDIATE),
    ),
    case(
        "so is one whose signal had no answer",
        a_leader(a_standby(), **stuck(30.0, last_chain=failed(Promote()))),
        Code.LEADER_PROMOTION_STUCK,
        Demote(DemoteKind.IMMEDIATE),
    ),
    case(
        "one that was refused is not",
        a_leader(a_standby(), **stuck(30.0, last_chain=failed(Promote(), is_refusal=True))),
        Code.LEADER_PROMOTION_STUCK,
        ReleaseLock(TOKEN),
    ),
]

BLIND = [
    case("not read for ttl", a_leader(cluster_age_s=30.0), Code.LEADER_OK),
    case("not read for longer", a_leader(cluster_age_s=30.1), Code.LEADER_NO_GOOD_READ, ReadCluster()),
    case("for twice as long", a_leader(cluster_age_s=60.0), Code.LEADER_NO_GOOD_READ, ReadCluster()),
    case("who could lead?", a_leader(cluster_age_s=60.1), Code.LEADER_NO_GOOD_READ, AskPeers(("b", "c"))),
    case("b could", a_leader(cluster_age_s=60.1, peers=answers()), Code.LEADER_NO_GOOD_READ, Demote(DemoteKind.GRACEFUL)),
    case(
        "nobody could",
        a_leader(cluster_age_s=60.1, peers={"b": Silent(age_s=1.0), "c": Silent(age_s=1.0)}),
        Code.LEADER_NO_GOOD_READ,
        ReadCluster(),
    ),
    case("a standby does not step down", a_leader(a_standby(), cluster_age_s=60.1), Code.LEADER_NO_GOOD_READ, ReadCluster()),
]

REFUSED = Lease(is_refused=True)
LOST = [
    case("somebody else leads", a_leader(cluster=a_cluster("b")), Code.DEMOTE_OTHER_LEADS, NOLOCK),
    case("without a lease", a_view(a_primary()), Code.DEMOTE_OTHER_LEADS, NOLOCK),
    case(
        "a view older than the lock says so",
        a_leader(cluster=a_cluster("b"), is_fresh=False),
        Code.LEADER_VIEW_OLD,
        ReadCluster(),
    ),
    case("the store refused", a_leader(lease=REFUSED), Code.DEMOTE_REFUSED, NOLOCK),
    case(
        "refused, and Postgres does not answer",
        a_leader(a_primary(is_in_recovery=None), lease=REFUSED),
        Code.DEMOTE_REFUSED,
        NOLOCK,
    ),
    case("a refusal of an earlier lock", a_leader(lease=replace(held(), is_refused=False)), Code.LEADER_OK),
    case("a promotion that may still happen", a_free(PROMOTED), Code.DEMOTE_PENDING_PROMOTION, NOLOCK),
    case("the key is gone, the lease is not", a_leader(cluster=a_cluster(None)), Code.RACE_ACQUIRE, AcquireLock()),
    case("the keeper saw it first", a_leader(lease=held(is_gone=True)), Code.RACE_ACQUIRE, AcquireLock()),
    case("a held guard waits for the proof", a_leader(a_primary(is_in_recovery=None), guard=GuardState.HELD), Code.HELD),
]


TL2 = Timeline(2)
HISTORY_FILE = (
    HistoryRow(
        timeline=Timeline(1), lsn=Lsn(100), reason="no recovery target specified", timestamp="2026-01-01T12:00:00+00:00"
    ),
)
MOVED = Lsn(5001)
PROMOTED_PRIMARY = a_primary(timeline=TL2, local_history=HISTORY_FILE)
UPKEEP = [
    case(
        "the position has moved",
        a_leader(a_primary(lsn=MOVED), memory=a_memory(status_at_s=NOW_S - 10)),
        Code.LEADER_OK,
        WriteStatus(Status(lsn=MOVED, slots={"a": MOVED, "b": LSN, "c": LSN}, retain_slots=("a", "b", "c"))),
    ),
    case("it was written lately", a_leader(a_primary(lsn=MOVED), memory=a_memory(status_at_s=NOW_S - 9.9)), Code.LEADER_OK),
    case("it is written as it is", a_leader(memory=a_memory(), settings=settings(member_slots_ttl_s=0.0)), Code.LEADER_OK),
    case("the own position is unknown", a_leader(a_primary(lsn=None), memory=a_memory()), Code.LEADER_OK),
    case(
        "a first promotion",
        a_leader(PROMOTED_PRIMARY),
        Code.LEADER_OK,
        WriteHistory(((1, 100, "no recovery target specified", "2026-01-01T12:00:00+00:00", "a"),)),
    ),
    case("a checkpoint is due", a_leader(a_primary(is_checkpointed=False)), Code.LEADER_OK, Checkpoint()),
    case(
        "a checkpoint is under way",
        a_leader(a_primary(is_checkpointed=False), memory=a_memory(checkpoint_at_s=NOW_S - 9.9, status_at_s=NOW_S)),
        Code.LEADER_OK,
    ),
    case(
        "a checkpoint has failed",
        a_leader(a_primary(is_checkpointed=False), memory=a_memory(checkpoint_at_s=NOW_S - 10, status_at_s=NOW_S)),
        Code.LEADER_OK,
        Checkpoint(),
    ),
    case("the control data are unknown", a_leader(a_primary(is_checkpointed=False, control=None)), Code.LEADER_OK),
    case(
        "a slot is missing",
        a_leader(a_primary(slots=(a_slot("b"),))),
        Code.LEADER_OK,
        SyncSlots(create=(SlotName("c"),), drop=()),
    ),
    case(
        "slots are off",
        a_leader(a_primary(slots=(a_slot("x", is_active=False),)), settings=settings(use_slots=False)),
        Code.LEADER_OK,
    ),
    case(
        "a slot is superfluous",
        a_leader(a_primary(slots=(a_slot("b"), a_slot("c"), a_slot("x", is_active=False)))),
        Code.LEADER_OK,
        SyncSlots(create=(), drop=(SlotName("x"),)),
    ),
    case("it is in use", a_leader(a_primary(slots=(a_slot("b"), a_slot("c"), a_slot("x")))), Code.LEADER_OK),
    case(
        "it is a logical one",
        a_leader(a_primary(slots=(a_slot("b"), a_slot("c"), a_slot("x", is_physical=False, is_active=False)))),
        Code.LEADER_OK,
    ),
    case(
        "it may be somebody else's",
        a_leader(
            a_primary(slots=(a_slot("b"), a_slot("c"), a_slot("x", is_active=False))),
            a_cluster("a", config=DynamicConfig(values={"slots": {"x": None}}, token=Token("c1"))),
        ),
        Code.LEADER_OK,
    ),
    case(
        "it is of a member that is away",
        a_leader(
            a_primary(slots=(a_slot("b"), a_slot("c"), a_slot("x", is_active=False))),
            memory=a_memory(status_at_s=NOW_S, slot_seen_at_s={"x": NOW_S - 1800}),
        ),
        Code.LEADER_OK,
    ),
    case(
        "for too long",
        a_leader(
            a_primary(slots=(a_slot("b"), a_slot("c"), a_slot("x", is_active=False))),
            memory=a_memory(status_at_s=NOW_S, slot_seen_at_s={"x": NOW_S - 1801}),
        ),
        Code.LEADER_OK,
        SyncSlots(create=(), drop=(SlotName("x"),)),
    ),
    case(
        "a member that does not stream has none",
        a_leader(a_primary(slots=(a_slot("b"),)), a_cluster("a", a_member("c", tags=Tags(nostream=True)))),
        Code.LEADER_OK,
    ),
    case(
        "nor does one that follows another member",
        a_leader(a_primary(slots=(a_slot("b"),)), a_cluster("a", a_member("c", tags=Tags(replicatefrom="b")))),
        Code.LEADER_OK,
    ),
    case(
        "but one that follows nobody known",
        a_leader(a_primary(slots=(a_slot("b"),)), a_cluster("a", a_member("c", tags=Tags(replicatefrom="x")))),
        Code.LEADER_OK,
        SyncSlots(create=(SlotName("c"),), drop=()),
    ),
    case(
        "or itself",
        a_leader(a_primary(slots=(a_slot("b"),)), a_cluster("a", a_member("c", tags=Tags(replicatefrom="c")))),
        Code.LEADER_OK,
        SyncSlots(create=(SlotName("c"),), drop=()),
    ),
    case(
        "or us",
        a_leader(a_primary(slots=(a_slot("b"),)), a_cluster("a", a_member("c", tags=Tags(replicatefrom="a")))),
        Code.LEADER_OK,
        SyncSlots(create=(SlotName("c"),), drop=()),
    ),
]

CASES = [*HOLDS, *BLIND, *LOST, *UPKEEP]


@rows(CASES)
def test_leader(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def row_of(timeline: int, lsn: int, *, is_known: bool = True, leader: str = "b") -> HistoryRow:
    known = {"timestamp": "t", "leader": leader} if is_known else {}
    return HistoryRow(timeline=Timeline(timeline), lsn=Lsn(lsn), reason="r", **known)


def published(*made: HistoryRow) -> History:
    return History(rows=made, cluster_timeline=Timeline(len(made) + 1))


FILE = (replace(row_of(1, 100, is_known=False), timestamp="f"), replace(row_of(2, 200, is_known=False), timestamp="f"))


@pytest.mark.parametrize(
    ("timeline", "history", "local", "limit", "then"),
    [
        pytest.param(1, History(), (), 0, None, id="nothing was ever promoted"),
        pytest.param(1, published(row_of(1, 100)), (), 0, (), id="rows of another life are removed"),
        pytest.param(None, History(), FILE, 0, None, id="the own timeline is unknown"),
        pytest.param(3, published(row_of(1, 100), row_of(2, 200)), FILE, 0, None, id="it is right"),
        pytest.param(3, History(), (), 0, None, id="the own history is not read"),
        pytest.param(
            3, published(row_of(1, 100)), FILE, 0, (row_of(1, 100), replace(FILE[1], leader="a")), id="we add our row"
        ),
        pytest.param(
            3, History(), FILE, 0, (row_of(1, 100, is_known=False), replace(FILE[1], leader="a")), id="nobody saw the first"
        ),
        pytest.param(3, History(), FILE, 1, (replace(FILE[1], leader="a"),), id="the limit keeps the last"),
        pytest.param(
            3,
            published(row_of(1, 100), row_of(2, 200, is_known=False)),
            FILE,
            0,
            (row_of(1, 100), replace(FILE[1], leader="a")),
            id="a last row without its fields is written anew",
        ),
        pytest.param(
            3,
            published(row_of(1, 100), row_of(2, 200, is_known=False)),
            (FILE[0], replace(FILE[1], timestamp=None)),
            0,
            None,
            id="not again and again where the file has no time",
        ),
        pytest.param(
            3,
            published(row_of(1, 99)),
            FILE[:1],
            0,
            (row_of(1, 100, is_known=False),),
            id="a row at another position is another",
        ),
    ],
)
def test_history_rows(
    timeline: int | None, history: History, local: tuple[HistoryRow, ...], limit: int, then: tuple[HistoryRow, ...] | None
) -> None:
    node = a_primary(timeline=timeline and Timeline(timeline), local_history=local)
    assert history_rows(a_leader(node, a_cluster("a", history=history), settings=settings(max_timelines_history=limit))) == then


def test_a_row_is_written_without_what_nobody_knows_at_its_end() -> None:
    known = HistoryRow(timeline=Timeline(1), lsn=Lsn(100), reason="r", timestamp="t")
    nobody_saw = HistoryRow(timeline=Timeline(1), lsn=Lsn(50), reason="r", timestamp="f")
    node = a_primary(timeline=Timeline(3), local_history=(nobody_saw, *FILE))
    written = decide(a_leader(node, a_cluster("a", history=published(known)))).actions[0]
    assert written == WriteHistory(((1, 50, "r"), (1, 100, "r", "t"), (2, 200, "r", "f", "a")))


def test_the_status_of_a_nofailover_leader_retains_nothing() -> None:
    given = a_leader(settings=tagged(nofailover=True), memory=a_memory(slot_seen_at_s={"x": NOW_S}))
    assert status(given) == Status(lsn=LSN, slots={"a": LSN, "b": LSN, "c": LSN})
    assert status(a_leader(settings=settings(use_slots=False))) == Status(lsn=LSN)


def test_giving_a_won_lock_back_takes_this_node_out_of_the_race() -> None:
    given = a_leader(a_standby(), **stuck(30.0))
    assert decide(given).memory.released_at_s == NOW_S
