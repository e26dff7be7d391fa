"""One client connection: bytes to requests, answers to bytes (contract/rest_api.md §2.2, §2.5, §2.6; design.md §6).

Promised: answers go out in the order of their requests; a client that sends nothing, half a request, or does not read its
answer holds nothing but its own socket, and that only until `deadline_s`. The parser is `httptools`; limits, order of checks
and closing are ours. Lives on the server's loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import httptools

from patroni.rest.message import (
    SAFE_METHODS,
    Banner,
    Framing,
    Peer,
    Request,
    Response,
    encode,
    page,
    parse_target,
)
from patroni.rest.routes import UNSUPPORTED
from patroni.rest.service import Limits

logger = logging.getLogger("patroni.api")

_QUEUE_LIMIT = 100  # pipelined requests that wait for the answer of an earlier one
_VERSION = re.compile(rb"HTTP/(\d+)\.(\d+)")
_CLOSING = Framing(is_http11=False, closes=True)
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Answering(Protocol):
    """What answers requests: `Service`."""

    limits: Limits

    def banner(self, now_s: float) -> Banner: ...
    def head_bar(self, request: Request) -> Response | None: ...
    def handle(self, request: Request, now_s: float) -> Response | Coroutine[None, None, Response | None]: ...


class Phase(Enum):
    """What a connection is doing."""

    READING = "reading"  # or waiting for a request
    BUSY = "busy"  # an answer is being made
    ENDING = "ending"  # the last answer was given: what still arrives is dropped


@dataclass(frozen=True, slots=True)
class _Pending:
    """A complete request, or one that has its answer already."""

    request: Request
    framing: Framing
    answer: Response | None


@dataclass(slots=True)
class _Incoming:
    """The request that is arriving."""

    url: bytes = b""
    header_count: int = 0
    head_bytes: int = 0  # received so far, while the head is incomplete
    is_in_head: bool = True
    is_http11: bool = False
    is_stock: bool = False  # comes from a stock agent (safety_rules.md §10)
    authorization: str | None = None
    length: int | None = None  # None: no Content-Length
    is_chunked: bool = False
    body: bytes = b""
    framing: Framing = _CLOSING
    answer: Response | None = None  # what its head was answered already


class Connection(asyncio.Protocol):
    """The protocol object of one accepted socket."""

    def __init__(
        self, service: Answering, on_open: Callable[[Connection], None], on_close: Callable[[Connection], None]
    ) -> None:
        self._service = service
        self._limits = service.limits
        self._on_open = on_open
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._phase = Phase.READING
        self._queue: deque[_Pending] = deque()
        self._is_write_paused = False
        self._parser = self._new_parser()
        self._message = _Incoming()
        self._first_line = b""  # beginning of the bytes of this request, to name the fault if it can't be parsed
        self._is_last = False  # no request is taken after those that are here: the client's or the server's end
        self.deadline_s = math.inf  # of the loop's clock: then the connection is cut off
        self.waits_since_s = 0.0  # since when it has been waiting for a request
        self.is_idle = True  # no byte of a request is here

    # --- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        tls = transport.get_extra_info("ssl_object")
        peername = transport.get_extra_info("peername")
        address = str(peername[0]) if peername else ""
        self._peer = Peer(
            address=address.removeprefix("::ffff:") if "." in address else address,
            is_tls=tls is not None,
            has_certificate=tls is not None and bool(tls.getpeercert()),
        )
        self._wait_for_request(self._limits.request_s)
        self._on_open(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = Phase.ENDING
        self._queue.clear()
        self._on_close(self)

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.ENDING:
            return
        if self.is_idle:
            self.is_idle = False
            self._first_line = data
            if self._phase is Phase.READING and not self._queue:
                self.deadline_s = self._loop.time() + self._limits.request_s
        elif self._message.is_in_head and len(self._first_line) <= self._limits.line_bytes:
            self._first_line += data
        self._feed(data)

    def eof_received(self) -> bool:
        self._is_last = True
        return not self._peer.is_tls and (self.is_busy or bool(self._queue))  # half-closed: its answers are still due

    def pause_writing(self) -> None:
        self._is_write_paused = True
        self.deadline_s = self._loop.time() + self._limits.request_s

    def resume_writing(self) -> None:
        self._is_write_paused = False
        if self._phase is Phase.READING:
            self._wait_for_request(self._limits.idle_s)
            self._pump()

    def cut_off(self) -> None:
        """Close at once, without a word."""
        self._phase = Phase.ENDING
        self._transport.abort()

    @property
    def is_busy(self) -> bool:
        """Return whether an answer is being made."""
        return self._phase is Phase.BUSY

    def finish(self) -> None:
        """Take no more requests; close as soon as the answer under way is given."""
        self._is_last = True
        if self._phase is Phase.READING:
            self._end(is_all_read=True)

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        if self._phase is not Phase.ENDING:
            self._message = _Incoming()
            self.is_idle = False

    def on_url(self, part: bytes) -> None:
        self._message.url += part
        if len(self._message.url) > self._limits.line_bytes:
            self._refuse(page(414))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._message.header_count += 1
        if self._message.header_count > self._limits.headers or len(name) + len(value) + 4 > self._limits.line_bytes:
            self._refuse(page(431))
            return
        match name.lower():
            case b"authorization":
                self._message.authorization = value.decode("latin-1")
            case b"user-agent":
                self._message.is_stock = value.startswith(b"Patroni/")
            case b"content-length":
                self._message.length = int(value) if value.isdigit() and len(value) < 20 else self._limits.body_bytes + 1
            case b"transfer-encoding":
                self._message.is_chunked = True

    def on_headers_complete(self) -> None:
        if self._phase is Phase.ENDING:
            return
        self._message.is_in_head = False
        version = self._parser.get_http_version()
        self._message.is_http11 = version >= "1.1"
        closes = not self._message.is_http11 or self._message.is_stock or not self._parser.should_keep_alive()
        method = self._parser.get_method().decode()
        self._message.framing = Framing(is_http11=self._message.is_http11, closes=closes, is_head=method == "HEAD")
        bar = self._head_bar(method, version)
        self._message.answer = bar
        if bar is not None and (self._message.length or self._message.is_chunked) and not self._queue and not self.is_busy:
            self._refuse(bar)  # its body is not waited for

    def on_body(self, part: bytes) -> None:
        self._message.body += part
        if len(self._message.body) > self._limits.body_bytes:
            self._refuse(page(413))

    def on_message_complete(self) -> None:
        if self._phase is Phase.ENDING:
            return
        self.is_idle = True
        body = self._message.body if self._message.length is not None else None
        pending = _Pending(self._request(self._parser.get_method().decode(), body), self._message.framing, self._message.answer)
        self._queue.append(pending)
        if len(self._queue) > _QUEUE_LIMIT:
            self.cut_off()
        else:
            self._pump()

    # --- from bytes to requests

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_version=True)  # so that we see it: 2.0 and more are answered by 505
        return parser

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # nothing is upgraded: the request was answered as any other
            self._parser = self._new_parser()
            rest = data[upgrade.args[0] :]
            if rest and self._phase is not Phase.ENDING:
                self._feed(rest)
        except httptools.HttpParserCallbackError:  # a fault of ours while the head was judged
            logger.warning("closing without an answer", exc_info=True)
            self._end(is_all_read=True)
        except httptools.HttpParserError:
            if self._phase is not Phase.ENDING:
                self._refuse(_fault(self._first_line))
        if self._message.is_in_head and not self.is_idle and self._phase is not Phase.ENDING:
            self._check_head(len(data))

    def _check_head(self, fed_bytes: int) -> None:
        """Bound a head that is still incomplete: its bytes wait in the parser, where no callback counts them."""
        self._message.head_bytes += fed_bytes
        if (
            self._message.header_count == 0
            and b"\n" not in self._first_line
            and self._message.head_bytes > self._limits.line_bytes
        ):
            self._refuse(page(414))
        elif self._message.head_bytes > self._limits.head_bytes:
            self._refuse(page(431))

    def _head_bar(self, method: str, version: str) -> Response | None:
        if version >= "2":
            return page(505)
        if version < "1" and method != "GET":
            return page(400)  # HTTP/0.9 had no other
        if len(method) + len(self._message.url) + len("  HTTP/1.1\r\n") > self._limits.line_bytes:
            return page(414)
        if (self._message.length or 0) > self._limits.body_bytes:
            return page(413)
        if method in SAFE_METHODS:
            return None
        return self._service.head_bar(
            self._request(method, None if self._message.length is None else b"?" * min(self._message.length, 1))
        )

    def _request(self, method: str, body: bytes | None) -> Request:
        return Request(
            method=method,
            target=parse_target(self._message.url.decode("latin-1")),
            peer=self._peer,
            authorization=self._message.authorization,
            body=body,
        )

    # --- from requests to answers

    def _pump(self) -> None:
        """Begin what can be answered now: one after the other, in order."""
        while self._queue and self._phase is Phase.READING and not self._is_write_paused:
            pending = self._queue.popleft()
            if pending.answer is not None:
                self._send(pending.answer, pending.framing)
            else:
                self._begin(pending)
        if self._is_last and self._phase is Phase.READING and not self._queue:
            self._end(is_all_read=True)

    def _begin(self, pending: _Pending) -> None:
        try:
            outcome = self._service.handle(pending.request, self._loop.time())
        except Exception as error:  # noqa: BLE001  # the outermost frame of a request (contract/rest_api.md §2.7)
            self._fail(pending.request, error)
            return
        if isinstance(outcome, Response):
            self._send(outcome, pending.framing)
            return
        self._phase = Phase.BUSY
        self.deadline_s = math.inf  # what is waited for has its own deadline
        self._task = self._loop.create_task(self._finish(outcome, pending))

    async def _finish(self, outcome: Coroutine[None, None, Response | None], pending: _Pending) -> None:
        try:
            answer = await outcome
        except Exception as error:  # noqa: BLE001  # as in `_begin`
            self._fail(pending.request, error)
            return
        if self._phase is not Phase.BUSY:
            return  # the client is gone
        if answer is None:
            logger.warning("%s %s: the store does not answer, closing", pending.request.method, pending.request.target.path)
            self._end(is_all_read=True)
            return
        self._phase = Phase.READING
        self._send(answer, pending.framing)
        self._pump()

    def _fail(self, request: Request, error: Exception) -> None:
        logger.warning("%s %s: closing without an answer", request.method, request.target.path, exc_info=error)
        self._end(is_all_read=True)

    def _send(self, response: Response, framing: Framing) -> None:
        now_s = self._loop.time()
        self._transport.write(encode(response, framing, self._service.banner(now_s)))
        if framing.closes or response.kind.closes:
            self._end(is_all_read=self.is_idle)
        elif not self._is_write_paused:
            self._wait_for_request(self._limits.idle_s if self.is_idle else self._limits.request_s)

    def _refuse(self, response: Response) -> None:
        """Give the last answer of this connection although its request is not complete; earlier ones lose theirs."""
        if self._phase is Phase.BUSY:
            self.cut_off()
        elif self._phase is Phase.READING:
            framing = Framing(is_http11=self._message.is_http11, closes=True, is_head=self._message.framing.is_head)
            self._transport.write(encode(response, framing, self._service.banner(self._loop.time())))
            self._end(is_all_read=False)

    def _end(self, is_all_read: bool) -> None:
        """Close after what was written. Closing with unread bytes would reset the connection and could destroy the answer."""
        self._phase = Phase.ENDING
        self._queue.clear()
        if is_all_read or not self._transport.can_write_eof():
            self.deadline_s = self._loop.time() + self._limits.request_s  # for a client that does not read
            self._transport.close()
        else:
            self.deadline_s = self._loop.time() + self._limits.linger_s
            self._transport.write_eof()

    def _wait_for_request(self, within_s: float) -> None:
        self.waits_since_s = self._loop.time()
        self.deadline_s = self.waits_since_s + within_s


def _fault(first_line: bytes) -> Response:
    """Return the answer to bytes that are no request (§2.6); an unknown method is 501 (§2.4)."""
    words = first_line.partition(b"\n")[0].split()
    version = _VERSION.fullmatch(words[2]) if len(words) == 3 else None
    if version is None:
        return page(400)
    if int(version[1]) >= 2:
        return page(505)
    known = {b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"DELETE"}
    if _METHOD.fullmatch(words[0]) and words[0] not in known:
        return page(501, UNSUPPORTED)
    return page(400)
