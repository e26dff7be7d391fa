"""Observed: what was said in a race, or before a step that changed what Postgres is, does not outlive it."""

from __future__ import annotations

import pytest

from patroni.agent.event import JobBegan, JobEnded, MonitoringSeen, Noted, Payload, PeerSeen, PostmasterExited
from patroni.decision.actions import Demote, DemoteKind
from patroni.decision.cluster import PostgresState, Role
from patroni.decision.view import Silent
from tests.agent.builders import PID, a_primary_says, an_observer, at, files_seen, primary_seen, seen, take, view_of
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


DEMOTE = Demote(DemoteKind.IMMEDIATE)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((JobBegan(action=DEMOTE), JobEnded(action=DEMOTE, is_ok=True)), id="a demotion"),
        pytest.param((PostmasterExited(pid=PID),), id="the end of the postmaster"),
        pytest.param((Noted(phase="stopped", state=PostgresState.STOPPED, role=Role.DEMOTED),), id="a step of a job"),
    ],
)
@pytest.mark.parametrize(("began_s", "is_taken"), [(0.9, False), (1.1, True)], ids=["asked before", "asked after"])
def test_what_postgres_said_before_a_step_is_not_taken_for_the_state_after_it(
    steps: tuple[Payload, ...], began_s: float, is_taken: bool
) -> None:
    """A primary would be seen that is none any more."""
    observed = an_observer(files_seen(), primary_seen())
    take(observed, 1.0, *steps)
    observed.monitoring = None
    take(observed, 1.2, MonitoringSeen(monitoring=a_primary_says(), began=at(began_s)))
    assert (view_of(observed, 1.2).node.is_in_recovery is False) is is_taken
    assert (observed.monitoring_at is None) is not is_taken, "asked again at once"
