"""The keeper's and the watch's thread: whatever goes wrong in one step, the next one is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from patroni.agent import clock
from patroni.agent.event import ClusterSeen, StoreSilent
from patroni.agent.lease_keeper import Renewal
from patroni.agent.threads import KeeperThread, WatchThread
from patroni.dcs.memory import MemoryStore
from patroni.dcs.store import OpenSession, Session, Snapshot, Watcher
from patroni.decision.view import GuardState
from tests.agent.builders import proof
from tests.agent.rig import PREFIX, Rig, rigged
from tests.support.waiting import wait_until

PATIENCE_S = 20.0


def test_a_fence_whose_signal_fails_in_an_unforeseen_way_kills_all_the_same() -> None:
    with rigged() as rig:
        rig.fence._quit = broken
        thread = KeeperThread(rig.keeper, rig.coordinator, rig.store, rig.told.append)
        thread.start()
        try:
            assert rig.fence.arm(replace(proof(), sent=clock.now(), ttl_s=0.0))
            rig.keeper.renew_soon()
            wait_until(lambda: "kill" in rig.ended, PATIENCE_S, "the kill")
            assert rig.fence.state() is GuardState.KILLED
        finally:
            thread.close(PATIENCE_S)


class TimedStore(MemoryStore):
    """A store in memory that notes how much time it was given to open a session."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig.server, rig.link)
        self.given_s: list[float] = []

    def open_session(self, request: OpenSession, timeout_s: float) -> Session:
        self.given_s.append(timeout_s)
        return super().open_session(request, timeout_s)


def test_a_freeze_between_order_and_sending_uses_up_the_renewals_time() -> None:
    """Else a thawed agent waits for the store before its fence looks at the clock."""
    with rigged() as rig:
        store = TimedStore(rig)
        thread = KeeperThread(rig.keeper, rig.coordinator, store, rig.told.append)
        renewal = Renewal(epoch=rig.keeper.epoch, session=None, proof=None, ttl_s=10.0, timeout_s=3.0)
        now = clock.now()
        thread._renew(renewal, now)
        thread._renew(renewal, replace(now, boot_s=now.boot_s - 3.0, raw_s=now.raw_s - 3.0))
        assert store.given_s[0] > 2.0
        assert store.given_s[1] < 0.1


def broken() -> None:
    raise KeyError("a bug")


class FaultyWatcher:
    """Fails once in an unforeseen way, then is the real one."""

    def __init__(self, real: Watcher) -> None:
        self._real = real
        self._fail: Callable[[], None] | None = broken

    def next(self, timeout_s: float) -> Snapshot | None:
        fail, self._fail = self._fail, None
        if fail is not None:
            fail()
        return self._real.next(timeout_s)

    def close(self) -> None:
        self._real.close()


class FaultyStore(MemoryStore):
    """A store in memory with such a watcher."""

    def watcher(self, prefix: str) -> Watcher:
        return FaultyWatcher(super().watcher(prefix))


def test_a_watch_goes_on_after_an_unforeseen_fault() -> None:
    with rigged() as rig:
        thread = WatchThread(rig.keeper, FaultyStore(rig.server, rig.link), PREFIX, rig.told.append)
        thread.start()
        try:
            rig.await_told(ClusterSeen)
            assert rig.kinds()[0] is StoreSilent
        finally:
            thread.close(PATIENCE_S)
