"""A switchover or manual failover was asked for, seen by the leader (contract/ha_behaviour.md §2.19-2.20)."""

# ruff: noqa: ANN401  # builders hand any field on to the records

from __future__ import annotations

from datetime import timedelta
from typing import Any

from patroni.decision.actions import (
    AskPeers,
    ClearFailover,
    Demote,
    DemoteKind,
)
from patroni.decision.cluster import (
    FailoverRequest,
    Timeline,
)
from patroni.decision.decide import decide
from patroni.decision.reasons import Code
from patroni.decision.view import Asked, Silent, View
from tests.decision.builders import (
    FAILOVER,
    NOW_S,
    WALL,
    Case,
    a_cluster,
    a_leader,
    a_memory,
    a_primary,
    a_request,
    an_answer,
    answers,
    case,
    rows,
    settings,
)


def asked(request: FailoverRequest, seen_s: float = 3.0, **changes: Any) -> View:
    """Return the view of a leader who was asked; seen_s: how long ago the request was seen first."""
    memory = a_memory(healthy_leader="a", status_at_s=NOW_S - 1, request=request, request_since_s=NOW_S - seen_s)
    return a_leader(cluster=a_cluster("a", failover=request, failover_token=FAILOVER), **{"memory": memory, **changes})


GRACEFUL = Demote(DemoteKind.GRACEFUL, "switchover")
MANUAL = Demote(DemoteKind.GRACEFUL, "manual failover")
CLEAR = ClearFailover(FAILOVER)
ASK = AskPeers(("b", "c"))
SWITCHOVER = a_request(leader="a")
CASES = [
    case(
        "nobody takes over while it is a standby cluster",
        asked(a_request("b"), settings=settings(is_standby_cluster=True), peers=answers()),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "b has stayed on a timeline that has ended",
        asked(a_request("b"), node=a_primary(timeline=Timeline(2)), peers=answers()),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "b says no timeline",
        asked(a_request("b"), node=a_primary(timeline=Timeline(2)), peers=answers(b=an_answer(timeline=None))),
        Code.SWITCHOVER_DEMOTING,
        MANUAL,
    ),
    case("a switchover: who could lead?", asked(SWITCHOVER), Code.SWITCHOVER_ASKING, ASK),
    case(
        "they have not answered",
        asked(SWITCHOVER, peers={"b": Asked(age_s=1.0), "c": Silent(age_s=1.0)}),
        Code.SWITCHOVER_ASKING,
    ),
    case(
        "an answer that never came is a silence",
        asked(SWITCHOVER, peers={"b": Asked(age_s=3.1), "c": Silent(age_s=1.0)}),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case("b could: one answer is enough", asked(SWITCHOVER, peers=answers(c=None)), Code.SWITCHOVER_DEMOTING, GRACEFUL),
    case(
        "an old answer is none",
        asked(SWITCHOVER, peers={"b": an_answer(age_s=3.1), "c": Silent(age_s=1.0)}),
        Code.SWITCHOVER_ASKING,
        AskPeers(("b",)),
    ),
    case(
        "a young enough one is",
        asked(SWITCHOVER, peers={"b": an_answer(age_s=3.0), "c": Silent(age_s=1.0)}),
        Code.SWITCHOVER_DEMOTING,
        GRACEFUL,
    ),
    case(
        "to c: b's answer does not count",
        asked(a_request("c", "a"), peers=answers(c=None)),
        Code.SWITCHOVER_ASKING,
        AskPeers(("c",)),
    ),
    case("to c", asked(a_request("c", "a"), peers=answers()), Code.SWITCHOVER_DEMOTING, GRACEFUL),
    case("a manual failover to c", asked(a_request("c"), peers=answers()), Code.SWITCHOVER_DEMOTING, MANUAL),
    case("to nobody's name", asked(a_request("d"), peers=answers()), Code.SWITCHOVER_CLEARED, CLEAR),
    case("to ourselves", asked(a_request("a")), Code.SWITCHOVER_CLEARED, CLEAR),
    case("from another leader", asked(a_request("c", "b")), Code.SWITCHOVER_CLEARED, CLEAR),
    case(
        "its version is in the key alone",
        a_leader(cluster=a_cluster("a", failover=FailoverRequest(candidate="a"), failover_token=FAILOVER)),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case("its version is unknown", a_leader(cluster=a_cluster("a", failover=FailoverRequest(candidate="a"))), Code.LEADER_OK),
    case(
        "all are silent",
        asked(SWITCHOVER, peers={"b": Silent(age_s=1.0), "c": Silent(age_s=1.0)}),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "an old silence is asked again",
        asked(SWITCHOVER, peers={"b": Silent(age_s=3.1), "c": Silent(age_s=1.0)}),
        Code.SWITCHOVER_ASKING,
        AskPeers(("b",)),
    ),
    case(
        "a silence from before the request is asked again",
        asked(SWITCHOVER, seen_s=0.9, peers={"b": Silent(age_s=1.0), "c": Silent(age_s=0.5)}),
        Code.SWITCHOVER_ASKING,
        AskPeers(("b",)),
    ),
    case(
        "b is not allowed", asked(a_request("b", "a"), peers={"b": an_answer(nofailover=True)}), Code.SWITCHOVER_CLEARED, CLEAR
    ),
    case(
        "b stayed on the timeline before",
        asked(a_request("b", "a"), seen_s=1.0, node=a_primary(timeline=Timeline(2)), peers={"b": an_answer(age_s=0.9)}),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "it said so before it was asked for",
        asked(a_request("b", "a"), seen_s=1.0, node=a_primary(timeline=Timeline(2)), peers={"b": an_answer(age_s=1.1)}),
        Code.SWITCHOVER_ASKING,
        AskPeers(("b",)),
    ),
    case(
        "b has no priority",
        asked(a_request("b", "a"), peers={"b": an_answer(failover_priority=0)}),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "b's watchdog has failed",
        asked(a_request("b", "a"), peers={"b": an_answer(is_watchdog_failed=True)}),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "b is a primary",
        asked(a_request("b", "a"), peers={"b": an_answer(is_in_recovery=False)}),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "b lags as much as allowed",
        asked(
            SWITCHOVER,
            node=a_primary(),
            peers={"b": an_answer(0), "c": Silent(age_s=1.0)},
            settings=settings(maximum_lag_on_failover_bytes=5000),
        ),
        Code.SWITCHOVER_DEMOTING,
        GRACEFUL,
    ),
    case(
        "b lags a byte more",
        asked(
            SWITCHOVER, peers={"b": an_answer(0), "c": Silent(age_s=1.0)}, settings=settings(maximum_lag_on_failover_bytes=4999)
        ),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "b does not say its timeline",
        asked(a_request("b"), peers={"b": an_answer(timeline=None)}, settings=settings(check_timeline=True)),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
    case(
        "b says one where the history says none",
        asked(a_request("b"), peers=answers(), settings=settings(check_timeline=True)),
        Code.SWITCHOVER_DEMOTING,
        MANUAL,
    ),
    case("due in an hour", asked(a_request("c", "a", timedelta(hours=1))), Code.LEADER_OK),
    case("due in loop_wait", asked(a_request("c", "a", timedelta(seconds=10))), Code.SWITCHOVER_SCHEDULED),
    case("due now", asked(a_request("c", "a", timedelta(0)), peers=answers()), Code.SWITCHOVER_DEMOTING, GRACEFUL),
    case(
        "late, not too late",
        asked(a_request("c", "a", timedelta(seconds=-15)), peers=answers()),
        Code.SWITCHOVER_DEMOTING,
        GRACEFUL,
    ),
    case("too late", asked(a_request("c", "a", timedelta(seconds=-16)), peers=answers()), Code.SWITCHOVER_CLEARED, CLEAR),
    case(
        "its time has no zone",
        asked(FailoverRequest(candidate="c", scheduled_at=WALL.replace(tzinfo=None), token=FAILOVER)),
        Code.SWITCHOVER_CLEARED,
        CLEAR,
    ),
]


@rows(CASES)
def test_switchover(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def test_what_waits_for_a_schedule_wakes_with_it() -> None:
    assert decide(asked(a_request("c", "a", timedelta(seconds=4)))).wake_at_s == NOW_S + 4.0
