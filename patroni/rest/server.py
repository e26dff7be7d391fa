"""The REST API's server: one asyncio loop in a thread of its own (design.md §6).

Promised: once `bind` has returned the address is ours; no client, however slow or silent, delays another; `stop` ends within
its time. Not promised: an answer between `bind` and `start` (contract/rest_api.md §6.1).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from patroni.rest.access import Access, load_access, resolve_host
from patroni.rest.config import RestConfig, TlsConfig, VerifyClient
from patroni.rest.connection import Connection
from patroni.rest.service import Limits, Ports, Service

logger = logging.getLogger("patroni.api")

_BACKLOG = 128  # at least: a burst of checks must not be dropped, whatever `request_queue_size` says
_SOCKET_OPTIONS = (  # inherited by accepted sockets (contract/rest_api.md §2.1)
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10000),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """Other settings, with what had to be read and taken for them."""

    config: RestConfig
    tls: ssl.SSLContext | None
    access: Access
    address: _Address
    socket: socket.socket | None  # None: our own former one is in its way, and must be given up first


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    """What a socket is bound to, names resolved."""

    family: int
    value: Any  # as `socket.bind` takes it
    words: str  # for people, as it is written


class RestServer:
    """One listening address and its thread."""

    def __init__(self, config: RestConfig, ports: Ports, limits: Limits = _DEFAULT_LIMITS) -> None:
        """Resolve names and read the certificate; OSError (ssl.SSLError is one) says what is wrong with it."""
        self._config = config
        self._limits = limits
        self._backlog = max(_BACKLOG, config.request_queue_size)
        self._tls = tls_context(config.tls) if config.tls else None
        self._service = Service(config, ports, limits)
        self._socket: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_report)
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._sweep_s = min(1.0, limits.request_s / 4, limits.linger_s / 4)
        self._sweep: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event | None = None  # once stopping: set when the last connection is closed

    def bind(self) -> int:
        """Take the address; return the port. OSError: it is not ours to take, and its message names it."""
        self._socket = _listening_socket(_address(self._config), self._backlog)
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Begin to serve in a thread of its own."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(self._limits.request_s)

    def reconfigure(self, config: RestConfig) -> None:
        """Use other settings from now on; OSError: they cannot be used, and nothing has changed.

        Resolves names and reads files, so only on a thread that may block. A new address is ours before the former one is
        given up, so that no connection is refused meanwhile; only where the former one is in its way (`127.0.0.1` and all
        interfaces, one port) it goes first, and is taken back if that does not help. Somebody else may have been faster:
        the error then says that nothing is served until the next try. Certificates are read anew, whatever changed.
        """
        tls = tls_context(config.tls) if config.tls else None
        access = load_access(config, resolve_host)
        address = _address(config)
        change = _Change(config=config, tls=tls, access=access, address=address, socket=self._taken(config, address))
        try:
            self._on_loop(lambda: self._follow(change))
        except OSError:
            if change.socket is not None and change.socket is not self._socket:
                change.socket.close()
            raise

    def _taken(self, config: RestConfig, address: _Address) -> socket.socket | None:
        """Return a socket that listens there; None: there may be one once ours is given up."""
        former = self._socket
        if former is not None and (config.host, config.port) == (self._config.host, self._config.port):
            return former.dup()
        try:
            return _listening_socket(address, self._backlog)
        except OSError as error:
            if former is None or error.errno != errno.EADDRINUSE or former.getsockname()[1] != config.port:
                raise
            return None

    def _on_loop(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a step on the loop; OSError: it failed, or did not begin in time, and never will."""
        claim = threading.Lock()  # taken once: by the step, or by who waits no longer for it

        async def run() -> None:
            if claim.acquire(blocking=False):
                await step()

        done = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            done.result(self._limits.request_s)
        except TimeoutError as error:
            if claim.acquire(blocking=False):
                raise TimeoutError(f"restapi: its thread did nothing for {self._limits.request_s:g} s") from error
            done.result(self._limits.request_s)

    def stop(self, within_s: float) -> None:
        """Serve no new request, wait for running ones at most `within_s`, then close everything."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(within_s), self._loop).result(within_s + self._limits.request_s)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(self._limits.request_s)
        elif self._socket is not None:
            self._socket.close()
        self._service.close()
        if not self._loop.is_running():
            self._loop.close()

    # --- on the loop

    async def _follow(self, change: _Change) -> None:
        """Serve by the new settings; connections of other ones are closed as soon as nothing is under way on them."""
        is_equal = change.config == self._config
        listening = change.socket or await self._exchanged(change.address)
        former, self._server = self._server, await self._served(listening, change.tls)
        self._config, self._tls, self._socket = change.config, change.tls, listening
        self._service.configure(change.config, change.access)
        if former is not None:
            former.close()
        await self._server.start_serving()
        for connection in [each for each in self._connections if not is_equal and (each.is_idle or each.is_busy)]:
            connection.finish()

    async def _exchanged(self, address: _Address) -> socket.socket:
        """Give up the former address, which is in the way; OSError: that did not help, and the former one is served again."""
        assert self._server is not None
        assert self._socket is not None
        former = _Address(family=self._socket.family, value=self._socket.getsockname(), words=_words(self._config))
        self._server.close()
        self._server = self._socket = None
        try:
            return _listening_socket(address, self._backlog)
        except OSError:
            try:
                self._socket = _listening_socket(former, self._backlog)
            except OSError as error:
                raise OSError(
                    error.errno, f"{error.strerror}; it was given up for another, and nothing is served now"
                ) from error
            await self._open()
            raise

    async def _open(self) -> None:
        assert self._socket is not None
        self._server = await self._served(self._socket, self._tls)
        await self._server.start_serving()

    async def _served(self, listening: socket.socket, tls: ssl.SSLContext | None) -> asyncio.Server:
        """Return a server on this socket that does not accept yet; nothing else runs on the loop meanwhile."""
        return await self._loop.create_server(
            lambda: Connection(self._service, self._opened, self._closed),
            sock=listening,
            ssl=tls,
            ssl_handshake_timeout=self._limits.request_s if tls else None,
            backlog=self._backlog,
            start_serving=False,
        )

    async def _close(self, within_s: float) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.finish()
        self._drained = asyncio.Event()
        if self._connections:
            try:
                await asyncio.wait_for(self._drained.wait(), within_s)
            except TimeoutError:
                logger.warning("%d connections are cut off at shutdown", len(self._connections))
        for connection in list(self._connections):
            connection.cut_off()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:  # a thread that still works for one of them ends by its own deadline
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports close their sockets

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        if len(self._connections) > self._limits.connections:
            self._evict()
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._sweep_s, self._cut_overdue)

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections and self._drained is not None:
            self._drained.set()

    def _cut_overdue(self) -> None:
        """Cut off what is past its deadline; goes on while there are connections, so an idle server never wakes."""
        now_s = self._loop.time()
        for connection in [each for each in self._connections if each.deadline_s <= now_s]:
            connection.cut_off()
        self._sweep = self._loop.call_later(self._sweep_s, self._cut_overdue) if self._connections else None

    def _evict(self) -> None:
        """Make room: close the connection that has waited longest for a request, an idle one first."""
        waiting = [each for each in self._connections if not each.is_busy]
        if waiting:
            min(waiting, key=lambda each: (not each.is_idle, each.waits_since_s)).cut_off()


def _report(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log what no handler saw: a client's broken connection or handshake is none of an operator's business (§2.6)."""
    error = context.get("exception")
    level = logging.DEBUG if isinstance(error, (ConnectionError, ssl.SSLError, TimeoutError)) else logging.WARNING
    logger.log(level, "%s", context.get("message"), exc_info=error)


def _address(config: RestConfig) -> _Address:
    """Resolve `listen`: one IPv6 address where the host is both and the system can, else IPv4 (§2.1)."""
    found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    families: dict[int, Any] = {family: address for family, _, _, _, address in reversed(found)}  # the first of each
    is_dual = socket.AF_INET6 in families and (len(families) == 1 or socket.has_dualstack_ipv6())
    family = socket.AF_INET6 if is_dual else socket.AF_INET
    return _Address(family=family, value=families[family], words=_words(config))


def _words(config: RestConfig) -> str:
    return f"{config.host or '*'}:{config.port}"


def _listening_socket(address: _Address, backlog: int) -> socket.socket:
    """Return a socket that listens there; OSError names the address."""
    result = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            result.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for level, name, value in _SOCKET_OPTIONS:
            result.setsockopt(level, name, value)
        result.bind(address.value)
        result.listen(backlog)  # a bound one alone would not keep another agent from binding it, too
    except OSError as error:
        result.close()
        raise OSError(error.errno, f"restapi.listen: {address.words}: {error.strerror}") from error
    return result


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Return the server's TLS settings (§5); client certificates verify against `cafile` only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config.certfile, config.keyfile, config.keyfile_password)
    if config.ciphers:
        context.set_ciphers(config.ciphers)
    if config.cafile:
        context.load_verify_locations(config.cafile)
    context.verify_mode = {
        VerifyClient.NONE: ssl.CERT_NONE,
        VerifyClient.OPTIONAL: ssl.CERT_OPTIONAL,
        VerifyClient.REQUIRED: ssl.CERT_REQUIRED,
    }[config.verify_client]
    return context
