"""The server over real sockets: bytes, keeping connections, slow clients, limits (contract/rest_api.md §2; design.md §6)."""

from __future__ import annotations

import logging
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from patroni.decision.cluster import Role
from patroni.rest.config import Credentials, ServerTokens
from patroni.rest.service import Limits
from patroni.rest.snapshot import Authority
from tests.rest.builders import STANDBY, FakeAgent, a_cluster, a_living_snapshot, a_node
from tests.rest.serving import KEPT, PATIENCE_S, an_agent, connected, document, exchange, get, one_answer, served, until_end
from tests.support.waiting import wait_until

SHORT = Limits(request_s=1.0, linger_s=0.2, idle_s=60.0)


@pytest.fixture
def agent() -> FakeAgent:
    return an_agent()


@pytest.fixture
def port(agent: FakeAgent) -> Iterator[int]:
    with served(agent) as port:
        yield port


# --- HTTP/1.0: exactly these bytes


@pytest.mark.parametrize(
    ("request_line", "authority", "then"),
    [
        (b"OPTIONS / HTTP/1.0", Authority.HELD, b"HTTP/1.0 200 OK\r\n\r\n"),
        (b"OPTIONS / HTTP/1.0", Authority.NONE, b"HTTP/1.0 503 Service Unavailable\r\n\r\n"),
        (b"HEAD /primary HTTP/1.0", Authority.HELD, b"HTTP/1.0 200 OK\r\n\r\n"),
        (b"HEAD /patroni HTTP/1.0", Authority.HELD, b"HTTP/1.0 503 Service Unavailable\r\n\r\n"),
        (b"HEAD /liveness HTTP/1.0", Authority.HELD, b"HTTP/1.0 503 Service Unavailable\r\n\r\n"),
        (b"GET /liveness HTTP/1.0", Authority.HELD, b"HTTP/1.0 200 OK\r\n\r\n"),
        (b"GET /liveness HTTP/1.0\r\nConnection: keep-alive", Authority.HELD, b"HTTP/1.0 200 OK\r\n\r\n"),
    ],
)
def test_status_only(agent: FakeAgent, port: int, request_line: bytes, authority: Authority, then: bytes) -> None:
    agent.authority = authority
    assert exchange(port, request_line + b"\r\n\r\n") == then


def test_document_in_http10(port: int) -> None:
    head, _, body = exchange(port, b"GET /primary HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.0 200 OK"
    assert [line.partition(":")[0] for line in lines[1:]] == ["Server", "Date", "Content-Type", "Content-Length"]
    assert lines[3:] == ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    assert document(body)["role"] == "primary"


def test_a_client_that_closes_its_half_is_answered(port: int, agent: FakeAgent) -> None:
    agent.may_answer.clear()
    with connected(port) as client:
        client.sendall(b"GET /patroni HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: agent.queries == 1, PATIENCE_S, "the query")
        agent.may_answer.set()
        assert until_end(client).startswith(b"HTTP/1.1 200 OK\r\n")


# --- HTTP/1.1


def test_status_only_in_http11(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"OPTIONS / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nOPTIONS / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert until_end(client) == (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            b"HTTP/1.1 200 OK\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )


def test_a_connection_is_kept(port: int) -> None:
    with connected(port) as client:
        for _ in range(3):
            client.sendall(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = one_answer(client)
            assert (status, headers["content-type"]) == (503, "application/json")
            assert "connection" not in headers
            assert document(body)["patroni"]["version"] == "4.1.4"


@pytest.mark.parametrize("header", [b"Connection: close", b"User-Agent: Patroni/4.1.4 Python/3.11.2 Linux"])
def test_a_connection_is_closed(port: int, header: bytes) -> None:
    answer = exchange(port, b"GET /patroni HTTP/1.1\r\n%b\r\n\r\n" % header)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer


def test_pipelined_answers_keep_their_order(agent: FakeAgent, port: int) -> None:
    agent.may_read.clear()
    agent.clusters = [a_cluster()]
    with connected(port) as client:
        client.sendall(b"GET /cluster HTTP/1.1\r\n\r\n" + KEPT + b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert get(port, "/liveness")[0] == 200  # the read that hangs delays nobody else
        agent.may_read.set()
        assert document(one_answer(client)[2])["scope"] == "orders"
        assert one_answer(client)[0] == 200
        assert until_end(client).endswith(b"\n")


def test_too_many_pipelined_requests(agent: FakeAgent, port: int) -> None:
    agent.may_read.clear()
    assert exchange(port, b"GET /cluster HTTP/1.1\r\n\r\n" + 200 * KEPT) == b""


def test_an_upgrade_is_not_taken(port: int) -> None:
    upgrade = (
        b"GET /liveness HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    with connected(port) as client:
        client.sendall(upgrade + KEPT)
        assert [one_answer(client)[0], one_answer(client)[0]] == [200, 200]


def test_headers() -> None:
    extra = {"X-A": "1", "X-B": "é"}
    with served(an_agent(), http_extra_headers=extra, server_tokens=ServerTokens.MINIMAL) as port:
        headers = get(port, "/patroni")[1]
        assert (headers["server"], headers["x-a"], headers["x-b"]) == ("Patroni/4.1.4", "1", "é")
        assert headers["date"].endswith(" GMT")
        assert b"X-A" not in exchange(port, b"GET /liveness HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"X-A" not in exchange(port, b"POST /nope HTTP/1.1\r\n\r\n")
    with served(an_agent(), server_tokens=ServerTokens.PRODUCT_ONLY) as port:
        assert get(port, "/patroni")[1]["server"] == "Patroni"
    with served(an_agent()) as port:
        assert get(port, "/patroni")[1]["server"].startswith("patroni-agent/0.1.0 ")


# --- slow and silent clients


def test_what_is_not_complete_in_time_is_cut_off_without_a_word() -> None:
    head = b"POST /switchover HTTP/1.1\r\nContent-Length: 9\r\n\r\n"
    with ExitStack() as stack:
        port = stack.enter_context(served(an_agent(), SHORT))
        slow = [stack.enter_context(connected(port)) for _ in range(4)]
        for client, begun in zip(slow, (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", head + b"{"), strict=True):
            client.sendall(begun)
        assert get(port, "/liveness")[0] == 200
        assert [until_end(client) for client in slow] == [b"", b"", b"", b""]


def test_a_client_that_drips_is_cut_off() -> None:
    """The time counts from the first byte, not from the last."""
    with served(an_agent(), SHORT) as port, connected(port) as slow:
        slow.sendall(KEPT)
        assert one_answer(slow)[0] == 200
        slow.settimeout(0.05)
        sent = 0

        def is_cut_off() -> bool:
            nonlocal sent
            try:
                slow.sendall(b"G" if sent == 0 else b"E")
                sent += 1
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(is_cut_off, PATIENCE_S, "the end of a request that drips")


def test_an_idle_connection_stays_longer_than_a_silent_one() -> None:
    with served(an_agent(), SHORT) as port, connected(port) as kept, connected(port) as silent:
        kept.sendall(KEPT)
        assert one_answer(kept)[0] == 200
        assert until_end(silent) == b""
        kept.sendall(KEPT)
        assert one_answer(kept)[0] == 200


def test_an_idle_connection_is_closed_in_the_end() -> None:
    with served(an_agent(), Limits(idle_s=0.1, linger_s=0.2)) as port, connected(port) as kept:
        kept.sendall(KEPT)
        assert one_answer(kept)[0] == 200
        assert until_end(kept) == b""


def test_a_client_that_does_not_read_is_cut_off() -> None:
    with served(an_agent(), SHORT) as port, connected(port) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asking = b"GET /patroni HTTP/1.1\r\n\r\n" * 50
        deaf.settimeout(0.05)

        def is_cut_off() -> bool:
            try:
                deaf.sendall(asking)
            except TimeoutError:
                return False
            except OSError:
                return True
            return False

        wait_until(is_cut_off, PATIENCE_S, "the end of a client that does not read")
        assert get(port, "/liveness")[0] == 200


def test_a_thousand_idle_connections(agent: FakeAgent) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    idle: list[socket.socket] = []
    try:
        with served(agent, Limits(connections=2000)) as port:
            idle = [connected(port) for _ in range(1000)]
            for _ in range(50):
                assert exchange(port, b"OPTIONS / HTTP/1.0\r\n\r\n") == b"HTTP/1.0 200 OK\r\n\r\n"
            idle[500].sendall(KEPT)
            assert one_answer(idle[500])[0] == 200
    finally:
        for client in idle:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_connections_close_the_longest_idle_one() -> None:
    with ExitStack() as stack:
        port = stack.enter_context(served(an_agent(), Limits(connections=3)))
        first, second, third = (stack.enter_context(connected(port)) for _ in range(3))
        for client in (first, third, second):
            client.sendall(KEPT)
            assert one_answer(client)[0] == 200
        assert get(port, "/liveness")[0] == 200
        assert until_end(first) == b""
        for client in (second, third):
            client.sendall(KEPT)
            assert one_answer(client)[0] == 200


# --- malformed requests (§2.6)

LONG = 65536


@pytest.mark.parametrize(
    ("request_bytes", "then"),
    [
        pytest.param(b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * (LONG - 16)), 503, id="request line at the limit"),
        pytest.param(b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * (LONG - 15)), 414, id="request line over the limit"),
        pytest.param(b"GET /%b" % (b"x" * (2 * LONG)), 414, id="request line without end"),
        pytest.param(b"x" * (2 * LONG), 400, id="no request line at all"),
        pytest.param(b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * (LONG - 5)), 200, id="header line at the limit"),
        pytest.param(b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * (LONG - 4)), 431, id="header line over the limit"),
        pytest.param(b"GET / HTTP/1.1\r\nX: %b" % (b"x" * 2_000_000), 431, id="header line without end"),
        pytest.param(b"GET / HTTP/1.1\r\n%b\r\n" % (b"X: y\r\n" * 100), 200, id="100 headers"),
        pytest.param(b"GET / HTTP/1.1\r\n%b\r\n" % (b"X: y\r\n" * 101), 431, id="101 headers"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS on a plain port"),
        pytest.param(b"GET /\x01 HTTP/1.1\r\n\r\n", 400, id="control character"),
        pytest.param(b"GET / HTTX/1.1\r\n\r\n", 400, id="no version"),
        pytest.param(b"GET / HTTP/1\r\n\r\n", 400, id="half a version"),
        pytest.param(b"GET / x HTTP/1.1\r\n\r\n", 400, id="four words"),
        pytest.param(b"OPTIONS / HTTP/1.0\n\n", 400, id="bare line feeds"),
        pytest.param(b"POST /\r\n\r\n", 400, id="HTTP/0.9 with a method other than GET"),
        pytest.param(b"GET / HTTP/2.0\r\n\r\n", 505, id="HTTP/2.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, id="preface of HTTP/2"),
        pytest.param(b"GET / HTTP/12.0\r\n\r\n", 505, id="HTTP/12.0"),
        pytest.param(b"TRACE / HTTP/1.1\r\n\r\n", 501, id="TRACE"),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\n\r\n", 501, id="CONNECT"),
        pytest.param(b"BREW / HTTP/1.1\r\n\r\n", 501, id="unknown verb"),
        pytest.param(b"POST /nope HTTP/1.1\r\n\r\n", 501, id="POST to nowhere"),
        pytest.param(b"POST /switchover HTTP/1.1\r\n\r\n", 411, id="no length"),
        pytest.param(b"POST /switchover HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411, id="chunked"),
        pytest.param(b"POST /switchover HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, id="length is no number"),
        pytest.param(b"POST /switchover HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400, id="empty body"),
        pytest.param(b"POST /switchover HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, id="empty object"),
        pytest.param(b"POST /switchover HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413, id="body too large"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, id="two lengths"),
        pytest.param(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, id="header without colon"),
    ],
)
def test_malformed(port: int, request_bytes: bytes, then: int) -> None:
    with connected(port) as client:
        client.sendall(request_bytes)
        status, headers, body = one_answer(client)
        assert status == then
        if then not in (200, 503):
            assert headers["content-type"] == "text/html;charset=utf-8"
            assert headers["connection"] == "close"
            assert str(then).encode() in body
            assert until_end(client) == b""


def test_http09(port: int) -> None:
    """What is understood is answered like a request in HTTP/1.0."""
    assert exchange(port, b"GET /liveness\r\n\r\n") == b"HTTP/1.0 200 OK\r\n\r\n"


def test_an_answer_to_the_head_does_not_wait_for_the_body() -> None:
    with served(an_agent(), authentication=Credentials(username="u", password="p")) as port, connected(port) as client:
        client.sendall(b"POST /switchover HTTP/1.1\r\nContent-Length: 900000\r\n\r\n")
        status, headers, _ = one_answer(client)
        assert (status, headers["www-authenticate"], headers["connection"]) == (401, 'Basic realm="Patroni"', "close")
        client.sendall(b"x" * 65536)  # goes to nobody, and destroys nothing
        assert until_end(client) == b""


def test_a_refusal_without_a_body_keeps_the_connection() -> None:
    with served(an_agent(), authentication=Credentials(username="u", password="p")) as port, connected(port) as client:
        for _ in range(2):
            client.sendall(b"DELETE /switchover HTTP/1.1\r\n\r\n")
            assert one_answer(client)[0] == 401


# --- what requests wait for


def test_checks_at_the_same_time_share_one_query(agent: FakeAgent) -> None:
    agent.may_answer.clear()
    with served(agent, Limits(probe_reuse_s=60.0)) as port, ThreadPoolExecutor(30) as pool:
        answers = [pool.submit(get, port, "/primary") for _ in range(30)]
        wait_until(lambda: agent.queries == 1, PATIENCE_S, "the query")
        assert exchange(port, b"OPTIONS / HTTP/1.0\r\n\r\n") == b"HTTP/1.0 200 OK\r\n\r\n"  # needs none
        agent.may_answer.set()
        assert {answer.result(PATIENCE_S)[0] for answer in answers} == {200}
    assert agent.queries == 1


def test_a_query_that_hangs_is_a_failed_one(agent: FakeAgent) -> None:
    with served(agent, Limits(probe_s=0.3)) as port:
        agent.may_answer.clear()
        for target, then in (("/primary", 200), ("/health", 503), ("/patroni", 200), ("/replica", 503)):
            status, _, body = get(port, target)
            assert (status, document(body)["state"]) == (then, "unknown")
        assert agent.queries == 1  # nothing piles up behind it
        agent.may_answer.set()
        wait_until(lambda: document(get(port, "/health")[2])["state"] == "running", PATIENCE_S, "an answer again")


def test_a_quick_failure_is_asked_again_by_the_patient(agent: FakeAgent) -> None:
    agent.monitoring = None
    with served(agent, Limits(retry_s=0.5, probe_reuse_s=0.0)) as port:
        assert get(port, "/health")[0] == 503
        assert agent.queries == 1
        assert document(get(port, "/patroni")[2])["state"] == "unknown"
        assert agent.queries == 3


def test_the_lease_is_asked_after_the_query(agent: FakeAgent, port: int) -> None:
    agent.may_answer.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(get, port, "/primary")
        wait_until(lambda: agent.queries == 1, PATIENCE_S, "the query")
        agent.authority = Authority.OVER
        agent.may_answer.set()
        status, _, body = waiting.result(PATIENCE_S)
    assert (status, document(body)["role"], "xlog" in document(body)) == (503, "demoted", False)


def test_a_crash_seen_meanwhile_voids_the_shared_answer(agent: FakeAgent, port: int) -> None:
    assert "xlog" in document(get(port, "/patroni")[2])
    node = a_node(state=agent.snapshot.node.state.CRASHED, is_in_recovery=None)
    agent.snapshot = a_living_snapshot(node=node)
    assert "xlog" not in document(get(port, "/patroni")[2])


def test_an_answer_is_used_again_for_its_request_while_nothing_has_changed(agent: FakeAgent) -> None:
    with served(agent, Limits(probe_reuse_s=60.0)) as port:
        assert {get(port, "/primary")[0] for _ in range(3)} == {200}
        assert (get(port, "/replica")[0], get(port, "/primary?lag=1")[0], get(port, "/read-write")[0]) == (503, 200, 200)
        agent.authority = Authority.OVER
        assert (get(port, "/primary")[0], get(port, "/read-write")[0]) == (503, 503)
        agent.authority = Authority.HELD
        targets = [f"/replica?tag_{number}=1" for number in range(200)]
        assert {get(port, target)[0] for target in (*targets, "/replica")} == {503}
        assert get(port, "/primary")[0] == 200
        assert agent.queries == 1


def test_replica(agent: FakeAgent, port: int) -> None:
    agent.authority = Authority.NONE
    agent.monitoring = STANDBY
    agent.snapshot = a_living_snapshot(node=a_node(Role.REPLICA, name="pg-b"))
    assert exchange(port, b"OPTIONS /replica HTTP/1.0\r\n\r\n") == b"HTTP/1.0 200 OK\r\n\r\n"
    assert exchange(port, b"OPTIONS / HTTP/1.0\r\n\r\n") == b"HTTP/1.0 503 Service Unavailable\r\n\r\n"


@pytest.mark.parametrize("target", ["/cluster", "/history", "/config"])
def test_no_answer_of_the_store_closes_without_an_answer(
    agent: FakeAgent, port: int, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent.snapshot = replace(agent.snapshot, cluster=None, cluster_seen=None)
    with caplog.at_level(logging.WARNING, logger="patroni.api"):
        assert exchange(port, f"GET {target} HTTP/1.1\r\n\r\n".encode()) == b""
    assert target in caplog.text
    assert get(port, "/patroni")[0] == 200


@pytest.mark.parametrize("target", ["/cluster", "/liveness", "/primary"])
def test_a_fault_of_ours_closes_without_an_answer(
    agent: FakeAgent, port: int, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent.clusters = None  # type: ignore[assignment]  # the fault
    if target != "/cluster":
        agent.snapshot = None  # type: ignore[assignment]  # the fault
    with caplog.at_level(logging.WARNING, logger="patroni.api"):
        assert exchange(port, f"GET {target} HTTP/1.1\r\n\r\n".encode()) == b""
    assert "Traceback" in caplog.text


def test_switchover_over_the_wire(agent: FakeAgent, port: int) -> None:
    agent.clusters = [a_cluster()]
    body = b'{"leader": "pg-x"}'
    head = b"POST /switchover HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connected(port) as client:
        client.sendall(head + body[:5])
        client.sendall(body[5:])
        status, headers, text = one_answer(client)
        assert (status, headers["content-type"], text) == (412, "text/html", b"leader name does not match")


def test_operations_have_a_bound_and_delay_no_check(agent: FakeAgent) -> None:
    agent.clusters = [a_cluster()]
    agent.may_read.clear()
    with served(agent, Limits(operations=2)) as port, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(get, port, "/cluster") for _ in range(3)]
        wait_until(lambda: any(each.done() for each in waiting), PATIENCE_S, "the answer to one too many")
        assert get(port, "/primary")[0] == 200
        agent.may_read.set()
        assert sorted(each.result(PATIENCE_S)[0] for each in waiting) == [200, 200, 503]
