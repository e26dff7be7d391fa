"""Endpoints of an etcd cluster, for both versions of its API: their order, time limits and addresses (contract/dcs.md §5).

Promised: a request goes to the current endpoint first, then to the others, each with its share of what is left of the
deadline. An endpoint is an IP address: names are resolved by `Discovery`, in a short-lived thread of its own, so that no
request ever waits for a name server (safety_rules.md §7.2). Not promised: that the list is true; a failure of all makes it
due to be asked for anew.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from patroni.dcs.etcd_section import Address
from patroni.dcs.store import Clock
from patroni.decision.lease import Instant, elapsed_s

logger = logging.getLogger(__name__)

SHORTEST_TRY_S = 1.0  # contract/dcs.md §5.5: a try that cannot have this long is left out
SHORTEST_PAUSE_S = 1.0  # between two discoveries, while nobody answers
REFRESH_TTLS = 10  # the member list is asked for anew after so many ttl (§5.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address of one server."""

    scheme: str
    host: str  # as configured or advertised: what a certificate must name
    ip: str  # what is connected to
    port: int

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.scheme}://{self.authority}" + (f" ({self.ip})" if self.ip != self.host else "")

    @property
    def authority(self) -> str:
        """Return `host:port` for the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Deadline:
    """Until when one call may take; on the clocks that count suspend."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._began = clock()
        self._timeout_s = timeout_s

    def left_s(self) -> float:
        """Return what is left, never below 0."""
        return max(0.0, self._timeout_s - elapsed_s(self._began, self._clock()))


def tries_of(count: int) -> int:
    """Return how often each of so many endpoints is tried in one call (contract/dcs.md §5.5)."""
    return {1: 3, 2: 2}.get(count, 1)


def try_timeout_s(left_s: float, tries_left: int) -> float:
    """Return the limit of the next try: its share of what is left, but at least a second of it."""
    return min(left_s, max(SHORTEST_TRY_S, left_s / tries_left))


class Endpoints:
    """The list in use and which one is current. Any thread; the list is replaced whole, the lock spans no system call."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._lock = threading.Lock()
        self._list = tuple(endpoints)
        self._current = 0

    def ordered(self) -> tuple[Endpoint, ...]:
        """Return all, the current one first."""
        with self._lock:
            return self._list[self._current :] + self._list[: self._current]

    def tries(self, deadline: Deadline) -> Iterator[tuple[Endpoint, float]]:
        """Yield each endpoint to be tried next with its time limit, until they or the time are used up."""
        endpoints = self.ordered()
        rounds = endpoints * tries_of(len(endpoints))
        for index, endpoint in enumerate(rounds):
            left_s = deadline.left_s()
            if left_s <= 0:
                return
            yield endpoint, try_timeout_s(left_s, len(rounds) - index)

    def replace(self, endpoints: Iterable[Endpoint]) -> None:
        """Take a new list; the current endpoint stays current if it is in it."""
        with self._lock:
            current = self._list[self._current] if self._list else None
            self._list = tuple(dict.fromkeys(endpoints))
            self._current = self._list.index(current) if current in self._list else 0

    def worked(self, endpoint: Endpoint) -> bool:
        """Make it current, since it answered; return whether it was not."""
        with self._lock:
            if endpoint not in self._list or self._list[self._current] == endpoint:
                return False
            self._current = self._list.index(endpoint)
            return True

    def failed(self, endpoint: Endpoint) -> bool:
        """Go on to the next one if this was the current one; return whether the current one changed."""
        with self._lock:
            if len(self._list) < 2 or self._list[self._current] != endpoint:
                return False
            self._current = (self._current + 1) % len(self._list)
            return True


class Discovery:
    """Runs `refresh` (slow: it resolves names and asks servers) in a thread of its own, one at a time, when it is due."""

    def __init__(self, refresh: Callable[[], None], clock: Clock) -> None:
        """refresh: bounded in itself, except for the resolver of the system."""
        self._refresh = refresh
        self._clock = clock
        self._began: Instant | None = None
        self._is_due = True
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def demand(self) -> None:
        """Make it due at the next `start`."""
        self._is_due = True

    def start(self, period_s: float) -> None:
        """Start a refresh if it is due or older than the period, and none is running."""
        with self._changed:
            now = self._clock()
            age_s = period_s if self._began is None else elapsed_s(self._began, now)
            if self._thread is not None or age_s < (SHORTEST_PAUSE_S if self._is_due else period_s):
                return
            self._is_due = False
            self._began = now
            self._thread = threading.Thread(target=self._run, name="etcd-discovery", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait for the refresh that is running, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None, timeout_s)

    def _run(self) -> None:
        try:
            self._refresh()
        finally:
            with self._changed:
                self._thread = None
                self._changed.notify_all()


def literal(address: Address) -> Endpoint | None:
    """Return the endpoint of an address that is an IP already; None: it is a name."""
    try:
        ip = str(ipaddress.ip_address(address.host))
    except ValueError:
        return None
    return Endpoint(scheme=address.scheme, host=address.host, ip=ip, port=address.port)


def resolve(address: Address) -> tuple[Endpoint, ...]:
    """Return every IP of an address; none if it cannot be resolved. Blocks in the system's resolver, without a limit."""
    known = literal(address)
    if known is not None:
        return (known,)
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        logger.warning("cannot resolve host=%s: %s", address.host, error)
        return ()
    ips = dict.fromkeys(str(sockaddr[0]) for _, _, _, _, sockaddr in found)
    return tuple(Endpoint(scheme=address.scheme, host=address.host, ip=ip, port=address.port) for ip in ips)
