"""Switchover and failover: each check, each outcome (contract/rest_api.md §11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from patroni.decision.cluster import Cluster, FailoverRequest, SyncState, Token
from patroni.decision.settings import Settings, SynchronousMode
from patroni.decision.view import Answer
from patroni.rest.message import Kind, Response
from patroni.rest.operations import AwaitCluster, ReadCluster, Waited, Wake, WriteFailover, run
from patroni.rest.switchover import switch, unschedule
from tests.rest.builders import FakeAgent, RealClock, a_cluster, a_member, a_situation, a_snapshot, synchronous

GOOD = Answer(age_s=0.0, is_in_recovery=True, lsn=None, timeline=None)
SWITCHOVER = {"leader": "pg-a", "candidate": "pg-b"}
SCHEDULE = "2026-03-03T03:00:00+00:00"
ORDERED = a_cluster(failover=FailoverRequest(leader="pg-a", candidate="pg-b"))
PAUSED = Settings(is_paused=True)
PRIORITY = Settings(synchronous_mode=SynchronousMode.PRIORITY)
QUORUM = Settings(synchronous_mode=SynchronousMode.QUORUM)


def an_agent(*clusters: Cluster | None, **answers: Answer) -> FakeAgent:
    """Return an agent whose reads find these clusters; every member answers well unless `answers` are given."""
    known = {name.replace("_", "-"): answer for name, answer in answers.items()}
    return FakeAgent(
        snapshot=a_snapshot(),
        clusters=list(clusters) or [a_cluster(), ORDERED, a_cluster(leader="pg-b")],
        answers=known or dict.fromkeys(("pg-a", "pg-b", "pg-c"), GOOD),
    )


def asked(agent: FakeAgent, action: str, body: Mapping[str, object], settings: Settings | None = None) -> Response | None:
    situation = a_situation(a_snapshot(settings=settings or Settings()))
    return run(switch(action, body, situation), agent, RealClock())


def answer(agent: FakeAgent, action: str, body: Mapping[str, object], settings: Settings | None = None) -> Response:
    response = asked(agent, action, body, settings)
    assert response is not None
    assert response.kind is Kind.TEXT
    assert response.body
    return response


@pytest.mark.parametrize(
    ("action", "body", "settings", "then"),
    [
        pytest.param("switchover", {"candidate": "pg-b"}, None, 400, id="switchover without leader"),
        pytest.param("switchover", {"leader": None, "candidate": "pg-b"}, None, 400, id="null is not given"),
        pytest.param("switchover", {"leader": "", "candidate": "pg-b"}, None, 400, id="empty is not given"),
        pytest.param("failover", {"leader": "pg-a"}, None, 400, id="failover without candidate"),
        pytest.param("failover", {"candidate": "pg-b", "scheduled_at": SCHEDULE}, None, 400, id="scheduled failover"),
        pytest.param("switchover", SWITCHOVER | {"scheduled_at": SCHEDULE}, PAUSED, 400, id="scheduled while paused"),
        pytest.param("switchover", SWITCHOVER | {"scheduled_at": "2026-03-03 03:00"}, None, 400, id="no zone"),
        pytest.param("switchover", SWITCHOVER | {"scheduled_at": "soon"}, None, 422, id="no time"),
        pytest.param("switchover", SWITCHOVER | {"scheduled_at": {"a": 1}}, None, 422, id="no text"),
        pytest.param("switchover", SWITCHOVER | {"scheduled_at": "2026-03-02T07:59:59Z"}, None, 422, id="past"),
        pytest.param("switchover", {"leader": "pg-a"}, PAUSED, 400, id="paused without candidate"),
        pytest.param("switchover", {"leader": "pg-a", "candidate": "pg-a"}, None, 400, id="to itself"),
        pytest.param("failover", {"leader": "pg-a", "candidate": "pg-a"}, None, 400, id="failover with leader, to itself"),
        pytest.param("switchover", {"leader": "pg-b", "candidate": "pg-c"}, None, 412, id="leader is another"),
        pytest.param("failover", {"leader": "pg-b", "candidate": "pg-c"}, None, 412, id="failover, leader is another"),
        pytest.param("switchover", {"leader": "pg-a", "candidate": "pg-x"}, None, 412, id="candidate is no member"),
        pytest.param("failover", {"candidate": "pg-x"}, None, 412, id="failover, candidate is no member"),
        pytest.param("switchover", {"leader": "pg-a", "candidate": "pg-c"}, PRIORITY, 412, id="candidate not in /sync"),
        pytest.param("failover", {"leader": "pg-a", "candidate": "pg-c"}, PRIORITY, 412, id="with leader it is a switchover"),
    ],
)
def test_bars(action: str, body: Mapping[str, object], settings: Settings | None, then: int) -> None:
    agent = an_agent(a_cluster(sync=synchronous("pg-b")))
    assert answer(agent, action, body, settings).status == then
    assert (agent.written, agent.woken) == ([], [])


@pytest.mark.parametrize(
    ("action", "body", "settings"),
    [
        pytest.param("switchover", SWITCHOVER, None, id="switchover"),
        pytest.param("switchover", {"leader": "pg-a"}, None, id="any candidate"),
        pytest.param("switchover", {"leader": "pg-a", "member": "pg-b"}, None, id="old name of candidate"),
        pytest.param("switchover", {"leader": "pg-a", "candidate": "", "member": "pg-b"}, None, id="candidate empty"),
        pytest.param("switchover", SWITCHOVER, PAUSED, id="paused with candidate"),
        pytest.param("switchover", {"leader": "pg-a", "candidate": "PG-B"}, PRIORITY, id="in /sync, any case"),
        pytest.param("switchover", {"leader": "pg-a", "candidate": "pg-c"}, QUORUM, id="quorum mode, not in /sync"),
        pytest.param("failover", {"candidate": "pg-c"}, PRIORITY, id="failover to one not in /sync"),
        pytest.param("failover", {"candidate": "pg-b"}, None, id="failover"),
        pytest.param("failover", {"leader": "pg-a", "candidate": "pg-b"}, None, id="failover with leader"),
    ],
)
def test_done(action: str, body: Mapping[str, object], settings: Settings | None) -> None:
    members = {name: a_member(name) for name in ("pg-a", "pg-b", "PG-B", "pg-c")}
    now = a_cluster(members=members, sync=synchronous("pg-b"))
    target = str(body.get("candidate") or body.get("member") or "pg-b")
    agent = an_agent(now, replace(now, failover=ORDERED.failover), a_cluster(leader=target))
    agent.answers = dict.fromkeys(members, GOOD)
    response = answer(agent, action, body, settings)
    assert (response.status, target in response.body.decode()) == (200, True)
    candidate = None if body == {"leader": "pg-a"} else target
    assert agent.written == [FailoverRequest(leader=body.get("leader"), candidate=candidate)]  # type: ignore[arg-type]
    assert len(agent.woken) == 1


@pytest.mark.parametrize(
    ("sync", "settings", "then"),
    [
        (synchronous("pg-c"), PRIORITY, 412),
        (synchronous("pg-b"), PRIORITY, 200),
        (SyncState(), PRIORITY, 412),
        (SyncState(), None, 200),
    ],
)
def test_without_candidate_only_eligible_members_are_asked(sync: SyncState, settings: Settings | None, then: int) -> None:
    agent = an_agent(a_cluster(sync=sync), ORDERED, a_cluster(leader="pg-b"), pg_b=GOOD)
    assert answer(agent, "switchover", {"leader": "pg-a"}, settings).status == then


@pytest.mark.parametrize(
    ("answers", "then"),
    [
        ({"pg_c": GOOD}, 200),
        ({"pg_a": GOOD}, 412),
        ({"pg_c": replace(GOOD, nofailover=True, failover_priority=0)}, 412),
        ({"pg_c": replace(GOOD, failover_priority=0)}, 200),  # `nofailover: false` decides
        ({"pg_c": replace(GOOD, is_watchdog_failed=True)}, 412),
        ({"pg_b": replace(GOOD, nofailover=True), "pg_c": GOOD}, 200),
    ],
)
def test_one_good_answer_is_enough(answers: dict[str, Answer], then: int) -> None:
    agent = an_agent(a_cluster(), ORDERED, a_cluster(leader="pg-c"), **answers)
    assert answer(agent, "switchover", {"leader": "pg-a"}).status == then


def test_members_without_url_are_nobody_to_ask() -> None:
    alone = a_cluster(members={"pg-a": a_member("pg-a"), "pg-b": a_member("pg-b", api_url=None)})
    assert answer(an_agent(alone), "switchover", {"leader": "pg-a"}).status == 412


def test_scheduled() -> None:
    agent = an_agent(a_cluster(leader="pg-c"))  # neither leader nor candidates are looked at now
    response = answer(agent, "switchover", SWITCHOVER | {"scheduled_at": SCHEDULE})
    when = datetime(2026, 3, 3, 3, tzinfo=UTC)
    assert response.status == 202
    assert agent.written == [FailoverRequest(leader="pg-a", candidate="pg-b", scheduled_at=when)]
    assert len(agent.woken) == 1


def test_the_key_is_refused() -> None:
    agent = an_agent()
    agent.writes_ok = False
    assert answer(agent, "switchover", SWITCHOVER).status == 503
    assert agent.woken == []


def test_no_answer_of_the_store_closes_the_connection() -> None:
    assert asked(an_agent(None), "switchover", SWITCHOVER) is None
    assert run(unschedule(), an_agent(None), RealClock()) is None


def test_another_leader_than_the_candidate() -> None:
    response = answer(an_agent(a_cluster(), None, ORDERED, a_cluster(leader="pg-c")), "switchover", SWITCHOVER)
    assert response.status == 200
    assert all(name in response.body.decode() for name in ("pg-b", "pg-c"))


def test_failed() -> None:
    response = answer(an_agent(a_cluster(), ORDERED, replace(ORDERED, leader=None), a_cluster()), "switchover", SWITCHOVER)
    assert response.status == 503
    assert b"failed" in response.body


@pytest.mark.parametrize(("loop_wait_s", "limit_s"), [(5.0, 20), (10.0, 20), (30.0, 60)])
def test_status_unknown_after_the_time(loop_wait_s: float, limit_s: int) -> None:
    """Drive the steps by hand: the clock is in the answers."""
    situation = a_situation(a_snapshot(settings=Settings(loop_wait_s=loop_wait_s)))
    steps = switch("failover", {"candidate": "pg-b"}, situation)
    assert isinstance(next(steps), ReadCluster)
    steps.send(a_cluster())
    assert isinstance(steps.send({"pg-b": GOOD}), WriteFailover)
    assert isinstance(steps.send(True), Wake)
    request = steps.send(None)
    for _ in range(limit_s - 1):
        assert request == AwaitCluster(1.0)
        request = steps.send(Waited(cluster=ORDERED, elapsed_s=1.0))
    assert request == AwaitCluster(1.0)
    with pytest.raises(StopIteration) as end:
        steps.send(Waited(cluster=ORDERED, elapsed_s=1.0))
    assert end.value.value.status == 503
    assert b"status unknown" in end.value.value.body
    assert str(limit_s).encode() in end.value.value.body


SCHEDULED = a_cluster(failover=FailoverRequest(leader="pg-a", scheduled_at=datetime(2026, 3, 3, tzinfo=UTC), token=Token("9")))


@pytest.mark.parametrize(
    ("cluster", "writes_ok", "then", "kind"),
    [
        (SCHEDULED, True, 200, Kind.TEXT),
        (SCHEDULED, False, 409, Kind.PAGE),
        (ORDERED, True, 404, Kind.TEXT),
        (a_cluster(), True, 404, Kind.TEXT),
    ],
)
def test_unschedule(cluster: Cluster, writes_ok: bool, then: int, kind: Kind) -> None:
    agent = an_agent(cluster)
    agent.writes_ok = writes_ok
    response = run(unschedule(), agent, RealClock())
    assert response is not None
    assert (response.status, response.kind) == (then, kind)
    assert agent.written == ([None] if cluster is SCHEDULED else [])
