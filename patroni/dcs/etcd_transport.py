"""HTTP to one endpoint of etcd: pooled connections to IP addresses over urllib3, and plain sockets for streams.

Promised: `exchange` never repeats anything by itself; it says whether the request can have arrived (`NotSent`: it cannot).
Its time limit holds for the whole answer, however it is cut into pieces.
It neither resolves names nor opens files: TLS material is loaded before, connections go to IP literals and the certificate is
checked against the endpoint's host. TCP notices a dead peer by keepalive and user timeout (contract/dcs.md §7.5).
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  # what the first connect of a process would otherwise load from disk
import io
import platform
import socket
import ssl
import threading
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import TYPE_CHECKING

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Timeout

from patroni.dcs.etcd_endpoints import Deadline, Endpoint
from patroni.dcs.store import Clock, DcsUnavailable, Timing
from patroni.version import COMPATIBILITY

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

USER_AGENT = f"Patroni/{COMPATIBILITY} Python/{platform.python_version()} {platform.system()}"
POOL_SIZE = 10  # connections kept for each endpoint (contract/dcs.md §5.5)
SHORTEST_CONNECT_S = 1.0
PIECE_BYTES = 65536
LONGEST_ANSWER_BYTES = 64 * 1024 * 1024
_PROBES = 3

SocketOptions = list[tuple[int, int, int | bytes]]


class NotSent(DcsUnavailable):
    """No connection: the request has had no effect and never will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """Status and whole body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request, ready to be sent to any endpoint."""

    method: str
    path: str
    body: bytes = b""
    token: str | None = None  # for the `authorization` header; None: without


class Transport:
    """See the module. Any thread; each request has a connection for itself."""

    def __init__(self, tls: ssl.SSLContext | None, timing: Timing, clock: Clock) -> None:
        """tls: None where no endpoint speaks https."""
        self._tls = tls
        answers = {"response_class": _timed(clock)}
        self._plain = type("TimedConnection", (HTTPConnection,), answers)
        self._secure = type("TimedTlsConnection", (HTTPSConnection,), answers)
        self._options = _socket_options(timing)
        self._lock = threading.Lock()  # spans no system call
        self._pools: dict[Endpoint, HTTPConnectionPool] = {}

    def set_timing(self, timing: Timing) -> None:
        """Use these limits for connections made from now on."""
        self._options = _socket_options(timing)
        self.forget_all()

    def exchange(self, endpoint: Endpoint, request: HttpRequest, timeout_s: float) -> HttpAnswer:
        """Send and wait for the whole answer. Raise NotSent, or DcsUnavailable where it may have arrived."""
        connect_s = min(timeout_s, max(SHORTEST_CONNECT_S, timeout_s / 2))
        try:
            response = self._pool(endpoint).urlopen(
                request.method,
                request.path,
                body=request.body or None,
                headers=headers_of(endpoint, request),
                timeout=Timeout(connect=connect_s, total=timeout_s),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            return HttpAnswer(status=response.status, body=_whole_body(response))
        except (HTTPError, OSError, ValueError) as error:
            self.forget(endpoint)
            raise _failure(endpoint, error, timeout_s) from error

    def connect(self, endpoint: Endpoint, timeout_s: float) -> socket.socket:
        """Return a connection of its own to the endpoint, TLS done; its timeout is `timeout_s`."""
        family = socket.AF_INET6 if ":" in endpoint.ip else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in self._options:
                connection.setsockopt(*option)
            connection.settimeout(timeout_s)
            connection.connect((endpoint.ip, endpoint.port))
            if endpoint.scheme == "https":
                return self._require_tls(endpoint).wrap_socket(connection, server_hostname=endpoint.host)
        except OSError as error:
            connection.close()
            raise NotSent(f"{endpoint}: {_words(error)}") from error
        except DcsUnavailable:
            connection.close()
            raise
        return connection

    def forget(self, endpoint: Endpoint) -> None:
        """Drop the kept connections to an endpoint; requests under way go on."""
        with self._lock:
            pool = self._pools.pop(endpoint, None)
        if pool is not None:
            pool.close()

    def forget_all(self) -> None:
        """Drop all kept connections."""
        for endpoint in tuple(self._pools):
            self.forget(endpoint)

    def _pool(self, endpoint: Endpoint) -> HTTPConnectionPool:
        with self._lock:
            pool = self._pools.get(endpoint)
            if pool is None:
                pool = self._pools[endpoint] = self._new_pool(endpoint)
            return pool

    def _new_pool(self, endpoint: Endpoint) -> HTTPConnectionPool:
        if endpoint.scheme == "http":
            plain = HTTPConnectionPool(
                endpoint.ip, endpoint.port, maxsize=POOL_SIZE, block=False, socket_options=self._options, retries=False
            )
            plain.ConnectionCls = self._plain
            return plain
        pool = HTTPSConnectionPool(
            endpoint.ip,
            endpoint.port,
            maxsize=POOL_SIZE,
            block=False,
            socket_options=self._options,
            retries=False,
            ssl_context=self._require_tls(endpoint),
            server_hostname=endpoint.host,
        )
        pool.ConnectionCls = self._secure
        return pool

    def _require_tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        if self._tls is None:
            raise NotSent(f"{endpoint}: speaks https, but the section says http")
        return self._tls


def headers_of(endpoint: Endpoint, request: HttpRequest) -> dict[str, str]:
    """Return the headers of a request; the token goes as it is, without a scheme word (contract/dcs.md §7.3)."""
    headers = {"Host": endpoint.authority, "User-Agent": USER_AGENT}
    if request.body:
        headers["Content-Type"] = "application/json"
    if request.token is not None:
        headers["authorization"] = request.token
    return headers


class _TimedReader(io.RawIOBase):
    """Reads a connection until a deadline for all that is read; urllib3 knows only one for each piece."""

    def __init__(self, connection: socket.socket, source: io.RawIOBase, deadline: Deadline) -> None:
        self._connection = connection
        self._source = source
        self._deadline = deadline

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """See `io.RawIOBase`."""
        left_s = self._deadline.left_s()
        if left_s <= 0:
            raise TimeoutError("the answer was not complete in time")
        self._connection.settimeout(left_s)
        return self._source.readinto(buffer)

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._source.close()
        super().close()


def _timed(clock: Clock) -> type[HTTPResponse]:
    """Return the class of answers that are read within what the request has left of its time when it is sent."""

    class TimedAnswer(HTTPResponse):
        def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
            super().__init__(sock, debuglevel, method, url)
            deadline = Deadline(clock, sock.gettimeout() or 0.0)  # urllib3 has just set it to that
            self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach(), deadline))

    return TimedAnswer


def _whole_body(response: BaseHTTPResponse) -> bytes:
    """Read to the end."""
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        while piece := response.read1(PIECE_BYTES):
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > LONGEST_ANSWER_BYTES:
                raise ValueError("the answer is too long")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(pieces)


def _failure(endpoint: Endpoint, error: Exception, timeout_s: float) -> DcsUnavailable:
    if isinstance(error, NewConnectionError):
        return NotSent(f"{endpoint}: {_words(error.__cause__ or error)}")
    if isinstance(error, ReadTimeoutError):
        return DcsUnavailable(f"{endpoint}: no answer in {timeout_s:.1f} s")
    if isinstance(error, ConnectTimeoutError):
        return NotSent(f"{endpoint}: no connection in time")
    return DcsUnavailable(f"{endpoint}: {_words(error)}")


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _socket_options(timing: Timing) -> SocketOptions:
    """Return the TCP options of every connection (contract/dcs.md §7.5)."""
    idle_s = timing.loop_wait_s + timing.retry_timeout_s
    interval_s = max(1, int((timing.ttl_s - idle_s) / _PROBES))
    options: SocketOptions = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    wanted = (
        ("TCP_KEEPIDLE", min(32767, max(1, int(idle_s)))),
        ("TCP_KEEPINTVL", min(32767, interval_s)),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", int(timing.ttl_s * 1000)),
    )
    options += [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in wanted if hasattr(socket, name)]
    return options
