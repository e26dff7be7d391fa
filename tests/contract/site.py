"""A place in the store under test: its clients, and the requests of the suite in one line each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from patroni.dcs.store import (
    Create,
    DcsUnavailable,
    Entry,
    LockRef,
    OpenSession,
    ProveLock,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Session,
    Snapshot,
    Store,
    Watcher,
    perform,
)
from patroni.decision.request import Request
from tests.contract.harness import Harness

T = TypeVar("T")

TIMEOUT_S = 5.0  # of a request that ought to be answered
PATIENCE_S = 30.0  # for a condition that ought to come true; generous, since it is never waited out


class Site:
    """One test's prefix on one harness."""

    def __init__(self, harness: Harness, prefix: str) -> None:
        self.harness = harness
        self.prefix = prefix
        self._clients: list[Store] = []
        self._watchers: list[Watcher] = []
        self._client: Store | None = None

    @property
    def store(self) -> Store:
        """Return the client that most tests work with."""
        if self._client is None:
            self._client = self.client()
        return self._client

    def client(self) -> Store:
        """Return another client, closed at the end of the test."""
        self._clients.append(self.harness.client())
        return self._clients[-1]

    def direct(self) -> Store:
        """Return a client beside the link, closed at the end of the test."""
        self._clients.append(self.harness.direct())
        return self._clients[-1]

    def watcher(self, store: Store | None = None) -> Watcher:
        """Return a watcher of the prefix, closed at the end of the test."""
        self._watchers.append((store or self.store).watcher(self.prefix))
        return self._watchers[-1]

    def close(self) -> None:
        """Close all that was opened."""
        for watcher in self._watchers:
            watcher.close()
        for client in self._clients:
            client.close()

    def key(self, name: str = "leader") -> str:
        """Return the full path of a key of this test."""
        return self.prefix + name

    def open(self, store: Store | None = None, ttl_s: float | None = None) -> Session:
        """Open a session of the harness' short ttl, or of another."""
        return perform(store or self.store, OpenSession(ttl_s or self.harness.ttl_s), TIMEOUT_S)

    def renew(self, session: Session, store: Store | None = None) -> Session:
        """Renew a session."""
        return perform(store or self.store, RenewSession(session.id), TIMEOUT_S)

    def create(self, name: str = "leader", value: str = "a", session: Session | None = None) -> Entry:
        """Create a key."""
        return perform(self.store, Create(self.key(name), value, session.id if session else None), TIMEOUT_S)

    def read(self, store: Store | None = None) -> Snapshot:
        """Read the prefix, linearizable."""
        return perform(store or self.store, ReadPrefix(self.prefix, is_linearizable=True), TIMEOUT_S)

    def entry(self, name: str = "leader") -> Entry | None:
        """Read one key."""
        return self.read().entries.get(self.key(name))

    def prove(self, entry: Entry, session: Session) -> Snapshot:
        """Prove a lock."""
        lock = LockRef(key=entry.key, incarnation=entry.incarnation)
        return perform(self.store, ProveLock(lock=lock, session=session, prefix=self.prefix), TIMEOUT_S)

    def await_answer(self, request: Request[T], store: Store | None = None) -> T:
        """Repeat a harmless request until the store answers; for the time after a break."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return perform(store or self.store, request, TIMEOUT_S)
            except DcsUnavailable:
                assert time.monotonic() < deadline_s, "the store does not answer again"

    def await_healed(self) -> Snapshot:
        """Wait until the store answers after a break, and return the prefix."""
        return self.await_answer(ReadPrefix(self.prefix, is_linearizable=True))


def refused(store: Store, request: Request[T], why: Refusal) -> None:
    """Check that the store answers, and that the answer is this no."""
    with pytest.raises(Refused) as caught:
        perform(store, request, TIMEOUT_S)
    assert caught.value.why is why


def await_snapshot(watcher: Watcher, is_wanted: Callable[[Snapshot], bool]) -> Snapshot:
    """Follow a watcher until a snapshot is as wanted; a broken stream begins anew, as its users do."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < deadline_s, "the change was not seen"
        try:
            snapshot = watcher.next(1.0)
        except DcsUnavailable:
            continue
        if snapshot is not None and is_wanted(snapshot):
            return snapshot
