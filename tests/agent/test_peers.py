"""Questions to peers: each is answered, if only by a silence, and none holds up anything else (safety_rules.md §7.1)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from patroni.agent import order
from patroni.agent.event import ClusterSeen, HistorySeen, PeerSeen
from patroni.decision.view import Silent
from patroni.postgres import request as pg
from tests.agent.rig import Rig, released, rigged


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged(has_data=True) as made:
        yield made


def test_a_peer_is_told_of_whatever_comes_of_it(rig: Rig) -> None:
    """Else it would never be asked again."""
    rig.peer = RuntimeError("nobody foresaw it")
    rig.dispatcher.dispatch(order.AskPeer(name="b", api_url="http://b/"))
    assert rig.await_told(PeerSeen).peer == Silent(age_s=0.0)


def test_peers_whose_names_are_not_resolved_keep_no_other_look_waiting(rig: Rig) -> None:
    gate = threading.Event()
    with released(gate):
        rig.gate = gate
        for name in "bcdefg":
            rig.dispatcher.dispatch(order.AskPeer(name=name, api_url=f"http://{name}/"))
        rig.dispatcher.dispatch(order.ReadStore(is_linearizable=True))
        rig.await_told(ClusterSeen)
        assert rig.all_told(PeerSeen) == []


def test_a_leader_is_told_of_whatever_comes_of_it(rig: Rig) -> None:
    rig.postgres.answers[pg.AskRemoteHistory] = RuntimeError("nobody foresaw it")
    rig.dispatcher.dispatch(order.AskLeaderHistory(member="b", conn_url="postgres://b/"))
    assert not rig.await_told(HistorySeen).history.is_primary
