"""The client towards peers: what counts as an answer, and that every call ends (contract/rest_api.md §13.2-13.4)."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from patroni.decision.cluster import Role, Tags
from patroni.decision.settings import Settings
from patroni.decision.view import Answer, Silent
from patroni.rest.client import PeerClient, parse_status
from patroni.rest.config import ClientConfig, Credentials
from patroni.rest.snapshot import Authority
from tests.rest.builders import STANDBY, RealClock, a_living_snapshot, a_node
from tests.rest.serving import HOST, PATIENCE_S, an_agent, connected, one_answer, served
from tests.support.waiting import wait_until

PRIMARY = Answer(age_s=0.0, is_in_recovery=False, lsn=None, timeline=None)
REPLICA = Answer(age_s=0.0, is_in_recovery=True, lsn=None, timeline=None)


def a_client(config: ClientConfig | None = None) -> PeerClient:
    return PeerClient(config or ClientConfig(), "0.1.0", RealClock())


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ({"role": "primary", "xlog": {"location": 5}}, PRIMARY),
        ({"role": "replica", "xlog": {"location": 5}}, PRIMARY),
        ({"role": "master", "xlog": {}}, PRIMARY),
        ({"role": "primary", "wal": {}}, PRIMARY),
        ({"role": "demoted", "xlog": {"location": 0}}, REPLICA),
        ({"xlog": {"received_location": 7, "replayed_location": 5}}, (7, None)),
        ({"xlog": {"received_location": None, "replayed_location": 5}, "timeline": 3}, (5, 3)),
        ({"xlog": {"received_location": "x"}, "timeline": None}, (None, None)),
        ({"role": "replica"}, None),
        ({"xlog": None}, None),
        ({"xlog": 5}, None),
        ([], None),
        (5, None),
    ],
)
def test_status(given: object, then: Answer | tuple[int | None, int | None] | None) -> None:
    answer = parse_status(json.dumps(given).encode())
    if isinstance(then, tuple):
        assert answer is not None
        assert (answer.is_in_recovery, answer.lsn, answer.timeline) == (True, *then)
    else:
        assert answer == then


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"<html>", b"[" * 100_000])
def test_what_is_no_json(body: bytes) -> None:
    assert parse_status(body) is None


@pytest.mark.parametrize(
    ("tags", "nofailover"),
    [
        ({}, False),
        ({"nofailover": True}, True),
        ({"nofailover": "no"}, True),
        ({"nofailover": False, "failover_priority": 0}, False),
        ({"nofailover": None, "failover_priority": 0}, True),
        ({"failover_priority": 1}, False),
        ("x", False),
    ],
)
def test_nofailover(tags: object, nofailover: bool) -> None:
    answer = parse_status(json.dumps({"xlog": {}, "tags": tags}).encode())
    assert answer is not None
    assert answer.nofailover is nofailover


def test_watchdog_failed() -> None:
    answer = parse_status(b'{"xlog": {}, "watchdog_failed": true}')
    assert answer is not None
    assert answer.is_watchdog_failed


def test_a_replica_is_asked_over_the_wire() -> None:
    agent = an_agent()
    agent.authority, agent.monitoring = Authority.NONE, STANDBY
    settings = Settings(tags=Tags(published={"nofailover": True}))
    agent.snapshot = a_living_snapshot(node=a_node(Role.REPLICA, name="pg-b"), settings=settings)
    with served(agent) as port:
        answer = a_client().ask_peer(f"http://{HOST}:{port}/patroni", PATIENCE_S)
    assert isinstance(answer, Answer)
    assert (answer.is_in_recovery, answer.lsn, answer.timeline, answer.nofailover) == (True, 218103992, 4, True)


def test_a_node_whose_lease_is_over_is_absent() -> None:
    agent = an_agent()
    agent.authority = Authority.OVER
    with served(agent) as port:
        assert isinstance(a_client().ask_peer(f"http://{HOST}:{port}/patroni", PATIENCE_S), Silent)


@contextmanager
def a_peer(*chunks: bytes, then_close: bool = True, drips: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """Serve one raw answer to each connection; yields the port and the requests seen."""
    seen: list[bytes] = []
    stop = threading.Event()
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            while not stop.is_set():
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    answer(client)

        def answer(client: socket.socket) -> None:
            try:
                seen.append(client.recv(65536))
                for chunk in chunks:
                    client.sendall(chunk)
                while drips and not stop.wait(0.02):
                    client.sendall(b" ")
                if not then_close:
                    stop.wait(PATIENCE_S)
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1], seen
        finally:
            stop.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)


STATUS = b'{"xlog": {"location": 5}}'
HEAD = b"HTTP/1.0 503 Service Unavailable\r\nServer: BaseHTTP/0.6 Python/3.11.2\r\nContent-Type: application/json\r\n\r\n"


def test_an_answer_without_length_in_pieces_and_with_any_status() -> None:
    with a_peer(HEAD, STATUS[:4], STATUS[4:]) as (port, seen):
        answer = a_client(ClientConfig(credentials=Credentials(username="u", password="p"))).ask_peer(
            f"http://{HOST}:{port}/patroni", PATIENCE_S
        )
    assert answer == PRIMARY
    request = seen[0].decode()
    assert request.startswith("GET /patroni HTTP/1.1\r\n")
    assert "\r\nUser-Agent: patroni-agent/0.1.0\r\n" in request
    assert "\r\nConnection: close\r\n" in request
    assert "\r\nAuthorization: Basic dTpw\r\n" in request


@pytest.mark.parametrize(
    ("chunks", "then_close", "drips"),
    [
        pytest.param((), False, False, id="accepts and never answers"),
        pytest.param((), True, False, id="accepts and closes"),
        pytest.param((b"HTTP/1.0 200 OK\r\nContent-Le",), False, False, id="stops in its head"),
        pytest.param((HEAD, STATUS[:5]), False, False, id="stops in its body"),
        pytest.param((HEAD, STATUS[:5]), True, False, id="closes in its body"),
        pytest.param((HEAD, STATUS), False, True, id="drips for ever"),
        pytest.param((b"HTTP/1.0 200 OK\r\nX-Long: ",), False, True, id="drips its head for ever"),
        pytest.param((b"nonsense\r\n\r\n",), True, False, id="speaks no HTTP"),
        pytest.param((HEAD, b" " * 5_000_000, STATUS), True, False, id="talks too much"),
        pytest.param((b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",), True, False, id="sends us elsewhere"),
    ],
)
def test_every_call_ends(chunks: tuple[bytes, ...], then_close: bool, drips: bool) -> None:
    began_s = time.monotonic()
    with a_peer(*chunks, then_close=then_close, drips=drips) as (port, seen):
        assert isinstance(a_client().ask_peer(f"http://{HOST}:{port}/patroni", 0.3), Silent)
        assert time.monotonic() - began_s < PATIENCE_S / 2
        wait_until(lambda: seen, PATIENCE_S, "the request")
        assert len(seen) == 1  # nothing is tried twice


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/patroni", "nonsense", "ftp://127.0.0.1/", "http://[oops/", "", "http://127.0.0.1:x/"]
)
def test_nobody_there(url: str) -> None:
    client = a_client()
    assert isinstance(client.ask_peer(url, 0.3), Silent)
    assert not client.is_alive(url, 0.3)


def test_is_alive() -> None:
    with served(an_agent()) as port:
        assert a_client().is_alive(f"http://{HOST}:{port}/patroni", PATIENCE_S)
    with a_peer(b"HTTP/1.0 404 Not Found\r\n\r\n") as (port, seen):
        assert a_client().is_alive(f"http://{HOST}:{port}/patroni", PATIENCE_S)
        assert seen[0].startswith(b"GET /liveness HTTP/1.1\r\n")
    with a_peer(then_close=False) as (port, _):
        assert not a_client().is_alive(f"http://{HOST}:{port}/patroni", 0.3)


def test_no_connection_is_kept() -> None:
    """A kept one might be dead when an election needs it."""
    with served(an_agent()) as port:
        client = a_client()
        for _ in range(3):
            assert isinstance(client.ask_peer(f"http://{HOST}:{port}/patroni", PATIENCE_S), Answer)
        with connected(port) as other:
            other.sendall(b"GET /liveness HTTP/1.1\r\n\r\n")
            assert one_answer(other)[0] == 200
