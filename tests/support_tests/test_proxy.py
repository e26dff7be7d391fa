"""The proxy of tests, with an echo server behind it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.ports import reserve_port
from tests.support.proxy import Direction, Proxy
from tests.support.waiting import wait_until

_TIMEOUT_S = 10.0
_SILENCE_S = 0.2


class EchoServer:
    """Answers each line with itself, and remembers what arrived."""

    def __init__(self) -> None:
        self.port = reserve_port()
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=[connection], daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    self.received.append(data)
                    connection.sendall(data)
            except ConnectionError:
                return


@pytest.fixture
def server() -> Iterator[EchoServer]:
    running = EchoServer()
    yield running
    running.close()


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[Proxy]:
    with Proxy(port=reserve_port(), target_port=server.port) as running:
        yield running


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with _connect(proxy) as connected:
        yield connected


def _connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=_TIMEOUT_S)


def _ask(client: socket.socket, data: bytes, timeout_s: float = _TIMEOUT_S) -> bytes:
    client.settimeout(timeout_s)
    client.sendall(data)
    return client.recv(65536)


def test_bytes_are_forwarded_and_counted(proxy: Proxy, client: socket.socket) -> None:
    assert _ask(client, b"one") == b"one"
    assert _ask(client, b"two") == b"two"
    assert (proxy.connections, proxy.requests, proxy.open_connections) == (1, 2, 1)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b""
    wait_until(lambda: proxy.open_connections == 0, _TIMEOUT_S, "the end of the connection")


def test_much_data_arrives_whole(client: socket.socket) -> None:
    sent = bytes(range(256)) * 20_000
    threading.Thread(target=client.sendall, args=[sent], daemon=True).start()
    received = b""
    while len(received) < len(sent):
        received += client.recv(1 << 20)
    assert received == sent


def test_a_cut_resets_open_connections_and_takes_new_ones(proxy: Proxy, client: socket.socket) -> None:
    _ask(client, b"one")
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    with _connect(proxy) as again:
        assert _ask(again, b"two") == b"two"


def test_refusal_concerns_new_connections_until_the_healing(proxy: Proxy, client: socket.socket) -> None:
    assert _ask(client, b"one") == b"one"
    proxy.refuse()
    assert _ask(client, b"two") == b"two"
    with pytest.raises(ConnectionRefusedError):
        _connect(proxy)
    proxy.forward()
    with _connect(proxy) as again:
        assert _ask(again, b"three") == b"three"


def test_a_black_hole_drops_and_its_healing_resets_streams_with_a_gap(
    proxy: Proxy, server: EchoServer, client: socket.socket
) -> None:
    _ask(client, b"one")
    proxy.black_hole()
    with pytest.raises(TimeoutError):
        _ask(client, b"two", _SILENCE_S)
    with _connect(proxy) as untouched:
        proxy.forward()
        with pytest.raises(ConnectionResetError):
            client.recv(10)
        assert _ask(untouched, b"three") == b"three"
    assert server.received == [b"one", b"three"]


def test_a_black_hole_one_way_lets_requests_through(proxy: Proxy, server: EchoServer, client: socket.socket) -> None:
    proxy.black_hole(Direction.TO_CLIENT)
    with pytest.raises(TimeoutError):
        _ask(client, b"one", _SILENCE_S)
    assert server.received == [b"one"]


def test_held_bytes_arrive_at_the_healing(proxy: Proxy, server: EchoServer, client: socket.socket) -> None:
    _ask(client, b"one")
    proxy.hold(Direction.TO_SERVER)
    with pytest.raises(TimeoutError):
        _ask(client, b"two", _SILENCE_S)
    client.close()
    assert server.received == [b"one"]
    proxy.forward()
    wait_until(lambda: server.received == [b"one", b"two"], _TIMEOUT_S, "the late request of a client that gave up")


def test_a_delay_counts_in_each_direction(proxy: Proxy, client: socket.socket) -> None:
    _ask(client, b"one")
    proxy.delay(0.1)
    began_s = time.monotonic()
    assert _ask(client, b"two") == b"two"
    assert time.monotonic() - began_s >= 0.2


def test_a_lost_reply_comes_after_the_effect(proxy: Proxy, server: EchoServer, client: socket.socket) -> None:
    proxy.lose_reply(matching=b"txn")
    assert _ask(client, b"range") == b"range"
    with pytest.raises(ConnectionResetError):
        _ask(client, b"txn")
    assert server.received == [b"range", b"txn"]
    assert proxy.replies_lost == 1
    with _connect(proxy) as again:
        assert _ask(again, b"txn") == b"txn"


def test_a_server_that_is_away_resets_the_client(proxy: Proxy, server: EchoServer) -> None:
    server.close()
    with pytest.raises(ConnectionResetError), _connect(proxy) as client:  # at connect, if the reset is fast enough
        client.recv(10)


def test_a_closed_proxy_refuses(server: EchoServer) -> None:
    proxy = Proxy(port=reserve_port(), target_port=server.port)
    with proxy, _connect(proxy) as client:
        proxy.hold()
        client.sendall(b"one")
    with pytest.raises(ConnectionRefusedError):
        _connect(proxy)
