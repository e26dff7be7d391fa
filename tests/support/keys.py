"""The keys of a test's cluster, read and written by hand as an operator or a foreign program would."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from patroni.agent.clock import now
from patroni.dcs.path import cluster_prefix
from patroni.dcs.store import DcsUnavailable, Delete, Entry, ReadPrefix, Store, Timing, Write, perform
from patroni.dcs.stores import open_store
from tests.support.waiting import wait_until

T = TypeVar("T")

_TIMEOUT_S = 5.0
_PATIENCE_S = 30.0


class Keys:
    """A client of the store beside all links. Keys are named without the prefix, e.g. `members/node0`."""

    def __init__(self, kind: str, section: dict[str, object], scope: str) -> None:
        self.prefix = cluster_prefix("service", scope)
        self._store: Store = open_store(kind, section, timing=Timing(), clock=now)

    def close(self) -> None:
        """Give up its connections."""
        self._store.close()

    def entry(self, key: str) -> Entry | None:
        """Return a key with all that the store knows of it; None: it is not there."""
        snapshot = self._answer(lambda: perform(self._store, ReadPrefix(self.prefix, is_linearizable=True), _TIMEOUT_S))
        return snapshot.entries.get(self.prefix + key)

    def read(self, key: str) -> str | None:
        """Return a key's value; None: it is not there."""
        entry = self.entry(key)
        return entry.value if entry else None

    def write(self, key: str, value: str) -> None:
        """Write a key blindly. What hung on a session is permanent afterwards."""
        self._answer(lambda: perform(self._store, Write(self.prefix + key, value), _TIMEOUT_S))

    def delete(self, key: str) -> None:
        """Delete a key."""
        self._answer(lambda: bool(perform(self._store, Delete(self.prefix + key), _TIMEOUT_S)) or True)

    def change_config(self, **values: object) -> None:
        """Change keys of the dynamic configuration; None removes one."""
        known = json.loads(self.read("config") or "{}")
        changed = {key: value for key, value in {**known, **values}.items() if value is not None}
        self.write("config", json.dumps(changed))

    def _answer(self, attempt: Callable[[], T]) -> T:
        """Ask until there is an answer: the writes above may be repeated, and embedded stores have one writer at a time."""
        answers: list[T] = []

        def tried() -> bool:
            try:
                answers.append(attempt())
            except DcsUnavailable:
                return False
            return True

        wait_until(tried, _PATIENCE_S, "an answer of the store")
        return answers[0]
