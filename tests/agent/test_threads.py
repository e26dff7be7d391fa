"""The keeper's and the watch's thread: whatever goes wrong in one step, the next one is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from patroni.agent import clock
from patroni.agent.event import ClusterSeen, StoreSilent
from patroni.agent.threads import KeeperThread, WatchThread
from patroni.dcs.memory import MemoryStore
from patroni.dcs.store import Snapshot, Watcher
from patroni.decision.view import GuardState
from tests.agent.builders import proof
from tests.agent.rig import PREFIX, rigged
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
