"""The history: what is ours is read by the file worker, what the leader has is asked by a peer's thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from patroni.agent import order
from patroni.agent.event import HistorySeen, MonitoringSeen
from patroni.decision.cluster import Timeline
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError
from tests.agent.builders import a_standby_says
from tests.agent.rig import Rig, rigged


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged() as made:
        yield made


def test_a_leaders_history(rig: Rig) -> None:
    said = pg.RemoteHistory(is_primary=True, system_id=None, timeline=Timeline(2))
    rig.postgres.answers[pg.AskRemoteHistory] = said
    rig.dispatcher.dispatch(order.AskLeaderHistory(member="b", conn_url="postgres://b/"))
    history = rig.await_told(HistorySeen).history
    assert (history.member, history.is_primary, history.timeline) == ("b", True, 2)
    rig.postgres.answers[pg.AskRemoteHistory] = PostgresError("no route")
    rig.dispatcher.dispatch(order.AskLeaderHistory(member="b", conn_url="postgres://b/"))
    assert not rig.await_told(HistorySeen, 2).history.is_primary


def test_a_dead_disk_holds_one_thread_however_often_the_history_is_asked(rig: Rig) -> None:
    """The workers read no file: four questions would have held all of them."""
    rig.postgres.hold(pg.ReadOwnTimeline, pg.ReadLocalHistory)
    rig.postgres.answers |= {pg.ReadMonitoring: a_standby_says()}
    asked = order.AskLeaderHistory(member="b", conn_url="postgres://b/", ours=(Timeline(2), 1))
    for _ in range(6):
        rig.dispatcher.dispatch(asked)
    rig.await_asked(pg.ReadOwnTimeline)
    for number in range(1, 6):
        rig.dispatcher.dispatch(order.QueryPostgres(history_of=Timeline(2)))
        assert rig.await_told(MonitoringSeen, number).local_history is None
    assert rig.postgres.was_asked(pg.ReadOwnTimeline) == 1
    assert rig.postgres.was_asked(pg.ReadLocalHistory) == 0
    own = pg.OwnTimeline(timeline=Timeline(2), rows=(), wal=None)
    rig.postgres.answers |= {
        pg.ReadOwnTimeline: own,
        pg.AskRemoteHistory: pg.RemoteHistory(is_primary=True, system_id=None, timeline=Timeline(2)),
    }
    rig.postgres.let_go(pg.ReadOwnTimeline, pg.ReadLocalHistory)
    assert rig.await_told(HistorySeen).history.compared == 2


def test_a_leader_is_asked_although_what_is_ours_was_not_read(rig: Rig) -> None:
    said = pg.RemoteHistory(is_primary=True, system_id=None, timeline=Timeline(2))
    rig.postgres.answers |= {pg.ReadOwnTimeline: PostgresError("gone"), pg.AskRemoteHistory: said}
    rig.dispatcher.dispatch(order.AskLeaderHistory(member="b", conn_url="postgres://b/", ours=(Timeline(2), 1)))
    assert rig.await_told(HistorySeen).history.is_primary
