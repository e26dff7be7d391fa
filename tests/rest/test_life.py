"""The server's life: bind, start, stop, and what it leaves behind (contract/rest_api.md §2.1, §6.1)."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from patroni.rest.config import RestConfig
from patroni.rest.server import RestServer
from tests.rest.builders import a_cluster
from tests.rest.serving import HOST, KEPT, PATIENCE_S, an_agent, connected, exchange, get, one_answer, served, until_end
from tests.support.waiting import wait_until


def test_stop_waits_for_running_requests() -> None:
    agent = an_agent()
    agent.clusters = [a_cluster()]
    agent.may_read.clear()
    server = RestServer(RestConfig(host=HOST, port=0), agent.ports())
    port = server.bind()
    server.start()
    with connected(port) as idle, ThreadPoolExecutor(2) as pool:
        idle.sendall(KEPT)
        assert one_answer(idle)[0] == 200
        running = pool.submit(exchange, port, b"GET /cluster HTTP/1.1\r\n\r\n")
        wait_until(lambda: agent.reads == 1, PATIENCE_S, "the read")
        stopping = pool.submit(server.stop, PATIENCE_S)
        assert until_end(idle) == b""
        with pytest.raises(OSError, match=r"."):
            get(port, "/liveness")
        agent.may_read.set()
        assert running.result(PATIENCE_S).startswith(b"HTTP/1.1 200 OK\r\n")
        stopping.result(PATIENCE_S)


def test_stop_is_bounded() -> None:
    agent = an_agent()
    agent.may_read.clear()
    server = RestServer(RestConfig(host=HOST, port=0), agent.ports())
    port = server.bind()
    server.start()
    with connected(port) as client:
        client.sendall(b"GET /cluster HTTP/1.1\r\n\r\n")
        wait_until(lambda: agent.reads == 1, PATIENCE_S, "the read")
        server.stop(0.1)
        assert until_end(client) == b""
    agent.may_read.set()


def test_stop_before_start() -> None:
    server = RestServer(RestConfig(host=HOST, port=0), an_agent().ports())
    port = server.bind()
    server.stop(1.0)
    with pytest.raises(ConnectionRefusedError):
        connected(port).close()


def test_an_address_in_use_is_named() -> None:
    first = RestServer(RestConfig(host=HOST, port=0), an_agent().ports())
    port = first.bind()  # it need not serve yet
    second = RestServer(RestConfig(host=HOST, port=port), an_agent().ports())
    with pytest.raises(OSError, match=f"restapi.listen: {HOST}:{port}: "):
        second.bind()
    for server in (first, second):
        server.stop(1.0)


def test_ipv4_clients_of_a_wildcard_address_match_ipv4_entries() -> None:
    request = b"DELETE /restart HTTP/1.0\r\n\r\n"
    for allowlist, then in ((("127.0.0.0/8",), b" 501 "), (("192.0.2.1",), b" 403 ")):
        with served(an_agent(), host=None, allowlist=allowlist) as port:
            assert then in exchange(port, request).partition(b"\r\n")[0]


def test_accepted_sockets_are_kept_alive() -> None:
    """The options are set on the listening socket; this kernel must hand them on."""
    server = RestServer(RestConfig(host=HOST, port=0), an_agent().ports())
    port = server.bind()
    assert server._socket is not None
    with connected(port), server._socket.accept()[0] as accepted:
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10000
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 3
    server.stop(1.0)


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    agent = an_agent()
    agent.clusters = [a_cluster()]
    with served(agent) as port:
        get(port, "/primary")
        get(port, "/cluster")
    wait_until(lambda: set(threading.enumerate()) <= before, PATIENCE_S, "the end of the server's threads")
