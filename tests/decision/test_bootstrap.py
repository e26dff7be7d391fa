"""Making a cluster, cloning, waiting, and a data directory that is gone (contract/ha_behaviour.md §2.5, 2.7, 2.8, 2.9)."""

# ruff: noqa: ANN401  # builders hand any field on to the records

from __future__ import annotations

from dataclasses import replace
from typing import Any

from patroni.decision.actions import (
    AbortBootstrap,
    AcquireLock,
    AdoptLock,
    Bootstrap,
    CancelInitialize,
    CancelJob,
    ClaimInitialize,
    CloneFrom,
    Exit,
    ReadFiles,
    ReleaseLock,
    StopPostgres,
    WriteConfig,
    WriteInitialize,
)
from patroni.decision.cluster import Cluster, DynamicConfig, Initialize, PostgresState, SystemId, Tags, Token
from patroni.decision.decide import decide
from patroni.decision.node import DataDirectory, JobKind, Process
from patroni.decision.reasons import Code
from patroni.decision.view import Memory, View
from tests.decision.builders import (
    INCARNATION,
    NOW_S,
    OTHER_SYSTEM,
    SYSTEM,
    TOKEN,
    Case,
    a_chain,
    a_cluster,
    a_dead,
    a_job,
    a_leader,
    a_leader_key,
    a_member,
    a_memory,
    a_primary,
    a_standby,
    a_view,
    an_empty,
    an_outcome,
    case,
    failed,
    held,
    members,
    rows,
    settings,
    storeless,
    tagged,
    upstream,
    url,
)

NEW = settings(has_bootstrap_section=True)
NOTHING = Cluster()
OWN = Memory(is_own_bootstrap=True)
ABORTING = Memory(is_aborting=True)
MADE = an_outcome(JobKind.BOOTSTRAP)
CLONE_B = CloneFrom(member="b", conn_url=url("b"), is_leader=True, upstream=upstream("b"))
CLONE_C = CloneFrom(member="c", conn_url=url("c"), is_leader=False, upstream=upstream("b"))
OFFER = Tags(clonefrom=True)
STOP_NOW = StopPostgres(is_fast=False)
TO_INITIALIZE = WriteInitialize(system_id=SYSTEM, is_new=True)


def empty(cluster: Cluster | None = None, **changes: Any) -> View:
    given = {"node": an_empty(), "settings": NEW, "memory": Memory()}
    return a_view(cluster=cluster or NOTHING, **{**given, **changes})


def made(cluster: Cluster | None = None, **changes: Any) -> View:
    """Return the view after our own bootstrap, the server running."""
    given = {"settings": NEW, "memory": OWN, "node": a_primary(last_job=MADE)}
    return a_view(cluster=cluster or Cluster(initialize=Initialize.RUNNING), **{**given, **changes})


CLAIMED = Cluster(initialize=Initialize.RUNNING, initialize_token=Token("n1"))
OLD_CLAIM = Memory(abandoned_since_s=NOW_S - 60)
EMPTY = [
    case(
        "a claim that nobody pursues", empty(CLAIMED, memory=OLD_CLAIM), Code.BOOTSTRAP_ABANDONED, CancelInitialize(Token("n1"))
    ),
    case("not for twice the ttl", empty(CLAIMED, memory=Memory(abandoned_since_s=NOW_S - 59.9)), Code.BOOTSTRAP_WAITING),
    case(
        "not by a nofailover node", empty(CLAIMED, memory=OLD_CLAIM, settings=tagged(nofailover=True)), Code.BOOTSTRAP_WAITING
    ),
    case(
        "b pursues it",
        empty(replace(CLAIMED, members={"b": a_member("b", state=PostgresState.INITDB)}), memory=OLD_CLAIM),
        Code.BOOTSTRAP_WAITING,
    ),
    case(
        "b does not",
        empty(replace(CLAIMED, members={"b": a_member("b", state=PostgresState.STOPPED)}), memory=OLD_CLAIM),
        Code.BOOTSTRAP_ABANDONED,
        CancelInitialize(Token("n1")),
    ),
    case("the store is away, who knows", storeless(empty(memory=OLD_CLAIM)), Code.DCS_DOWN),
    case("nobody has made the cluster", empty(), Code.BOOTSTRAP_NEW, ClaimInitialize(), Bootstrap()),
    case("no bootstrap section", empty(settings=settings()), Code.BOOTSTRAP_NOT_ALLOWED),
    case("nofailover must not make a cluster", empty(settings=tagged(nofailover=True)), Code.BOOTSTRAP_NOT_ALLOWED),
    case(
        "a standby cluster is not made yet",
        empty(settings=settings(has_bootstrap_section=True, is_standby_cluster=True)),
        Code.BOOTSTRAP_NOT_ALLOWED,
    ),
    case("somebody is making it", empty(Cluster(initialize=Initialize.RUNNING)), Code.BOOTSTRAP_WAITING),
    case("it is made and nobody leads", empty(a_cluster(None)), Code.BOOTSTRAP_WAITING),
    case("a leader without initialize key", empty(a_cluster(initialize=Initialize.ABSENT)), Code.CLONE, CLONE_B),
    case("clone from the leader", empty(a_cluster()), Code.CLONE, CLONE_B),
    case("clone from who offers itself", empty(a_cluster("b", a_member("c", tags=OFFER))), Code.CLONE, CLONE_C),
    case("an offer of the leader is no other source", empty(a_cluster("b", a_member("b", tags=OFFER))), Code.CLONE, CLONE_B),
    case("an offer of ourselves counts nothing", empty(a_cluster("b", a_member("a", tags=OFFER))), Code.CLONE, CLONE_B),
    case(
        "an offer of a member that is not running counts nothing",
        empty(a_cluster("b", a_member("c", tags=OFFER, state=PostgresState.STARTING))),
        Code.CLONE,
        CLONE_B,
    ),
    case(
        "an offer without address counts nothing",
        empty(a_cluster("b", a_member("c", tags=OFFER, conn_url=None))),
        Code.CLONE,
        CLONE_B,
    ),
    case("the leader has no address", empty(a_cluster(members=members(a_member("b", conn_url=None)))), Code.BOOTSTRAP_WAITING),
    case("the leader has no member key", empty(a_cluster(members={})), Code.BOOTSTRAP_WAITING),
    case("the store is away", storeless(empty()), Code.DCS_DOWN),
    case("not read yet", storeless(empty(), silent_s=10.0), Code.DCS_UNREAD),
    case(
        "a Postgres runs on a vanished directory",
        empty(a_cluster(), node=an_empty(process=Process.ALIVE)),
        Code.DATADIR_STOP,
        STOP_NOW,
    ),
    case("its orphans", empty(a_cluster(), node=an_empty(process=Process.ORPHANS)), Code.DATADIR_STOP, STOP_NOW),
    case("we hold the lock", a_leader(an_empty()), Code.DATADIR_RELEASED, ReleaseLock(TOKEN)),
    case("the lock names us without proof", empty(a_cluster("a")), Code.DATADIR_RELEASED, ReleaseLock(TOKEN)),
    case(
        "inaccessible",
        empty(node=an_empty(data_directory=DataDirectory.INACCESSIBLE)),
        Code.DATADIR_INACCESSIBLE,
    ),
    case("not looked yet", empty(node=an_empty(process=Process.UNKNOWN)), Code.FACTS_UNKNOWN, ReadFiles()),
    case(
        "the file worker hangs",
        empty(node=an_empty(data_directory=DataDirectory.UNKNOWN)),
        Code.FACTS_UNKNOWN,
        ReadFiles(),
    ),
]

OWN_BOOTSTRAP = [
    case(
        "publish all, then take the lock",
        made(),
        Code.BOOTSTRAP_DONE,
        WriteInitialize(system_id=SYSTEM, is_new=False),
        WriteConfig(),
        AcquireLock(),
    ),
    case(
        "the initialize key has vanished",
        made(NOTHING),
        Code.BOOTSTRAP_DONE,
        TO_INITIALIZE,
        WriteConfig(),
        AcquireLock(),
    ),
    case(
        "system id and configuration are there already",
        made(a_cluster(None)),
        Code.BOOTSTRAP_DONE,
        AcquireLock(),
    ),
    case(
        "the lock was won, its answer lost",
        made(Cluster(initialize=SYSTEM, leader=a_leader_key("a"))),
        Code.BOOTSTRAP_DONE,
        WriteConfig(),
        AdoptLock(token=TOKEN, incarnation=INCARNATION),
    ),
    case("not a primary yet", made(node=a_standby(last_job=MADE)), Code.BOOTSTRAP_RECOVERING),
    case("it does not say what it is", made(node=a_primary(last_job=MADE, is_in_recovery=None)), Code.BOOTSTRAP_RECOVERING),
    case("its system id is not read yet", made(node=a_primary(last_job=MADE, system_id=None)), Code.BOOTSTRAP_RECOVERING),
    case("made, and the store is away", storeless(made()), Code.BOOTSTRAP_RECOVERING),
    case("the job is about to begin", made(node=an_empty()), Code.BOOTSTRAP_RECOVERING),
    case("an older job of another kind", made(node=an_empty(last_job=an_outcome(JobKind.STOP))), Code.BOOTSTRAP_RECOVERING),
    case(
        "initdb failed",
        made(node=an_empty(last_job=an_outcome(JobKind.BOOTSTRAP, is_ok=False))),
        Code.BOOTSTRAP_ABORT,
        CancelInitialize(),
        AbortBootstrap(),
    ),
    case(
        "the job could not begin",
        made(node=an_empty(), last_chain=failed(Bootstrap(), is_refusal=True)),
        Code.BOOTSTRAP_ABORT,
        CancelInitialize(),
        AbortBootstrap(),
    ),
    case(
        "the new server died",
        made(node=a_dead(last_job=MADE)),
        Code.BOOTSTRAP_ABORT,
        CancelInitialize(),
        AbortBootstrap(),
    ),
    case("another cluster was made", made(Cluster(initialize=OTHER_SYSTEM)), Code.BOOTSTRAP_ABORT, AbortBootstrap()),
    case("another node leads", made(a_cluster()), Code.BOOTSTRAP_ABORT, AbortBootstrap()),
    case("aborted", a_view(an_empty(), NOTHING, memory=ABORTING), Code.BOOTSTRAP_ABORT, Exit(1)),
    case(
        "taking the claim back had no answer",
        a_view(an_empty(), Cluster(initialize=Initialize.RUNNING), memory=ABORTING, last_chain=failed(CancelInitialize())),
        Code.BOOTSTRAP_ABORT,
        CancelInitialize(),
        AbortBootstrap(),
    ),
    case(
        "the claim was refused, so another node makes the cluster",
        empty(Cluster(initialize=Initialize.RUNNING), memory=OWN, last_chain=failed(ClaimInitialize(), is_refusal=True)),
        Code.BOOTSTRAP_WAITING,
    ),
    case(
        "told to end: the job is cancelled first",
        made(node=an_empty(job=a_job(JobKind.BOOTSTRAP)), is_stopping=True),
        Code.BUSY,
        CancelJob(),
    ),
    case(
        "told to end: then the claim is taken back",
        made(node=an_empty(), is_stopping=True),
        Code.BOOTSTRAP_ABORT,
        CancelInitialize(),
        AbortBootstrap(),
    ),
    case(
        "told to end while the claim is under way",
        made(node=an_empty(), is_stopping=True, chain=a_chain(ClaimInitialize(), Bootstrap())),
        Code.CHAIN_RUNNING,
    ),
    case(
        "told to end, aborted",
        a_view(an_empty(), NOTHING, memory=ABORTING, is_stopping=True),
        Code.BOOTSTRAP_ABORT,
        Exit(1),
    ),
]

SHORT = SystemId("123456789")
UNCLAIMED = a_cluster(None, initialize=Initialize.ABSENT)
STRANGER = a_standby(system_id=OTHER_SYSTEM)
SYSTEM_IDS = [
    case("nine digits are no system id", a_view(a_standby(system_id=SHORT)), Code.SYSID_INVALID),
    case("not digits", a_view(a_standby(system_id=SystemId("70000000000000000x1"))), Code.SYSID_INVALID),
    case("pg_controldata never answered", a_view(a_standby(system_id=None)), Code.SYSID_INVALID),
    case("a standby does not lead without it", a_leader(a_standby(system_id=None)), Code.SYSID_INVALID, ReleaseLock(TOKEN)),
    case("nor does a server that is down", a_leader(a_dead(system_id=None)), Code.SYSID_INVALID, ReleaseLock(TOKEN)),
    case("a leader that lost sight of it goes on", a_leader(a_primary(system_id=None)), Code.LEADER_OK),
    case(
        "one that lost its key, too, does not take another",
        a_leader(a_primary(system_id=None), a_cluster(None)),
        Code.SYSID_INVALID,
    ),
    case("another cluster's: stop", a_view(STRANGER), Code.SHUTDOWN_STOPPING, StopPostgres(is_fast=True)),
    case("another cluster's: leave", a_view(a_dead(system_id=OTHER_SYSTEM)), Code.SYSID_MISMATCH, Exit(1)),
    case(
        "another cluster's, with the lock",
        a_leader(a_dead(system_id=OTHER_SYSTEM)),
        Code.SHUTDOWN_RELEASED,
        ReleaseLock(TOKEN),
    ),
    case("a replica can't found the cluster", a_view(cluster=UNCLAIMED, memory=Memory()), Code.SYSID_REPLICA_FIRST, Exit(1)),
    case(
        "nor can one whose cluster is being made",
        a_view(cluster=a_cluster(None, initialize=Initialize.RUNNING), memory=Memory()),
        Code.SYSID_REPLICA_FIRST,
        Exit(1),
    ),
    case("a primary founds it", a_view(a_primary(), UNCLAIMED, memory=Memory()), Code.SYSID_CLAIM, TO_INITIALIZE),
    case(
        "over a key that says nothing",
        a_view(a_primary(), a_cluster(None, initialize=Initialize.INVALID), memory=Memory()),
        Code.SYSID_CLAIM,
        WriteInitialize(system_id=SYSTEM, is_new=False),
    ),
    case("so does a server that is down", a_view(a_dead(), UNCLAIMED, memory=Memory()), Code.SYSID_CLAIM, TO_INITIALIZE),
    case(
        "one that does not say what it is",
        a_view(a_primary(is_in_recovery=None), UNCLAIMED, memory=Memory()),
        Code.PG_UNREACHABLE,
    ),
    case("one that has joined before", a_view(a_primary(), UNCLAIMED), Code.RACE_ACQUIRE, AcquireLock()),
    case(
        "the leader writes it where it is missing",
        a_leader(cluster=a_cluster("a", initialize=Initialize.ABSENT)),
        Code.LEADER_OK,
        TO_INITIALIZE,
    ),
    case(
        "the leader writes the configuration where it is none",
        a_leader(cluster=a_cluster("a", config=DynamicConfig(values=None, token=Token("c1")))),
        Code.LEADER_OK,
        WriteConfig(),
    ),
    case("or empty", a_leader(cluster=a_cluster("a", config=None)), Code.LEADER_OK, WriteConfig()),
    case(
        "what failed lately waits, the rest goes on",
        a_leader(
            cluster=a_cluster("a", config=None, initialize=Initialize.ABSENT),
            last_chain=failed(WriteConfig(), age_s=9.9),
        ),
        Code.LEADER_OK,
        TO_INITIALIZE,
    ),
    case(
        "and is tried again after loop_wait",
        a_leader(cluster=a_cluster("a", config=None), last_chain=failed(WriteConfig(), age_s=10.0)),
        Code.LEADER_OK,
        WriteConfig(),
    ),
]

CASES = [*EMPTY, *OWN_BOOTSTRAP, *SYSTEM_IDS]


@rows(CASES)
def test_bootstrap(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def test_the_seed_chooses_among_those_who_offer_themselves() -> None:
    offers = a_cluster("b", a_member("c", tags=OFFER), a_member("d", tags=OFFER))
    chosen = {decide(replace(empty(offers), seed=seed)).actions for seed in range(4)}
    assert {actions[0].member for actions in chosen if isinstance(actions[0], CloneFrom)} == {"c", "d"}


def test_an_abandoned_claim_is_timed() -> None:
    noted = decide(empty(CLAIMED)).memory
    assert noted.abandoned_since_s == NOW_S
    assert decide(empty(CLAIMED, memory=noted, now_s=NOW_S + 5)).memory.abandoned_since_s == NOW_S
    assert decide(empty(a_cluster(), memory=noted)).memory.abandoned_since_s is None
    assert decide(made(CLAIMED)).memory.abandoned_since_s is None


def test_the_claim_is_remembered_until_the_lock_is_held() -> None:
    claimed = decide(empty()).memory
    assert claimed.is_own_bootstrap
    running = Cluster(initialize=Initialize.RUNNING)
    assert decide(replace(empty(running), memory=claimed, chain=a_chain(ClaimInitialize()))).memory.is_own_bootstrap
    assert not decide(a_leader(memory=a_memory(is_own_bootstrap=True), lease=held())).memory.is_own_bootstrap
