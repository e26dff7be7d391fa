"""Answers of peers that are read within one time limit, however they are cut into pieces; urllib3 knows one for each piece."""

from __future__ import annotations

import io
import socket
from http.client import HTTPResponse
from typing import TYPE_CHECKING

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from patroni.decision.lease import elapsed_s
from patroni.rest.snapshot import Clock

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _TimedReader(io.RawIOBase):
    """Reads a connection, head and body, until what was left of the time when the request was sent is over."""

    def __init__(self, connection: socket.socket, source: io.RawIOBase, clock: Clock) -> None:
        self._connection = connection
        self._source = source
        self._clock = clock
        self._began = clock.now()
        self._limit_s = connection.gettimeout() or 0.0  # urllib3 has just set it to that

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """See `io.RawIOBase`."""
        left_s = self._limit_s - elapsed_s(self._began, self._clock.now())
        if left_s <= 0:
            raise TimeoutError("the answer was not complete in time")
        self._connection.settimeout(left_s)
        return self._source.readinto(buffer)

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._source.close()
        super().close()


def timed_pools(clock: Clock) -> dict[str, type[HTTPConnectionPool]]:
    """Return the classes of pools, by scheme, whose connections read so."""

    class TimedAnswer(HTTPResponse):
        def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
            super().__init__(sock, debuglevel, method, url)
            self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach(), clock))

    answers = {"response_class": TimedAnswer}
    plain = type("TimedConnection", (HTTPConnection,), answers)
    secure = type("TimedTlsConnection", (HTTPSConnection,), answers)
    return {
        "http": type("TimedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TimedTlsPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }
