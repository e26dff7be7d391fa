"""A short share of the random-kill run; `script/kill` does it for as long as one likes."""

from __future__ import annotations

import random

import pytest

from tests.kill.losses import Election, Loss, elections, explained
from tests.kill.run import SHORT, Run
from tests.support.cluster import StoreKind
from tests.support.writer import Acknowledged

SECONDS = 45.0


@pytest.mark.timeout(400)
def test_a_cluster_survives_kills_at_random() -> None:
    assert Run(StoreKind.ETCD3, random.Random(1), SHORT).carry_out(SECONDS) == 0


LOG_OF_A = """\
2026-01-01 00:00:01,000 INFO: acquiring the leader lock (lsn=900, last published=1000)
2026-01-01 00:00:01,010 INFO: acquiring the leader lock: not done, somebody else has written the key first
2026-01-01 00:01:00,000 INFO: adopting the leader lock that names this node (lsn=2000, last published=None)
2026-01-01 00:01:00.010 UTC [1] LOG:  selected new timeline ID: 3
"""
LOG_OF_B = """\
2026-01-01 00:00:01,000 INFO: acquiring the leader lock (lsn=950, last published=1000)
2026-01-01 00:00:01.010 UTC [1] LOG:  selected new timeline ID: 2
"""
WON_2 = Election(node="b", timeline=2, lsn=950, published=1000)
WON_3 = Election(node="a", timeline=3, lsn=2000, published=0)


def test_elections_are_those_that_were_won() -> None:
    assert elections([("a", LOG_OF_A), ("b", LOG_OF_B)]) == [WON_2, WON_3]
    assert (WON_2.lag_bytes, WON_3.lag_bytes) == (50, 0)


@pytest.mark.parametrize(
    ("timeline", "end_lsn", "election", "is_explained"),
    [
        pytest.param(1, 951, WON_2, True, id="beyond the winner's position"),
        pytest.param(1, 950, WON_2, False, id="the winner had it"),
        pytest.param(1, None, WON_2, True, id="nobody knows where it ended"),
        pytest.param(2, 2001, WON_3, True, id="of the second reign"),
        pytest.param(3, 2001, None, False, id="lost by its own server"),
    ],
)
def test_a_loss_is_explained_by_the_election_that_ended_its_timeline(
    timeline: int, end_lsn: int | None, election: Election | None, *, is_explained: bool
) -> None:
    row = Acknowledged(number=7, invoked_s=9.0, acknowledged_s=9.5, timeline=timeline, end_lsn=end_lsn)
    (loss,) = explained([row], [5.0, 10.0], [WON_2, WON_3])
    assert loss == Loss(row=row, age_s=0.5, election=election)
    assert loss.is_explained is is_explained
