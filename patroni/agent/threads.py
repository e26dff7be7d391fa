"""The keeper's and the watch's thread: thin runners around `LeaseKeeper` and the store's watcher.

The keeper's thread never resolves names, opens files, logs, imports, spawns, or takes a lock that another thread holds across
a system call (safety_rules.md §7.2); what it has to say it posts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from patroni.agent import clock
from patroni.agent.dispatch import StorePerformer
from patroni.agent.event import ClusterSeen, Payload, StoreSilent
from patroni.agent.lease_keeper import LeaseKeeper, Renewal, send
from patroni.agent.perform import drive
from patroni.dcs.coordinator import Coordinator
from patroni.dcs.layout import cluster_from
from patroni.dcs.store import DcsUnavailable, Refused, Store, Watcher
from patroni.decision.lease import Instant

logger = logging.getLogger(__name__)
WATCH_S = 10.0
AFTER_FAULT_S = 0.05
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
LONGEST_WAIT_S = 15.0  # of the keeper, whatever it waits for


class KeeperThread:
    """Runs a lease keeper."""

    def __init__(self, keeper: LeaseKeeper, coordinator: Coordinator, store: Store, post: Callable[[Payload], None]) -> None:
        self._keeper = keeper
        self._coordinator = coordinator
        self._store = store
        self._post = post
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """End after the renewal under way."""
        self._stop.set()
        self._keeper.ring()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._do_next()
            except Exception as error:  # noqa: BLE001  # the outermost frame: with this thread the fence would end
                logger.error("the keeper: unexpected %s: %s", type(error).__name__, error)  # a traceback would read files
                self._stop.wait(AFTER_FAULT_S)

    def _do_next(self) -> None:
        began = clock.now()
        order = self._keeper.step(began)
        if order.renewal is None:
            self._keeper.wait(min(order.wait_s, LONGEST_WAIT_S))
        else:
            self._renew(order.renewal, began)

    def _renew(self, renewal: Renewal, began: Instant) -> None:
        """Send one renewal. Whatever goes wrong that is not a refusal is no answer.

        began: the step that ordered it; a freeze of the agent in between has used up its time.
        """
        keeper = self._keeper
        try:
            self._send(renewal, began)
        except Refused as refusal:
            keeper.refused(renewal, refusal.why, str(refusal), clock.now())
        except DcsUnavailable as silence:
            keeper.silent(renewal, str(silence), clock.now())
        except Exception as error:  # noqa: BLE001  # the outermost frame of the keeper: an unexpected fault renews nothing
            keeper.silent(renewal, f"unexpected {type(error).__name__}: {error}", clock.now())

    def _send(self, renewal: Renewal, began: Instant) -> None:
        perform = StorePerformer(self._store, began, renewal.timeout_s).perform
        renewed = drive(send(renewal, self._coordinator), perform)
        if renewed.cluster is not None:
            self._keeper.saw(renewed.cluster, clock.now(), renewed.sent)
        self._keeper.renewed(renewal, renewed)
        if renewed.cluster is not None:
            self._post(ClusterSeen(cluster=renewed.cluster, began=renewed.sent, is_linearizable=True))


class WatchThread:
    """Watches the cluster's prefix and posts every view."""

    def __init__(self, keeper: LeaseKeeper, store: Store, prefix: str, post: Callable[[Payload], None]) -> None:
        self._keeper = keeper
        self._prefix = prefix
        self._watcher: Watcher = store.watcher(prefix)
        self._post = post
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """End the stream and the thread."""
        self._stop.set()
        self._watcher.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self._watch_once()
            except Exception as error:  # the outermost frame: without this thread a view is 20 s old and more
                if not isinstance(error, DcsUnavailable):
                    logger.exception("the watch failed")
                self._post(StoreSilent(detail=str(error)))
                self._stop.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                pause_s = FIRST_PAUSE_S

    def _watch_once(self) -> None:
        snapshot = self._watcher.next(WATCH_S)
        if snapshot is not None:
            cluster = cluster_from(snapshot, self._prefix)
            now = clock.now()
            self._keeper.saw(cluster, now, snapshot.began)
            self._post(ClusterSeen(cluster=cluster, began=snapshot.began or now, is_linearizable=snapshot.is_linearizable))
