"""The watch of etcd v3: a stream of events that keeps a copy of one prefix current (contract/dcs.md §7.5).

Promised: each snapshot is the prefix at one moment not earlier than the last one's, and no change is missed: the copy begins
with a linearizable read at revision R, the stream with R + 1, on a connection of its own. Whatever makes the stream doubtful
(it broke, was cancelled, its member lags, requests are answered by others) leads to a new beginning. Nothing here waits
without a limit: the thread in `next` polls the socket and a bell that `close` and `doubt` ring.
Not promised: news within a bound from a member that is cut off and says nothing; requests that fail there raise the doubt.
"""

from __future__ import annotations

import codecs
import json
import logging
import select
import socket
import ssl
import threading
from collections.abc import Mapping

import httptools

from patroni.dcs.etcd3_client import Call, Etcd3Client, Trust
from patroni.dcs.etcd3_gateway import (
    EtcdError,
    Json,
    entry_of,
    header_of,
    parse_answer,
    prefix_range,
    require_header,
    require_no_error,
    snapshot_of,
)
from patroni.dcs.etcd_endpoints import Deadline, Endpoint
from patroni.dcs.etcd_transport import PIECE_BYTES, HttpRequest, Transport, headers_of
from patroni.dcs.store import Clock, DcsUnavailable, Entry, Snapshot
from patroni.decision.cluster import Revision
from patroni.decision.lease import Instant

logger = logging.getLogger(__name__)

SHORTEST_REBUILD_S = 1.0  # with less time left the new beginning is the next call's
LONGEST_MESSAGE = 64 * 1024 * 1024  # characters of one message that is not complete


class Messages:
    """Cuts the body of a stream into JSON objects; a piece may hold several or a part of one."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._rest = ""

    def feed(self, piece: bytes) -> list[Json]:
        """Return the objects that are complete now."""
        try:
            self._rest = (self._rest + self._decode.decode(piece)).lstrip()
        except UnicodeDecodeError as error:
            raise DcsUnavailable("the stream is not UTF-8") from error
        found: list[Json] = []
        while self._rest:
            if self._rest[0] != "{" or len(self._rest) > LONGEST_MESSAGE:
                raise DcsUnavailable(f"the stream is not one of etcd: {self._rest[:100]!r}")
            try:
                message, end = self._json.raw_decode(self._rest)
            except ValueError:
                break
            self._rest = self._rest[end:].lstrip()
            found.append(message)
        return found


class Stream:
    """One HTTP answer without an end, on a connection of its own. One thread, except for the bell."""

    def __init__(self, transport: Transport, endpoint: Endpoint, request: HttpRequest, timeout_s: float) -> None:
        """Connect and send within the limit; raise NotSent or DcsUnavailable."""
        self.endpoint = endpoint
        self._messages = Messages()
        self._arrived: list[Json] = []
        self._error_body: bytes | None = None  # not None: the status says that this is no stream
        self._is_complete = False
        self._parser = httptools.HttpResponseParser(self)
        self._socket = transport.connect(endpoint, timeout_s)
        try:
            self._socket.sendall(_head_and_body(endpoint, request))
        except OSError as error:
            self.close()
            raise DcsUnavailable(f"{endpoint}: {error.strerror or error}") from error
        self._socket.setblocking(False)

    def read(self, bell: socket.socket, timeout_s: float) -> list[Json]:
        """Return the messages that arrive within the limit, as soon as there are some; none when the bell rang."""
        if not _is_readable(self._socket, bell, timeout_s):
            return []
        self._take()
        if self._error_body is not None and self._is_complete:
            parse_answer(self._parser.get_status_code(), self._error_body)
        if self._is_complete:
            raise DcsUnavailable(f"{self.endpoint}: the stream ended")
        arrived, self._arrived = self._arrived, []
        return arrived

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    # --- called by the parser

    def on_headers_complete(self) -> None:
        """Tell a stream from an error."""
        if self._parser.get_status_code() != 200:
            self._error_body = b""

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._error_body is None:
            self._arrived += self._messages.feed(body)
        elif len(self._error_body) < PIECE_BYTES:
            self._error_body += body

    def on_message_complete(self) -> None:
        """Note that the answer has an end after all."""
        self._is_complete = True

    def _take(self) -> None:
        """Feed the parser with all that the connection holds now."""
        while True:
            try:
                piece = self._socket.recv(PIECE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError as error:
                raise DcsUnavailable(f"{self.endpoint}: {error.strerror or error}") from error
            if not piece:
                raise DcsUnavailable(f"{self.endpoint}: the stream was closed")
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserCallbackError as error:
                raise DcsUnavailable(f"{self.endpoint}: {error.__context__ or error}") from error
            except httptools.HttpParserError as error:
                raise DcsUnavailable(f"{self.endpoint}: not HTTP: {error}") from error
            if len(piece) < PIECE_BYTES and not isinstance(self._socket, ssl.SSLSocket):
                return


class Etcd3Watcher:
    """See `store.Watcher`."""

    def __init__(self, client: Etcd3Client, transport: Transport, prefix: str, clock: Clock) -> None:
        self._client = client
        self._transport = transport
        self._prefix = prefix
        self._clock = clock
        self._stream: Stream | None = None
        self._entries: dict[str, Entry] = {}  # by full key
        self._revision: Revision | None = None  # of the copy
        self._store_id: str | None = None
        self._term: int | None = None  # of the last message
        self._doubt = ""  # not empty: why the stream must begin anew
        self._is_closed = False
        self._in_use = threading.Lock()  # held by the thread in `next`
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)

    def next(self, timeout_s: float) -> Snapshot | None:
        """See `store.Watcher`."""
        try:
            with self._in_use:
                return None if self._is_closed else self._next(Deadline(self._clock, timeout_s))
        finally:
            self._release_if_closed()

    def close(self) -> None:
        """See `store.Watcher`."""
        self._is_closed = True
        self._ring()
        self._release_if_closed()

    def doubt(self, why: str, term: int | None) -> None:
        """Begin anew soon, unless the stream is under that raft term already. Any thread."""
        if self._stream is not None and (term is None or term != self._term):
            self._doubt = why
            self._ring()

    def _next(self, deadline: Deadline) -> Snapshot | None:
        self._client.prepare(Deadline(self._clock, 0))
        if self._stream is None:
            return self._begin(deadline)
        while True:
            try:
                if self._step(self._stream, deadline.left_s()):
                    return self._snapshot()
            except (DcsUnavailable, EtcdError) as error:
                logger.debug("the watch begins anew: %s", error)
                self._drop()
                if self._is_closed or deadline.left_s() < SHORTEST_REBUILD_S:
                    return None
                return self._begin(deadline)
            if self._is_closed or deadline.left_s() <= 0:
                return None

    def _step(self, stream: Stream, timeout_s: float) -> bool:
        """Wait for messages and apply them; return whether the copy changed."""
        messages = stream.read(self._bell, timeout_s)
        if not messages:
            _silence(self._bell)  # before the look at what it rang for
        if self._doubt and not self._is_closed:
            raise DcsUnavailable(self._doubt)
        changes = [self._apply(message) for message in messages]
        return any(changes)

    # --- a new beginning

    def _begin(self, deadline: Deadline) -> Snapshot | None:
        """Read the prefix and begin a stream after it; raise DcsUnavailable if either fails."""
        self._doubt = ""
        _silence(self._bell)
        body = prefix_range(self._prefix)
        began = self._clock()
        try:
            call = Call(path="/kv/range", body=body, is_repeatable=True, trust=Trust.PROVED)
            answer = self._client.call(call, deadline)
            header = require_header(answer)
            snapshot = snapshot_of(answer, header, is_linearizable=True)
            if header.revision is None:
                raise DcsUnavailable("a range without a revision")
            self._entries, self._revision = dict(snapshot.entries), header.revision
            self._store_id, self._term = header.cluster_id, header.raft_term
            self._follow(header.revision + 1, deadline)
        except EtcdError as error:
            raise DcsUnavailable(str(error)) from error
        return None if self._is_closed else self._snapshot(began)

    def _follow(self, start_revision: int, deadline: Deadline) -> None:
        """Begin a stream of all events from that revision on."""
        create = prefix_range(self._prefix) | {"start_revision": str(start_revision)}
        self._client.try_streams(deadline, self._open, Call(path="/watch", body={"create_request": create}))

    def _open(self, endpoint: Endpoint, request: HttpRequest, timeout_s: float) -> None:
        """Begin a stream at this endpoint and wait until it says so."""
        deadline = Deadline(self._clock, timeout_s)
        stream = Stream(self._transport, endpoint, request, timeout_s)
        try:
            while not self._is_closed:
                messages = stream.read(self._bell, deadline.left_s())
                for message in messages:
                    self._apply(message)
                if messages:
                    self._stream = stream
                    return
                if deadline.left_s() <= 0:
                    raise DcsUnavailable(f"{endpoint}: the watch did not begin in {timeout_s:.1f} s")
                _silence(self._bell)
            raise DcsUnavailable("closed")
        finally:
            if self._stream is not stream:
                stream.close()

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    # --- the copy

    def _apply(self, message: Json) -> bool:
        """Apply one message; return whether it changed the copy. Raise where the stream must begin anew."""
        require_no_error(message)
        result = message.get("result")
        if not isinstance(result, Mapping):
            raise DcsUnavailable("a message without a result")
        header = header_of(result)
        self._term = header.raft_term if header is not None else self._term
        self._client.admit(result)
        if result.get("canceled"):
            compacted = result.get("compact_revision")
            reason = f"compacted at {compacted}" if compacted else result.get("cancel_reason", "no reason")
            raise DcsUnavailable(f"the watch was cancelled: {reason}")
        events = result.get("events", [])
        if not isinstance(events, list):
            raise DcsUnavailable("a message with events that are none")
        for event in events:
            self._apply_event(event)
        return bool(events)

    def _apply_event(self, event: object) -> None:
        """Apply one event if it is newer than the copy of its key."""
        if not isinstance(event, Mapping) or not isinstance(event.get("kv"), Mapping):
            raise DcsUnavailable("an event without a key")
        kv: Json = event["kv"]
        is_deletion = event.get("type") == "DELETE"
        entry = entry_of({"create_revision": "0", **kv})  # a deletion has the key and mod_revision only
        known = self._entries.get(entry.key)
        revision = entry.revision or Revision(0)
        if known is not None and known.revision is not None and known.revision >= revision:
            return
        if is_deletion:
            self._entries.pop(entry.key, None)
        else:
            self._entries[entry.key] = entry
        self._revision = max(self._revision or revision, revision)

    def _snapshot(self, began: Instant | None = None) -> Snapshot:
        """Return the copy. began: of the linearizable read that it is; None: events have changed it since."""
        return Snapshot(
            entries=dict(sorted(self._entries.items())),
            revision=self._revision,
            store_id=self._store_id,
            is_linearizable=began is not None,
            began=began,
        )

    # --- the bell

    def _ring(self) -> None:
        try:
            self._rope.send(b"!")
        except OSError:
            logger.debug("the bell of a watch rings already, or is gone")

    def _release_if_closed(self) -> None:
        """Free what is held once closed; the thread in `next`, if there is one, does it on its way out."""
        if self._is_closed and self._in_use.acquire(blocking=False):
            try:
                self._drop()
                self._bell.close()
                self._rope.close()
            finally:
                self._in_use.release()


def _head_and_body(endpoint: Endpoint, request: HttpRequest) -> bytes:
    headers = headers_of(endpoint, request) | {"Content-Length": str(len(request.body))}
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def _is_readable(connection: socket.socket, bell: socket.socket, timeout_s: float) -> bool:
    """Wait until the connection holds something, the bell rings or the time is over; return whether it is the first."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(bell, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(timeout_s * 1000)}
    return connection.fileno() in ready


def _silence(bell: socket.socket) -> None:
    try:
        while bell.recv(PIECE_BYTES):
            pass
    except OSError:
        return
