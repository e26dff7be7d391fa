"""Observed: what was said in a race does not outlive it."""

from __future__ import annotations

from patroni.agent.event import PeerSeen
from patroni.decision.view import Silent
from tests.agent.builders import an_observer, seen, take, view_of
from tests.decision.builders import an_answer


def test_what_was_said_in_a_race_is_forgotten_by_its_winner() -> None:
    """Asked to switch over right after its promotion, it took the others for members that had stayed on the timeline before."""
    observed = an_observer(seen(10, leader=None))
    take(observed, 0.0, PeerSeen(name="b", peer=an_answer()), PeerSeen(name="c", peer=Silent(age_s=0.0)))
    assert set(view_of(observed, 0.1).peers) == {"b", "c"}
    take(observed, 0.2, seen(11, leader="a"))
    assert set(view_of(observed, 0.2).peers) == {"c"}
    take(observed, 0.3, PeerSeen(name="b", peer=an_answer()), seen(12, leader="a"))
    assert set(view_of(observed, 0.3).peers) == {"b", "c"}
