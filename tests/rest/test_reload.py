"""Other settings while the server runs: a new address before the former one goes, certificates read anew, nothing half."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from patroni.rest.config import Credentials, RestConfig, ServerTokens, TlsConfig
from patroni.rest.server import RestServer
from patroni.rest.service import Limits
from patroni.rest.snapshot import Snapshot
from tests.rest.builders import FakeAgent, a_cluster
from tests.rest.serving import HOST, KEPT, PATIENCE_S, an_agent, connected, exchange, get, one_answer, until_end
from tests.rest.test_tls import CA, CLIENT, SERVER
from tests.rest.test_tls import exchange as exchange_by_tls
from tests.support.ports import reserve_port
from tests.support.waiting import wait_until

UNSAFE = b"DELETE /restart HTTP/1.0\r\n\r\n"
LIVENESS = b"GET /liveness HTTP/1.0\r\n\r\n"


def config(port: int, **changes: object) -> RestConfig:
    return RestConfig(host=HOST, port=port, **changes)  # type: ignore[arg-type]  # tests state some fields


@contextmanager
def running(agent: FakeAgent | None = None) -> Iterator[tuple[RestServer, int]]:
    """Serve plain HTTP; yields the server and its port."""
    port = reserve_port()
    agent = agent or an_agent()
    server = RestServer(config(port), agent.ports())
    server.bind()
    server.start()
    try:
        yield server, port
    finally:
        agent.may_read.set()
        server.stop(PATIENCE_S)


def status(answer: bytes) -> bytes:
    return answer[9:12]


def test_another_address_is_served_and_the_former_is_given_up() -> None:
    with running() as (server, port):
        other = reserve_port()
        server.reconfigure(config(other))
        assert status(exchange(other, LIVENESS)) == b"200"
        with pytest.raises(ConnectionRefusedError):
            connected(port).close()


def test_an_address_that_somebody_has_leaves_the_former_in_force() -> None:
    with running() as (server, port), running() as (_, taken):
        with pytest.raises(OSError, match=f"restapi.listen: {HOST}:{taken}: "):
            server.reconfigure(config(taken, authentication=Credentials(username="u", password="p")))
        assert status(exchange(port, UNSAFE)) == b"501"


@pytest.mark.parametrize("wider", ["0.0.0.0", None])
def test_the_address_grows_and_shrinks_on_one_port(wider: str | None) -> None:
    secret = Credentials(username="u", password="p")
    with running() as (server, port):
        server.reconfigure(replace(config(port, authentication=secret), host=wider))
        assert status(exchange(port, UNSAFE)) == b"401"
        with connected(port, "127.0.0.2") as client:
            client.sendall(LIVENESS)
            assert status(until_end(client)) == b"200"
        server.reconfigure(config(port))
        assert status(exchange(port, UNSAFE)) == b"501"
        with pytest.raises(ConnectionRefusedError):
            connected(port, "127.0.0.2").close()


def test_a_wider_address_that_somebody_has_a_part_of_leaves_the_former_in_force() -> None:
    with running() as (server, port), socket.create_server(("127.0.0.2", port)), connected(port) as idle:
        idle.sendall(KEPT)
        one_answer(idle)
        with pytest.raises(OSError, match=f"restapi.listen: 0.0.0.0:{port}: Address already in use"):
            server.reconfigure(replace(config(port), host="0.0.0.0"))
        assert status(exchange(port, LIVENESS)) == b"200"
        idle.sendall(KEPT)
        assert one_answer(idle)[0] == 200
        server.reconfigure(config(other := reserve_port()))
        assert status(exchange(other, LIVENESS)) == b"200"


def test_settings_that_came_while_the_thread_did_nothing_are_not_used_later() -> None:
    agent, may_go_on, hangs = an_agent(), threading.Event(), threading.Event()
    ports = agent.ports()

    def snapshot() -> Snapshot:
        hangs.set()
        may_go_on.wait(PATIENCE_S)
        return agent.snapshot

    port, other = reserve_port(), reserve_port()
    server = RestServer(config(port), replace(ports, snapshot=snapshot), Limits(request_s=0.5))
    server.bind()
    server.start()
    try:
        with connected(port) as client:
            client.sendall(b"GET /liveness HTTP/1.0\r\n\r\n")
            assert hangs.wait(PATIENCE_S)
            with pytest.raises(OSError, match="restapi: its thread did nothing"):
                server.reconfigure(config(other, authentication=Credentials(username="u", password="p")))
            may_go_on.set()
            assert status(until_end(client)) == b"200"
        assert status(exchange(port, UNSAFE)) == b"501"
        with pytest.raises(ConnectionRefusedError):
            connected(other).close()
    finally:
        may_go_on.set()
        server.stop(PATIENCE_S)


def test_authentication_headers_and_tokens_count_at_once_even_on_kept_connections() -> None:
    with running() as (server, port):
        changed = config(port, authentication=Credentials(username="u", password="p"), server_tokens=ServerTokens.PRODUCT_ONLY)
        server.reconfigure(changed)
        assert status(exchange(port, UNSAFE)) == b"401"
        assert get(port, "/patroni")[1]["server"] == "Patroni"
        server.reconfigure(config(port))
        assert status(exchange(port, UNSAFE)) == b"501"


def test_a_request_under_way_is_answered_and_an_idle_connection_closed() -> None:
    agent = an_agent()
    agent.clusters = [a_cluster()]
    with running(agent) as (server, port), connected(port) as idle, ThreadPoolExecutor() as pool:
        idle.sendall(KEPT)
        one_answer(idle)
        agent.may_read.clear()
        asked = pool.submit(exchange, port, b"GET /cluster HTTP/1.1\r\n\r\n")
        wait_until(lambda: agent.reads == 1, PATIENCE_S, "the read")
        server.reconfigure(config(reserve_port()))
        assert until_end(idle) == b""
        agent.may_read.set()
        assert asked.result(PATIENCE_S).startswith(b"HTTP/1.1 200 OK\r\n")


def test_tls_is_turned_on_and_off_on_the_same_address() -> None:
    with running() as (server, port):
        server.reconfigure(config(port, tls=TlsConfig(certfile=SERVER, cafile=CA)))
        assert status(exchange_by_tls(port, LIVENESS)) == b"200"
        assert not exchange(port, LIVENESS).startswith(b"HTTP")
        server.reconfigure(config(port))
        assert status(exchange(port, LIVENESS)) == b"200"


def shown_certificate(port: int) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connected(port) as plain, context.wrap_socket(plain) as client:
        return ssl.DER_cert_to_PEM_cert(client.getpeercert(binary_form=True) or b"").strip()


def test_a_certificate_is_read_anew_and_one_that_cannot_be_leaves_the_former(tmp_path: Path) -> None:
    file = tmp_path / "own.pem"
    shutil.copy(SERVER, file)
    with running() as (server, port):
        secure = config(port, tls=TlsConfig(certfile=str(file)))
        server.reconfigure(secure)
        assert shown_certificate(port) in Path(SERVER).read_text()
        shutil.copy(CLIENT, file)
        server.reconfigure(secure)
        assert shown_certificate(port) in Path(CLIENT).read_text()
        file.write_text("no certificate")
        with pytest.raises(OSError, match=r"."):
            server.reconfigure(secure)
        assert shown_certificate(port) in Path(CLIENT).read_text()


def test_a_certificate_read_anew_cuts_no_connection() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with running() as (server, port):
        secure = config(port, tls=TlsConfig(certfile=SERVER))
        server.reconfigure(secure)
        with connected(port) as plain, context.wrap_socket(plain) as idle:
            for _ in range(2):
                idle.sendall(KEPT)
                assert one_answer(idle)[0] == 200
                server.reconfigure(secure)
