"""A TCP proxy whose link a test breaks and heals: cut, refusing, silent, late, losing replies; one way or both.

A link that was silent heals in one of two ways, both of which real networks have. `hold` keeps the bytes, which arrive
after the healing, perhaps when their sender has long given up. `black_hole` loses them; a connection that lost any is
reset at the healing, since its stream has a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Self

_HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 18
_CONTROL_TIMEOUT_S = 10.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Direction(Enum):
    """The way that bytes go."""

    TO_SERVER = auto()
    TO_CLIENT = auto()


BOTH = (Direction.TO_SERVER, Direction.TO_CLIENT)


class Flow(Enum):
    """What happens to bytes (and to the end of a stream) that arrive at the proxy."""

    PASS = auto()
    HOLD = auto()
    DROP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How one direction is now."""

    flow: Flow = Flow.PASS
    delay_s: float = 0.0  # of each chunk


class _Connection:
    """One client's connection and the one to the server behind it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = {Direction.TO_CLIENT: client, Direction.TO_SERVER: server}
        self.is_asked = False  # the client sent something after the server's last bytes
        self.has_gap = False  # bytes of it were dropped
        self.is_losing_reply = False

    def reset(self) -> None:
        for writer in self.writers.values():
            _reset(writer)


class Proxy:
    """A proxy from a port of its own to a server on this machine; controlled by any thread, effective on return."""

    def __init__(self, *, port: int, target_port: int) -> None:
        self.port = port
        self.target_port = target_port
        self.connections = 0  # accepted so far
        self.requests = 0  # times that a client spoke first, or after the server; without pipelining, its requests
        self.replies_lost = 0  # by `lose_reply`
        self._links = dict.fromkeys(Direction, Link())
        self._open: set[_Connection] = set()
        self._lossy_pattern: bytes | None = None
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}", daemon=True)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    def start(self) -> None:
        """Take connections from now on."""
        self._thread.start()
        self._do(self._listen())

    def close(self) -> None:
        """Reset all connections and end the thread; for good."""
        if self._thread.is_alive():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CONTROL_TIMEOUT_S)
        self._loop.close()

    @property
    def open_connections(self) -> int:
        """Return how many connections are open now."""
        return len(self._open)

    def forward(self) -> None:
        """Heal everything: all passes, without delay, new connections are taken; streams that have a gap are reset."""
        self._do(self._heal())

    def cut(self) -> None:
        """Reset all connections. New ones are taken: `refuse` first for a link that stays cut."""
        self._do(self._call(self._reset_all))

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        self._do(self._call(self._stop_listening))

    def black_hole(self, *directions: Direction) -> None:
        """Take connections and drop what arrives in these directions, in both if none is named."""
        self._do(self._change(lambda link: replace(link, flow=Flow.DROP), directions))

    def hold(self, *directions: Direction) -> None:
        """Take connections and keep what arrives in these directions (both if none is named) until the healing."""
        self._do(self._change(lambda link: replace(link, flow=Flow.HOLD), directions))

    def delay(self, delay_s: float, *directions: Direction) -> None:
        """Pass each chunk so much later, in these directions, in both if none is named."""
        self._do(self._change(lambda link: replace(link, delay_s=delay_s), directions))

    def lose_reply(self, matching: bytes = b"") -> None:
        """Forward the next request that has these bytes in one of its chunks, and reset the connection at its reply."""
        self._lossy_pattern = matching

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_CONTROL_TIMEOUT_S)

    async def _call(self, work: Callable[[], None]) -> None:
        work()

    async def _change(self, change: Callable[[Link], Link], directions: tuple[Direction, ...]) -> None:
        for direction in directions or BOTH:
            self._links[direction] = change(self._links[direction])
        self._changed.set()
        self._changed = asyncio.Event()

    async def _heal(self) -> None:
        for connection in self._open:
            if connection.has_gap:
                connection.reset()
        self._lossy_pattern = None
        await self._change(lambda link: Link(), BOTH)
        await self._listen()

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, _HOST, self.port, limit=_CHUNK_BYTES)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _reset_all(self) -> None:
        for connection in self._open:
            connection.reset()

    async def _end(self) -> None:
        self._stop_listening()
        self._reset_all()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # an accepted connection may still begin one
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server_reader, server = await asyncio.open_connection(_HOST, self.target_port, limit=_CHUNK_BYTES)
        except OSError:
            _reset(client)
            return
        except asyncio.CancelledError:
            _reset(client)
            raise
        connection = _Connection(client, server)
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, client_reader, Direction.TO_SERVER),
                self._pump(connection, server_reader, Direction.TO_CLIENT),
            )
        finally:
            self._open.discard(connection)
            connection.reset()

    async def _pump(self, connection: _Connection, reader: asyncio.StreamReader, direction: Direction) -> None:
        """Carry one direction until its stream's end, or until either side is reset, which resets the other."""
        writer = connection.writers[direction]
        chunk = b"-"
        while chunk:
            try:
                chunk = await reader.read(_CHUNK_BYTES)
                self._note(connection, chunk, direction)
                if not await self._passes(connection, direction):
                    continue
                writer.write(chunk)
                if not chunk:
                    writer.write_eof()
                await writer.drain()
            except OSError:
                if await self._passes(connection, direction):  # a reset does not come through a silent link, either
                    connection.reset()
                return

    def _note(self, connection: _Connection, chunk: bytes, direction: Direction) -> None:
        """Count requests, and find the one whose reply is to be lost."""
        if direction is Direction.TO_CLIENT:
            connection.is_asked = False
            if connection.is_losing_reply:
                self.replies_lost += 1
                connection.reset()
            return
        if chunk and not connection.is_asked:
            connection.is_asked = True
            self.requests += 1
        if chunk and self._lossy_pattern is not None and self._lossy_pattern in chunk:
            self._lossy_pattern = None
            connection.is_losing_reply = True

    async def _passes(self, connection: _Connection, direction: Direction) -> bool:
        """Wait until what has just arrived may go on; False: it is dropped."""
        arrived_s = time.monotonic()
        while True:
            link = self._links[direction]
            if link.flow is Flow.DROP:
                connection.has_gap = True
                return False
            wait_s = None if link.flow is Flow.HOLD else arrived_s + link.delay_s - time.monotonic()
            if wait_s is not None and wait_s <= 0:
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once with a RST, so that its peer sees an error and not an orderly end."""
    sock = writer.get_extra_info("socket")
    if not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
