"""Which handler, which check first, which body (contract/rest_api.md §2.4, §2.5, §4, §13.1)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from patroni.decision.cluster import Lsn, SlotName
from patroni.decision.settings import Settings
from patroni.rest import routes
from patroni.rest.access import Access, load_access
from patroni.rest.config import Credentials, RestConfig, TlsConfig, VerifyClient
from patroni.rest.message import Kind, Peer, Response, parse_target
from patroni.rest.operations import FailsafeAnswer, FailsafeCall, FailsafeVerdict, run
from tests.rest.builders import FakeAgent, RealClock, a_cluster, a_member, a_request, a_situation, a_snapshot

OPEN = load_access(RestConfig(host=None, port=0), lambda host: [host])
FAILSAFE = {"name": "pg-b", "conn_url": "postgres://b:5432/postgres", "api_url": "http://b:8008/patroni"}
BODY = json.dumps(FAILSAFE).encode()
LATER = [
    ("PATCH", "/config"),
    ("PUT", "/config"),
    ("POST", "/restart"),
    ("DELETE", "/restart"),
    ("POST", "/reinitialize"),
    ("POST", "/reload"),
    ("POST", "/sigterm"),
    ("POST", "/citus"),
    ("POST", "/mpp"),
]


def bar(method: str, target: str, body: bytes | None = b"?", access: Access = OPEN, **more: object) -> Response | None:
    settings = Settings(failsafe_mode=True)
    return routes.head_bar(a_request(method, target, body, **more), a_situation(a_snapshot(settings=settings)), access, None)


@pytest.mark.parametrize(
    ("raw", "path", "segment", "params"),
    [
        ("/", "/", "", {}),
        ("/patroni", "/patroni", "patroni", {}),
        ("/patroni/x", "/patroni/x", "patroni", {}),
        ("//patroni", "/patroni", "patroni", {}),
        ("http://host:8008/replica?lag=1", "/replica", "replica", {"lag": "1"}),
        ("http://host", "/", "", {}),
        ("/replica?a=1&a=2&b=&c=x%20y+z", "/replica", "replica", {"a": "1", "c": "x y z"}),
        ("/re%70lica", "/re%70lica", "re%70lica", {}),
        ("/x?u=http://a/", "/x", "x", {"u": "http://a/"}),
        ("*", "*", "*", {}),
    ],
)
def test_target(raw: str, path: str, segment: str, params: dict[str, str]) -> None:
    target = parse_target(raw)
    assert (target.path, target.segment, dict(target.params)) == (path, segment, params)


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/nope"), ("POST", "/"), ("PUT", "/switchover"), ("DELETE", "/failover"), ("PATCH", "/patroni"), ("TRACE", "/")],
)
def test_unknown_endpoints_are_501_before_any_access_check(method: str, target: str) -> None:
    access = replace(OPEN, authorization="Basic x", networks=())
    answer = bar(method, target, access=access)
    assert answer is not None
    assert (answer.status, answer.kind) == (501, Kind.PAGE)
    assert b"Server does not support this operation" in answer.body


@pytest.mark.parametrize(("method", "target"), LATER)
def test_endpoints_to_come_answer_501_in_one_line_after_the_access_check(method: str, target: str) -> None:
    answer = bar(method, target)
    assert answer is not None
    assert (answer.status, answer.kind, answer.body.count(b"\n")) == (501, Kind.TEXT, 0)
    assert answer.body.startswith(b"Server does not support this operation")
    denied = bar(method, target, access=replace(OPEN, authorization="Basic x"))
    assert denied is not None
    assert denied.status == 401


@pytest.mark.parametrize(
    ("method", "target", "length", "then"),
    [
        ("POST", "/switchover", None, 411),
        ("POST", "/switchover", b"", 400),
        ("POST", "/switchover/x", b"", 400),
        ("POST", "/switchover", b"?", None),
        ("POST", "/failover", None, 411),
        ("POST", "/failsafe", None, 411),
        ("DELETE", "/switchover", None, None),
        ("DELETE", "/switchover", b"", None),
    ],
)
def test_required_bodies(method: str, target: str, length: bytes | None, then: int | None) -> None:
    answer = bar(method, target, length)
    assert (answer.status if answer else None) == then
    assert answer is None or answer.kind is Kind.PAGE


@pytest.mark.parametrize("body", [b"{}", b"[]", b"[1]", b"5", b'"x"', b"null", b"{", b"\xff\xfe", b"nonsense", b"[" * 100_000])
@pytest.mark.parametrize("target", ["/switchover", "/failover", "/failsafe"])
def test_bad_bodies(target: str, body: bytes) -> None:
    agent = FakeAgent(snapshot=a_snapshot(), clusters=[a_cluster()])
    answer = run(routes.steps(a_request("POST", target, body), a_situation()), agent, RealClock())
    assert answer is not None
    assert (answer.status, answer.kind) == (400, Kind.PAGE)
    assert (agent.written, agent.calls, agent.woken) == ([], [], [])


# --- access (§4)

SECRET = RestConfig(host=None, port=0, authentication=Credentials(username="u", password="p:ü"))
RIGHT = "Basic dTpwOsO8"


@pytest.mark.parametrize(
    ("given", "then"),
    [(RIGHT, None), (None, 401), ("", 401), ("Basic dTpw", 401), ("basic dTpwOsO8", 401), ("Basic  dTpwOsO8", 401), ("ü", 401)],
)
def test_basic_authentication(given: str | None, then: int | None) -> None:
    answer = bar("POST", "/switchover", access=load_access(SECRET, lambda host: [host]), authorization=given)
    assert (answer.status if answer else None) == then
    assert answer is None or (answer.kind, answer.headers) == (Kind.TEXT, (("WWW-Authenticate", 'Basic realm="Patroni"'),))


NAMES = {"known.example": ["192.0.2.7", "2001:db8::7"]}


def resolve(host: str) -> list[str]:
    if host in NAMES:
        return NAMES[host]
    if host[0].isdigit() or ":" in host:
        return [host]
    raise OSError("no such host")


@pytest.mark.parametrize(
    ("allowlist", "peer", "then"),
    [
        ((), "192.0.2.1", None),
        (("192.0.2.1",), "192.0.2.1", None),
        (("192.0.2.1",), "192.0.2.2", 403),
        (("192.0.2.9/24",), "192.0.2.255", None),
        (("192.0.2.9/24",), "192.0.3.0", 403),
        (("192.0.2.1",), "::ffff:192.0.2.1", None),
        (("2001:db8::/32",), "2001:db8::5", None),
        (("2001:db8::/32",), "192.0.2.1", 403),
        (("fe80::/10",), "fe80::1%eth0", None),
        (("known.example",), "192.0.2.7", None),
        (("known.example",), "2001:db8::7", None),
        (("unknown.example", "192.0.2.1"), "192.0.2.1", None),
        (("unknown.example",), "192.0.2.1", 403),
        (("192.0.2.0/99",), "192.0.2.1", 403),
        (("192.0.2.1",), "", 403),
    ],
)
def test_allowlist(allowlist: tuple[str, ...], peer: str, then: int | None) -> None:
    access = load_access(RestConfig(host=None, port=0, allowlist=allowlist), resolve)
    answer = bar("POST", "/switchover", access=access, peer=Peer(address=peer))
    assert (answer.status if answer else None) == then


@pytest.mark.parametrize(
    ("peer", "resolver", "then"),
    [
        ("192.0.2.50", resolve, None),
        ("192.0.2.7", resolve, None),
        ("192.0.2.8", resolve, 403),
        ("192.0.2.8", None, None),
    ],
)
def test_members_are_allowed(peer: str, resolver: object, then: int | None) -> None:
    members = {
        "a": a_member("a", api_url="http://192.0.2.50:8008/patroni"),
        "b": a_member("b", api_url="http://known.example:8008/patroni"),
        "c": a_member("c", api_url="http://unknown.example:8008/patroni"),
        "d": a_member("d", api_url="http://[oops"),
        "e": a_member("e", api_url=None),
    }
    access = load_access(RestConfig(host=None, port=0, allowlist_include_members=True), resolve)
    request = a_request("POST", "/switchover", b"?", peer=Peer(address=peer))
    situation = a_situation(a_snapshot(cluster=a_cluster(members=members)))
    answer = routes.head_bar(request, situation, access, resolver)  # type: ignore[arg-type]  # a Resolver in a mixed table
    assert (answer.status if answer else None) == then
    late = routes.head_bar(request, a_situation(a_snapshot(cluster=None)), access, resolve)
    assert late is not None
    assert late.status == 403


@pytest.mark.parametrize(
    ("verify", "has_certificate", "then"),
    [
        (VerifyClient.NONE, False, None),
        (VerifyClient.OPTIONAL, False, 403),
        (VerifyClient.OPTIONAL, True, None),
        (VerifyClient.REQUIRED, False, 403),
    ],
)
def test_client_certificate(verify: VerifyClient, has_certificate: bool, then: int | None) -> None:
    config = RestConfig(host=None, port=0, tls=TlsConfig(certfile="x", verify_client=verify))
    peer = Peer(address="192.0.2.1", is_tls=True, has_certificate=has_certificate)
    answer = bar("POST", "/switchover", access=load_access(config, resolve), peer=peer)
    assert (answer.status if answer else None) == then


def test_the_first_failure_answers() -> None:
    config = RestConfig(
        host=None,
        port=0,
        allowlist=("192.0.2.1",),
        authentication=SECRET.authentication,
        tls=TlsConfig(certfile="x", verify_client=VerifyClient.OPTIONAL),
    )
    access = load_access(config, resolve)
    foreign = bar("POST", "/switchover", None, access, peer=Peer(address="192.0.2.2"))
    known = bar("POST", "/switchover", None, access, peer=Peer(address="192.0.2.1"))
    shown = bar("POST", "/switchover", None, access, peer=Peer(address="192.0.2.1", has_certificate=True))
    right = bar("POST", "/switchover", None, access, peer=Peer(address="192.0.2.1", has_certificate=True), authorization=RIGHT)
    answers = [foreign, known, shown, right]
    assert [answer.status if answer else None for answer in answers] == [403, 403, 401, 411]
    assert foreign is not None
    assert known is not None
    assert foreign.body != known.body


# --- failsafe (§13.1)


def failsafe(body: bytes, answer: FailsafeAnswer) -> tuple[Response | None, FakeAgent]:
    agent = FakeAgent(snapshot=a_snapshot(), failsafe=answer)
    return run(routes.steps(a_request("POST", "/failsafe", body), a_situation()), agent, RealClock()), agent


@pytest.mark.parametrize(
    ("given", "status", "body", "headers"),
    [
        (FailsafeAnswer(verdict=FailsafeVerdict.ACCEPTED), 200, b"Accepted", ()),
        (FailsafeAnswer(verdict=FailsafeVerdict.ACCEPTED, lsn=Lsn(77)), 200, b"Accepted", (("lsn", "77"),)),
        (FailsafeAnswer(verdict=FailsafeVerdict.LEADER), 500, b"Running as a leader", ()),
        (FailsafeAnswer(verdict=FailsafeVerdict.OFF), 502, None, ()),
    ],
)
def test_failsafe(given: FailsafeAnswer, status: int, body: bytes | None, headers: tuple[object, ...]) -> None:
    answer, agent = failsafe(BODY, given)
    assert answer is not None
    assert (answer.status, answer.headers) == (status, headers)
    assert body is None or answer.body == body
    assert agent.calls == [FailsafeCall(name="pg-b", conn_url=FAILSAFE["conn_url"], api_url=FAILSAFE["api_url"])]


def test_failsafe_slots() -> None:
    slots = {"pg_b": 5, "bad": "x", "worse": True}
    _, agent = failsafe(json.dumps(FAILSAFE | {"slots": slots}).encode(), FailsafeAnswer(verdict=FailsafeVerdict.ACCEPTED))
    assert agent.calls[0].slots == {SlotName("pg_b"): Lsn(5)}


@pytest.mark.parametrize("key", FAILSAFE)
@pytest.mark.parametrize("value", [None, "", 5])
def test_failsafe_required_keys(key: str, value: object) -> None:
    for body in (FAILSAFE | {key: value}, {name: text for name, text in FAILSAFE.items() if name != key}):
        answer, agent = failsafe(json.dumps(body).encode(), FailsafeAnswer(verdict=FailsafeVerdict.ACCEPTED))
        assert answer is not None
        assert (answer.status, answer.kind, agent.calls) == (400, Kind.PAGE, [])


def test_failsafe_mode_off_is_said_after_access_and_before_the_body() -> None:
    request = a_request("POST", "/failsafe", None)
    off = routes.head_bar(request, a_situation(), OPEN, None)
    denied = routes.head_bar(request, a_situation(), replace(OPEN, authorization="Basic x"), None)
    assert off is not None
    assert denied is not None
    assert (off.status, off.kind, denied.status) == (502, Kind.PAGE, 401)


@pytest.mark.parametrize(("networks", "then"), [(None, None), ((), 403)])
def test_failsafe_ignores_the_members_part_of_the_allowlist(networks: tuple[()] | None, then: int | None) -> None:
    answer = bar("POST", "/failsafe", access=replace(OPEN, networks=networks, includes_members=True))
    assert (answer.status if answer else None) == then
