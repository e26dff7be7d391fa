"""Looks over time: how often at rest and while something is expected, and that no lost answer ends them."""

from __future__ import annotations

from collections import Counter

import pytest

from patroni.agent import order
from patroni.agent.event import (
    ChainEnded,
    ClusterSeen,
    FilesSeen,
    JobBegan,
    JobEnded,
    MonitoringSeen,
    Noted,
    Payload,
    PeerSeen,
    StoreSilent,
)
from patroni.agent.look import Looks
from patroni.agent.observe import Observed, RunningChain
from patroni.agent.order import Order
from patroni.decision.actions import CloneFrom, Demote, DemoteKind, Follow, StartAsStandby
from patroni.decision.cluster import PostgresState, Role, Timeline
from patroni.decision.node import Process
from patroni.decision.reasons import Code
from patroni.decision.settings import Settings
from patroni.decision.view import Chain, Silent
from patroni.postgres.request import Monitoring
from tests.agent.builders import (
    a_primary_says,
    a_standby_says,
    at,
    files,
    files_seen,
    primary_seen,
    seen,
    standby_seen,
    take,
)
from tests.decision.builders import a_cluster, a_member, an_answer

STANDBY = (files_seen(has_recovery_signal=True), standby_seen(), seen(10, "b"))
PRIMARY = (files_seen(), primary_seen(), seen(10, "a"))


class Clockwork:
    """Looks whose answers come at once, unless a test holds them back; time passes from one look to the next."""

    def __init__(self, *known: Payload) -> None:
        self.observed, self.looks, self.settings = Observed(name="a", started=at(0.0)), Looks(), Settings()
        self.now_s = 0.0
        self.asked: Counter[str] = Counter()
        self.silent: set[type[Order]] = set()  # these get no answer
        self.is_refusing = False  # Postgres answers no query
        self.is_primary = any(payload is PRIMARY[1] for payload in known)
        take(self.observed, 0.0, *known)

    def run(self, seconds: float) -> Counter[str]:
        """Let time pass, and return how often was asked for what."""
        self.asked = Counter()
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            orders = self.looks.orders(self.observed, self.settings, at(self.now_s))
            for wanted in orders:
                self.asked[type(wanted).__name__] += 1
                if type(wanted) not in self.silent:
                    take(self.observed, self.now_s, self.answer(wanted))
            due_s = self.looks.due_at_s(self.observed, self.settings, at(self.now_s))
            self.now_s = min(end_s, max(due_s, self.now_s + 0.01))
        return self.asked

    def answer(self, wanted: Order) -> Payload:
        match wanted:
            case order.LookAtFiles():
                return FilesSeen(files=self.observed.files or files())
            case order.QueryPostgres():
                return MonitoringSeen(monitoring=None if self.is_refusing else self.observed.monitoring or self.said())
            case order.AskPeer(name=name):
                return PeerSeen(name=name, peer=an_answer(age_s=0.0))
            case _:
                return seen(10, self.observed.cluster.leader_name if self.observed.cluster else None, began_s=self.now_s)

    def said(self) -> Monitoring:
        return a_primary_says() if self.is_primary else a_standby_says()


@pytest.mark.parametrize(
    ("known", "most"),
    [
        pytest.param(PRIMARY, {"LookAtFiles": 60, "QueryPostgres": 60, "ReadStore": 27, "AskPeer": 0}, id="leader"),
        pytest.param(STANDBY, {"LookAtFiles": 60, "QueryPostgres": 60, "ReadStore": 27, "AskPeer": 60}, id="replica"),
    ],
)
def test_ten_minutes_at_rest(known: tuple[Payload, ...], most: dict[str, int]) -> None:
    asked = Clockwork(*known).run(600.0)
    assert {name: count for name, count in asked.items() if count > 1.05 * most[name]} == {}
    assert asked["LookAtFiles"] >= 50 and asked["QueryPostgres"] >= 50


SIGNALLED = Noted(phase="signalled", role=Role.PROMOTED)
STARTING = Noted(phase="starting", state=PostgresState.STARTING, role=Role.PRIMARY)
STOPPING = JobBegan(action=Demote(DemoteKind.GRACEFUL))


@pytest.mark.parametrize(
    ("known", "kind", "least"),
    [
        pytest.param((*STANDBY, SIGNALLED), "QueryPostgres", 80, id="a promotion"),
        pytest.param((*STANDBY, seen(11, None)), "QueryPostgres", 18, id="a free key"),
        pytest.param((*PRIMARY, STOPPING), "LookAtFiles", 80, id="a stop: control data for the others"),
        pytest.param((files_seen(), primary_seen(timeline=Timeline(2)), seen(10, "a")), "LookAtFiles", 9, id="a checkpoint"),
    ],
)
def test_ten_seconds_while_something_is_expected(known: tuple[Payload, ...], kind: str, least: int) -> None:
    assert Clockwork(*known).run(10.0)[kind] >= least


@pytest.mark.parametrize(
    ("known", "least", "most"), [((files_seen(), STARTING), 80, 110), (STANDBY, 9, 12)], ids=["starting", "running"]
)
def test_ten_seconds_while_postgres_refuses_queries(known: tuple[Payload, ...], least: int, most: int) -> None:
    work = Clockwork(*known)
    work.is_refusing = True
    take(work.observed, 0.0, MonitoringSeen(monitoring=None))
    assert least <= work.run(10.0)["QueryPostgres"] <= most


def test_a_standby_that_was_turned_is_looked_at_until_it_streams() -> None:
    work = Clockwork(files_seen(has_recovery_signal=True), standby_seen(replication_state=None), seen(10, "b"))
    chain = Chain(actions=(Follow(None),), step=0, code=Code.FOLLOWER_OK)
    work.observed.chain = RunningChain(number=1, chain=chain, began=at(0.0))
    take(work.observed, 0.0, ChainEnded(number=1))
    assert work.run(9.0)["QueryPostgres"] >= 40
    take(work.observed, work.now_s, standby_seen())
    assert work.run(30.0)["QueryPostgres"] <= 4


def test_a_standby_after_a_long_clone_is_looked_at_until_it_streams() -> None:
    clone = CloneFrom(member="b", conn_url="postgres://b/", is_leader=True, upstream=None)
    work = Clockwork(files_seen(has_recovery_signal=True), seen(10, "b"), JobBegan(action=clone))
    work.now_s = 60.0
    take(work.observed, 60.0, JobEnded(action=clone, is_ok=True), files_seen(has_recovery_signal=True))
    take(work.observed, 60.0, standby_seen(replication_state=None, timeline=None))
    assert work.run(9.0)["QueryPostgres"] >= 40
    take(work.observed, work.now_s, standby_seen())
    assert work.run(30.0)["QueryPostgres"] <= 4


def test_a_standby_whose_stream_is_silent_is_asked_for_its_timeline_at_once() -> None:
    clone = CloneFrom(member="b", conn_url="postgres://b/", is_leader=True, upstream=None)
    work = Clockwork(files_seen(has_recovery_signal=True), seen(10, "b"), JobBegan(action=clone))
    take(work.observed, 0.0, JobEnded(action=clone, is_ok=True), files_seen(has_recovery_signal=True))
    take(work.observed, 0.0, standby_seen(timeline=None))
    assert query_of(work, 0.2).asks_timeline


def test_a_standby_that_streams_is_looked_at_until_it_is_known_on_the_leader_s_timeline() -> None:
    leader = ClusterSeen(cluster=a_cluster("b", a_member("b", timeline=Timeline(2))), began=at(0.0), is_linearizable=False)
    work = Clockwork(files_seen(has_recovery_signal=True), standby_seen(timeline=Timeline(1)), leader)
    chain = Chain(actions=(Follow(None),), step=0, code=Code.FOLLOWER_OK)
    work.observed.chain = RunningChain(number=1, chain=chain, began=at(0.0))
    take(work.observed, 0.0, ChainEnded(number=1))
    assert work.run(5.0)["QueryPostgres"] >= 20
    take(work.observed, work.now_s, standby_seen(timeline=Timeline(2)))
    assert work.run(5.0)["QueryPostgres"] <= 2


def test_a_stopping_server_is_not_queried() -> None:
    assert Clockwork(*PRIMARY, JobBegan(action=Demote(DemoteKind.GRACEFUL))).run(10.0)["QueryPostgres"] == 0


def test_a_server_that_is_down_is_not_queried() -> None:
    assert Clockwork(files_seen(Process.DOWN), seen(10, "b")).run(60.0)["QueryPostgres"] == 0


def test_a_starting_job_looks_on() -> None:
    start = StartAsStandby(upstream=None, timeout_s=None)
    starting = Noted(phase="starting", state=PostgresState.STARTING, role=Role.REPLICA)
    work = Clockwork(files_seen(Process.DOWN), JobBegan(action=start), starting, files_seen(has_recovery_signal=True))
    assert work.run(1.0)["QueryPostgres"] >= 1


# --- answers that do not come


@pytest.mark.parametrize("lost", [order.QueryPostgres, order.ReadStore])
def test_what_was_lost_is_asked_again_and_holds_up_nothing_else(lost: type[Order]) -> None:
    work = Clockwork(*STANDBY)
    work.silent = {lost}
    asked = work.run(120.0)
    assert asked[lost.__name__] >= 3
    others = {"LookAtFiles", "QueryPostgres", "AskPeer"} - {lost.__name__}
    assert all(asked[name] >= 9 for name in others)


def test_a_peer_whose_name_is_not_resolved_is_not_asked_twice() -> None:
    work = Clockwork(*STANDBY)
    work.silent = {order.AskPeer}
    asked = work.run(600.0)
    assert asked["AskPeer"] == 1
    assert asked["QueryPostgres"] >= 50


def test_a_look_at_files_that_hangs_is_not_asked_twice() -> None:
    """Its worker tells whatever comes of it; on a dead disk another one would only wait behind it."""
    work = Clockwork(*STANDBY)
    work.silent = {order.LookAtFiles}
    asked = work.run(120.0)
    assert asked["LookAtFiles"] == 1
    assert asked["QueryPostgres"] >= 9
    work.silent = set()
    take(work.observed, work.now_s, files_seen())
    assert work.run(60.0)["LookAtFiles"] >= 5


def test_a_late_answer_counts_and_ends_the_waiting() -> None:
    work = Clockwork(*STANDBY)
    work.silent = {order.QueryPostgres}
    work.run(15.0)
    work.silent = set()
    take(work.observed, work.now_s, standby_seen())
    assert work.run(60.0)["QueryPostgres"] in range(5, 9)


def test_a_silent_store_is_read_once_a_second() -> None:
    work = Clockwork(*STANDBY)
    take(work.observed, 0.0, StoreSilent(detail=""))
    work.silent = {order.ReadStore}
    orders = work.looks.orders(work.observed, work.settings, at(0.0))
    assert order.ReadStore(is_linearizable=True) in orders
    for second in range(1, 10):
        take(work.observed, second - 0.5, StoreSilent(detail=""))
        assert order.ReadStore(is_linearizable=True) in work.looks.orders(work.observed, work.settings, at(float(second)))


def test_a_peer_without_an_address_is_not_asked_and_one_that_is_gone_at_its_last() -> None:
    work = Clockwork(*STANDBY)
    ask = work.looks.ask
    assert ask(work.observed, ("nobody",), at(1.0)) == []
    assert ask(work.observed, ("gone",), at(1.0), {"gone": "http://gone/"}) == [
        order.AskPeer(name="gone", api_url="http://gone/")
    ]
    assert ask(work.observed, ("gone",), at(2.0), {"gone": "http://gone/"}) == [], "under way"
    take(work.observed, 4.0, PeerSeen(name="gone", peer=Silent(age_s=0.0)))
    assert len(ask(work.observed, ("gone",), at(4.1), {"gone": "http://gone/"})) == 1, "ended"


def query_of(work: Clockwork, now_s: float) -> order.QueryPostgres:
    orders = work.looks.orders(work.observed, work.settings, at(now_s))
    return next(each for each in orders if isinstance(each, order.QueryPostgres))


def test_the_history_file_is_read_once_a_timeline() -> None:
    work = Clockwork(files_seen(), primary_seen(timeline=Timeline(2)), seen(10, "a"))
    assert query_of(work, 20.0).history_of == 2
    said = MonitoringSeen(monitoring=a_primary_says(timeline=Timeline(2)), local_history=())
    take(work.observed, 20.1, said)
    assert query_of(work, 40.0).history_of is None


def test_a_standby_whose_receiver_says_no_timeline_is_asked_for_it() -> None:
    work = Clockwork(files_seen(has_recovery_signal=True), standby_seen(timeline=None), seen(10, "b"))
    assert query_of(work, 20.0).asks_timeline
