"""Effects: their preconditions in the step of the effect, and that nothing follows a refusal, a failure or a silence (§6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from patroni.agent.execute import Context, effects
from patroni.agent.precondition import checked, require_facts
from patroni.agent.request import ArmFence, BeginJob, DropLock, Note, ReadFactsAge, ReadLease, TakeLock, Void
from patroni.agent.shared import Shared
from patroni.dcs import store
from patroni.dcs.coordinator import Coordinator
from patroni.dcs.store import DcsUnavailable, LockRef, Refusal, Refused, Snapshot
from patroni.decision import actions as act
from patroni.decision.actions import Action
from patroni.decision.cluster import Lsn, Role, SlotName, Status, SystemId, Token
from patroni.decision.lease import Instant, Lease
from patroni.decision.node import ClusterState, Process, Upstream
from patroni.decision.request import ReadInstant, Request
from patroni.decision.settings import Settings
from patroni.postgres import request as pg
from tests.agent.builders import LOCK, at, control, files, held, proof
from tests.agent.play import ANSWERS, FAULTS, Played, entry, play

PREFIX = "/service/batman/"
COORDINATOR = Coordinator(prefix=PREFIX, name="a")
UPSTREAM = Upstream(member="b", host="b", port=5432)
UNDER = LockRef(key=f"{PREFIX}leader", incarnation=LOCK)
ADOPT = act.AdoptLock(token=Token("t"), incarnation=LOCK)
RELEASE = act.ReleaseLock(token=Token("t"))
RELEASE_WITH_LSN = act.ReleaseLock(token=Token("t"), lsn=Lsn(5))
STATUS = act.WriteStatus(Status(lsn=Lsn(5)))
HISTORY = act.WriteHistory(((1, 2, "r"),))


def context(*, is_primary: bool = False, ttl_s: float = 30.0, can_write_under: bool = True) -> Context:
    settings = Settings(ttl_s=ttl_s)
    return Context(
        coordinator=COORDINATOR,
        shared=Shared(settings=settings, dynamic_configuration={"ttl": 30}),
        can_write_under=can_write_under,
        is_primary=is_primary,
    )


def played(
    action: Action,
    answers: Mapping[type[Request[Any]], object] | None = None,
    failing: tuple[int, Exception] | None = None,
    *,
    is_primary: bool = False,
) -> Played:
    return play(effects(action, context(is_primary=is_primary)), answers, failing)


FRESH = ["ReadFactsAge", "ReadSession", "ReadInstant", "RenewSession", "ReadInstant", "ReadFactsAge"]
# Each action, whether Postgres is a running primary, and all that is asked, in order.
ALL: list[tuple[Action, bool, list[str]]] = [
    (act.AcquireLock(), False, [*FRESH, "Create", "ProveLock", "TakeLock"]),
    (act.AcquireLock(), True, [*FRESH, "Create", "ProveLock", "TakeLock", "ArmFence"]),
    (ADOPT, False, [*FRESH, "Write", "ProveLock", "TakeLock"]),
    (ADOPT, True, [*FRESH, "Write", "ProveLock", "TakeLock", "ArmFence"]),
    (RELEASE, False, ["ReadFiles", "DropLock", "Delete"]),
    (act.Promote(), False, ["ReadLease", "ArmFence", "ReadLease", "SignalPromote"]),
    (act.Follow(UPSTREAM), False, ["WriteConfiguration", "Reload"]),
    (act.ResumeReplay(), False, ["ResumeReplay"]),
    (act.Checkpoint(), False, ["RunCheckpoint"]),
    (act.SyncSlots(create=(SlotName("b"),), drop=()), False, ["ChangeSlots"]),
    (act.ClaimInitialize(), False, ["Create"]),
    (act.WriteInitialize(system_id=SystemId("1"), is_new=True), False, ["Create"]),
    (act.WriteInitialize(system_id=SystemId("1"), is_new=False), False, ["Write"]),
    (act.CancelInitialize(Token("t")), False, ["Delete"]),
    (act.WriteConfig(), False, ["ReadPrefix", "Create"]),
    (act.ClearFailover(Token("t")), False, ["Write"]),
    (STATUS, False, ["ReadLease", "Write"]),
    (HISTORY, False, ["ReadLease", "Write"]),
    (act.StartAsStandby(upstream=None, timeout_s=None), False, ["BeginJob"]),
]
EACH = pytest.mark.parametrize(
    ("action", "is_primary", "kinds"), ALL, ids=[f"{type(row[0]).__name__}-{number}" for number, row in enumerate(ALL)]
)


@EACH
def test_what_an_effect_asks_for(action: Action, is_primary: bool, kinds: list[str]) -> None:
    result = played(action, is_primary=is_primary)
    assert (result.kinds, result.fault) == (kinds, None)


@EACH
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_nothing_follows_a_failure(action: Action, is_primary: bool, kinds: list[str], fault: Exception) -> None:
    for index in range(len(played(action, is_primary=is_primary).asked)):
        result = played(action, failing=(index, fault), is_primary=is_primary)
        assert result.fault is fault
        assert len(result.asked) == index + 1


def test_every_effect_stands_in_the_table() -> None:
    assert {type(row[0]) for row in ALL} >= set(act.Effect.__args__)


def test_a_question_is_no_effect() -> None:
    assert isinstance(played(act.ReadFiles()).fault, Void)


# --- the election's facts


@pytest.mark.parametrize("action", [act.AcquireLock(), ADOPT])
@pytest.mark.parametrize(
    ("ages", "is_written"),
    [
        pytest.param([3.0, 3.0], True, id="at the limit"),
        pytest.param([3.01], False, id="too old"),
        pytest.param([None], False, id="one has changed"),
        pytest.param([2.0, 3.01], False, id="too old after the renewal"),
        pytest.param([2.0, None], False, id="one has changed during the renewal"),
    ],
)
def test_a_lock_is_taken_on_facts_that_still_stand(action: Action, ages: list[object], is_written: bool) -> None:
    result = played(action, {ReadFactsAge: ages})
    written = result.count(store.Create) + result.count(store.Write)
    assert (written, result.count(TakeLock)) == ((1, 1) if is_written else (0, 0))


def test_a_lock_inherits_the_deadline_of_the_renewal_before_it() -> None:
    result = played(act.AcquireLock(), {ReadInstant: [at(10.0), at(10.9), at(99.0)]})
    taken = [request for request in result.asked if isinstance(request, TakeLock)]
    assert [request.proof.sent for request in taken] == [at(10.0)]


def test_a_renewal_that_took_too_long_is_repeated_before_the_lock_is_taken() -> None:
    clock: list[Instant] = [at(10.0), at(11.1), at(20.0), at(20.5)]
    result = played(act.AcquireLock(), {ReadInstant: list(clock)})
    taken = [request for request in result.asked if isinstance(request, TakeLock)]
    assert result.count(store.RenewSession) == 2 and taken[0].proof.sent == at(20.0)


def test_a_store_that_renews_too_slowly_gives_no_lock() -> None:
    result = played(act.AcquireLock(), {ReadInstant: [at(10.0 * count) for count in range(99)]})
    assert isinstance(result.fault, DcsUnavailable) and result.count(store.Create) == 0


def test_a_lock_is_created_and_never_overwritten() -> None:
    created = [request for request in played(act.AcquireLock()).asked if isinstance(request, store.Create | store.Write)]
    assert [type(request) for request in created] == [store.Create]


def test_an_adoption_rewrites_the_version_that_was_judged() -> None:
    written = [request for request in played(ADOPT).asked if isinstance(request, store.Write)]
    assert [(request.token, request.under) for request in written] == [(Token("t"), UNDER)]


def test_a_primary_whose_guard_does_not_acknowledge_does_not_lead() -> None:
    result = played(act.AcquireLock(), {ArmFence: False}, is_primary=True)
    assert isinstance(result.fault, Void)


def test_a_check_sees_what_the_operation_is_told() -> None:
    """The wrapped operation gets failures as if nobody stood between."""
    steps = checked(COORDINATOR.release(Token("t"), Lsn(5)), require_facts)
    result = play(steps, {store.ReadPrefix: DcsUnavailable("silence")})
    assert (result.kinds, result.fault) == (["ReadPrefix", "Delete"], None)


# --- the lease


@pytest.mark.parametrize(
    ("action", "ttl_s", "left_s", "is_done"),
    [
        (act.Promote(), 30.0, 7.5, True),
        (act.Promote(), 30.0, 7.49, False),
        (act.Promote(), 5.0, 2.0, True),
        (act.Promote(), 5.0, 1.99, False),
        (STATUS, 30.0, 1.0, True),
        (STATUS, 30.0, 0.99, False),
        (HISTORY, 30.0, 1.0, True),
        (HISTORY, 30.0, 0.99, False),
    ],
)
def test_so_much_of_the_lease_must_be_left(action: Action, ttl_s: float, left_s: float, is_done: bool) -> None:
    lease = held(left_s, proof=proof(ttl_s=ttl_s))
    result = played(action, {ReadLease: lease})
    done = result.count(pg.SignalPromote) + result.count(store.Write)
    assert (done, isinstance(result.fault, Void)) == ((1, False) if is_done else (0, True))


@pytest.mark.parametrize("action", [act.Promote(), STATUS, HISTORY], ids=lambda action: type(action).__name__)
@pytest.mark.parametrize(
    "lease", [held(proof=None), held(is_refused=True), held(left_s=0.0)], ids=["no proof", "refused", "over"]
)
def test_without_a_lease_no_effect(action: Action, lease: object) -> None:
    result = played(action, {ReadLease: lease})
    assert isinstance(result.fault, Void) and len(result.asked) == 1


def test_the_granted_ttl_counts_not_the_configured_one() -> None:
    granted = held(3.0, proof=proof(ttl_s=10.0))
    result = play(effects(act.Promote(), context(ttl_s=60.0)), {ReadLease: granted})
    assert result.fault is None


def test_a_lease_that_shrank_while_the_guard_was_armed_promotes_nothing() -> None:
    result = played(act.Promote(), {ReadLease: [held(8.0), held(7.4)]})
    assert isinstance(result.fault, Void) and result.count(pg.SignalPromote) == 0


def test_a_guard_that_does_not_acknowledge_promotes_nothing() -> None:
    result = played(act.Promote(), {ArmFence: False})
    assert isinstance(result.fault, Void) and result.count(pg.SignalPromote) == 0


def test_the_guard_is_armed_under_the_proof_of_the_lease() -> None:
    armed = [request for request in played(act.Promote()).asked if isinstance(request, ArmFence)]
    assert [request.proof for request in armed] == [held().proof]


def test_a_promotion_is_noted() -> None:
    assert [request.role for request in played(act.Promote()).asked if isinstance(request, Note)] == [Role.PROMOTED]


@pytest.mark.parametrize("action", [STATUS, HISTORY], ids=lambda action: type(action).__name__)
def test_keys_of_the_leader_are_written_under_its_lock(action: Action) -> None:
    written = [request for request in played(action).asked if isinstance(request, store.Write)]
    assert [request.under for request in written] == [UNDER]


@pytest.mark.parametrize("action", [STATUS, HISTORY], ids=lambda action: type(action).__name__)
@pytest.mark.parametrize(("left_s", "is_written"), [(10.0, True), (9.99, False)], ids=["enough", "too little"])
def test_what_no_lock_guards_is_written_with_the_requests_time_left(action: Action, left_s: float, is_written: bool) -> None:
    """A store that cannot write under the lock may carry out a write until its time is over (safety_rules.md §6)."""
    steps = effects(action, context(can_write_under=False))
    assert play(steps, {ReadLease: held(left_s)}).count(store.Write) == int(is_written)


# --- giving the lock up


@pytest.mark.parametrize(
    ("seen", "is_released"),
    [
        pytest.param(files(Process.DOWN), True, id="down"),
        pytest.param(files(Process.DOWN, control=None), True, id="down, without control data"),
        pytest.param(files(control=control(ClusterState.SHUT_DOWN)), True, id="shut down, its processes still end"),
        pytest.param(files(has_recovery_signal=True), True, id="a standby"),
        pytest.param(files(), False, id="a primary runs"),
        pytest.param(files(control=control(ClusterState.SHUTTING_DOWN)), False, id="a primary is shutting down"),
        pytest.param(files(Process.ORPHANS), False, id="orphans can commit"),
        pytest.param(files(Process.ORPHANS, has_recovery_signal=True), False, id="orphans whoever they were"),
        pytest.param(files(control=None), False, id="control data cannot be read"),
    ],
)
def test_the_lock_is_released_beside_nobody_who_can_write(seen: object, is_released: bool) -> None:
    result = played(RELEASE, {pg.ReadFiles: seen})
    assert (result.count(DropLock), result.count(store.Delete)) == ((1, 1) if is_released else (0, 0))


def test_a_release_names_the_version() -> None:
    deleted = [request for request in played(RELEASE).asked if isinstance(request, store.Delete)]
    assert [(request.key, request.token) for request in deleted] == [(UNDER.key, Token("t"))]


def test_the_keeper_has_stopped_before_anything_is_deleted() -> None:
    assert played(RELEASE_WITH_LSN).kinds.index("DropLock") == 1


@pytest.mark.parametrize("fault", [DcsUnavailable("silence"), Refused(Refusal.NOT_OURS)], ids=["silence", "refusal"])
def test_a_position_that_cannot_be_published_hinders_no_release(fault: Exception) -> None:
    result = played(RELEASE_WITH_LSN, {store.ReadPrefix: fault})
    assert result.count(store.Delete) == 1 and result.fault is None


def test_a_position_is_published_under_the_lock_that_is_released_only() -> None:
    leader = entry(store.Create(UNDER.key, "a"))
    snapshot = Snapshot(entries={UNDER.key: leader}, revision=None, is_linearizable=True)
    result = play(effects(act.ReleaseLock(token=leader.token, lsn=Lsn(5)), context()), {store.ReadPrefix: snapshot})
    assert [request.under for request in result.asked if isinstance(request, store.Write)] == [UNDER]
    assert played(RELEASE_WITH_LSN, {store.ReadPrefix: snapshot}).count(store.Write) == 0, "another version stands there"


@pytest.mark.parametrize(
    ("lease", "is_published"),
    [
        pytest.param(held(10.0), True, id="enough"),
        pytest.param(held(9.99), False, id="too little"),
        pytest.param(Lease(), False, id="no lease"),
    ],
)
def test_a_position_that_no_lock_guards_is_published_with_the_requests_time_left(lease: Lease, is_published: bool) -> None:
    leader = entry(store.Create(UNDER.key, "a"))
    snapshot = Snapshot(entries={UNDER.key: leader}, revision=None, is_linearizable=True)
    steps = effects(act.ReleaseLock(token=leader.token, lsn=Lsn(5)), context(can_write_under=False))
    result = play(steps, {store.ReadPrefix: snapshot, ReadLease: lease})
    assert (result.count(store.Write), result.count(store.Delete)) == (int(is_published), 1)


# --- configuration


def config_of(value: str) -> Snapshot:
    found = entry(store.Create(f"{PREFIX}config", value))
    return Snapshot(entries={found.key: found}, revision=None, is_linearizable=True)


@pytest.mark.parametrize(
    ("found", "written"),
    [
        pytest.param(ANSWERS[store.ReadPrefix], store.Create, id="missing: created, and never overwritten"),
        pytest.param(config_of("null"), store.Write, id="holds nothing"),
        pytest.param(config_of("{}"), store.Write, id="is empty"),
        pytest.param(config_of("torn {"), store.Write, id="is torn"),
        pytest.param(config_of('{"ttl": 20}'), None, id="somebody has written one meanwhile"),
    ],
)
def test_a_configuration_that_somebody_wrote_stands(found: object, written: type[Request[Any]] | None) -> None:
    asked = played(act.WriteConfig(), {store.ReadPrefix: found}).asked[1:]
    assert [type(request) for request in asked] == ([] if written is None else [written])
    assert all(request.token == Token("7") for request in asked if isinstance(request, store.Write))


# --- jobs and the rest


def test_a_job_is_handed_to_the_slot() -> None:
    action = act.StartAsStandby(upstream=None, timeout_s=None)
    assert played(action).asked == [BeginJob(action)]


def test_a_standby_is_pointed_at_its_upstream_by_reload() -> None:
    assert played(act.Follow(UPSTREAM)).asked == [pg.WriteConfiguration(is_standby=True, upstream=UPSTREAM), pg.Reload()]


def test_a_request_is_cleared_in_the_version_that_was_judged() -> None:
    written = [request for request in played(act.ClearFailover(Token("t"))).asked if isinstance(request, store.Write)]
    assert [request.token for request in written] == [Token("t")]
