"""The whole answer of an etcd server comes within one deadline, however it is cut into pieces."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from patroni.dcs.etcd_endpoints import Endpoint
from patroni.dcs.etcd_transport import HttpRequest, Transport
from patroni.dcs.store import DcsUnavailable, Timing
from patroni.decision.lease import Instant

TIMEOUT_S = 1.0
SLACK_S = 0.2
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
Piece = tuple[float, bytes]  # sent so many seconds after the one before
REQUEST = HttpRequest(method="POST", path="/v3/lease/keepalive", body=b"{}")


def now() -> Instant:
    return Instant(boot_s=time.clock_gettime(time.CLOCK_BOOTTIME), raw_s=time.clock_gettime(time.CLOCK_MONOTONIC_RAW))


class Dripping:
    """A server that answers every request by these pieces, at their times."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._is_over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.endpoint = Endpoint(scheme="http", host="127.0.0.1", ip="127.0.0.1", port=self._listener.getsockname()[1])

    def close(self) -> None:
        self._is_over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10.0)

    def _serve(self) -> None:
        with suppress(OSError):
            while not self._is_over.is_set():
                connection, _ = self._listener.accept()
                with connection:
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while connection.recv(65536) and all(self._send(connection, *piece) for piece in self._pieces):
                pass

    def _send(self, connection: socket.socket, after_s: float, piece: bytes) -> bool:
        if self._is_over.wait(after_s):
            return False
        connection.sendall(piece)
        return True


@contextmanager
def dripping(*pieces: Piece) -> Iterator[Dripping]:
    server = Dripping(pieces)
    try:
        yield server
    finally:
        server.close()


def by_byte(text: bytes, after_s: float) -> list[Piece]:
    return [(after_s, text[index : index + 1]) for index in range(len(text))]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(by_byte(HEAD, 0.3), id="the head by bytes"),
        pytest.param([(0.0, HEAD), *[(0.3, b"X-More: of it\r\n")] * 20], id="a head without an end"),
        pytest.param([(0.0, HEAD + b"Content-Length: 40\r\n\r\n"), *by_byte(b"{" * 40, 0.3)], id="the body by bytes"),
        pytest.param([(0.0, CHUNKED), *by_byte(b"28\r\n" + b"{" * 40, 0.3)], id="a chunk by bytes"),
        pytest.param([(0.9, HEAD + b"Content-Length: 40\r\n\r\n"), (30.0, b"{")], id="a late head, then nothing"),
        pytest.param([(30.0, b"")], id="nothing"),
    ],
)
def test_no_answer_takes_longer_than_its_deadline(pieces: Sequence[Piece]) -> None:
    transport = Transport(None, Timing(), now)
    with dripping(*pieces) as server:
        began_s = time.monotonic()
        with pytest.raises(DcsUnavailable):
            transport.exchange(server.endpoint, REQUEST, TIMEOUT_S)
        assert time.monotonic() - began_s <= TIMEOUT_S + SLACK_S
    transport.forget_all()


def test_an_answer_in_pieces_is_taken_whole_and_its_connection_kept() -> None:
    """Each request of a kept connection has a time of its own."""
    transport = Transport(None, Timing(), now)
    pieces = [(0.1, HEAD), (0.1, b"Content-Length: 4\r\n\r\n{"), (0.3, b"}  ")]
    with dripping(*pieces) as server:
        for _ in range(4):
            answer = transport.exchange(server.endpoint, REQUEST, TIMEOUT_S)
            assert (answer.status, answer.body) == (200, b"{}  ")
        assert len(transport._pools) == 1
        transport.forget_all()
