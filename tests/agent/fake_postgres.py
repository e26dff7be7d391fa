"""A Postgres for the tests of the agent's threads: does what it is asked at once, unless a test holds, fails or hooks it.

Its postmaster is a real process that does nothing, so that signals and pidfds are the real ones. What it models: a data
directory, a server that is up or down, in recovery or not. Implements `agent.dispatch.Driver`; thread-safe.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from patroni.decision.cluster import Lsn, Timeline
from patroni.decision.node import ClusterState, DataDirectory, Process
from patroni.decision.request import Request
from patroni.postgres import request as pg
from patroni.postgres.request import Files, Monitoring, PostgresError, Readiness
from tests.agent.builders import control

T = TypeVar("T")
CANCELLABLE = (pg.Initdb, pg.CreateRoles, pg.BaseBackup, pg.AwaitReady, pg.AwaitDown, pg.RunCheckpoint, pg.RunRewind)
PATIENCE_S = 30.0  # a request that is held and never let go ends by this


def never() -> bool:
    return False


class FakePostgres:
    """See the module."""

    def __init__(self, *, has_data: bool = False, is_standby: bool = False) -> None:
        """Prepare it: down, with a data directory or without one."""
        self.asked: list[Request[Any]] = []
        self.hooks: dict[type[Request[Any]], Callable[[], None]] = {}  # called on the thread that asks, before anything else
        self.answers: dict[type[Request[Any]], object] = {}  # instead of the model's; an exception is raised
        self.hanging: list[type[Request[Any]]] = []  # what it was asked for and has not answered
        self._changed = threading.Condition()
        self._held: set[type[Request[Any]]] = set()
        self._cancels = 0
        self._has_data = has_data
        self._is_standby = is_standby
        self._cluster_state = ClusterState.SHUT_DOWN
        self._postmaster: subprocess.Popen[bytes] | None = None

    # --- what a test does with it

    def hold(self, *kinds: type[Request[Any]]) -> None:
        """Let such requests hang from now on."""
        with self._changed:
            self._held.update(kinds)

    def let_go(self, *kinds: type[Request[Any]]) -> None:
        """Let them, and those that hang, have their effect."""
        with self._changed:
            self._held.difference_update(kinds)
            self._changed.notify_all()

    def was_asked(self, kind: type[Request[Any]]) -> int:
        """Return how often it was asked for this."""
        return sum(isinstance(request, kind) for request in self.asked)

    @property
    def is_running(self) -> bool:
        """Whether the postmaster lives."""
        return self._postmaster is not None and self._postmaster.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's pid."""
        assert self._postmaster is not None
        return self._postmaster.pid

    def close(self) -> None:
        """End what runs and let go what hangs."""
        self.let_go(*self._held)
        self._end(ClusterState.SHUT_DOWN)

    # --- agent.dispatch.Driver

    def perform(self, request: Request[T], timeout_s: float, is_cancelled: Callable[[], bool] = never) -> T:
        hook = self.hooks.get(type(request))
        if hook is not None:
            hook()
        with self._changed:
            self.asked.append(request)
            cancels = self._cancels
            is_cancellable = isinstance(request, CANCELLABLE)
            if is_cancellable and is_cancelled():
                raise PostgresError("cancelled")
            self.hanging.append(type(request))
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: type(request) not in self._held or (is_cancellable and self._cancels != cancels), PATIENCE_S
            )
            self.hanging.remove(type(request))
            if is_cancellable and self._cancels != cancels:
                raise PostgresError("cancelled")
            answer = self.answers[type(request)] if type(request) in self.answers else self._do(request)
        if isinstance(answer, Exception):
            raise answer
        return cast(T, answer)

    def cancel(self) -> None:
        with self._changed:
            self._cancels += 1
            self._changed.notify_all()

    # --- the model

    def _do(self, request: Request[Any]) -> object:
        match request:
            case pg.ReadFiles():
                return self._files()
            case pg.ReadMonitoring():
                return self._monitoring()
            case pg.Initdb() | pg.BaseBackup():
                self._has_data = True
            case pg.WriteConfiguration(is_standby=is_standby):
                self._is_standby = is_standby
            case pg.Launch():
                return self._launch()
            case pg.AwaitReady():
                return Readiness.ACCEPTING if self.is_running else Readiness.GONE
            case pg.AwaitDown():
                return not self.is_running
            case pg.SignalStop():
                self._end(ClusterState.SHUT_DOWN)
            case pg.KillAll():
                self._end(ClusterState.IN_PRODUCTION)
            case pg.SignalPromote():
                self._is_standby = False
            case pg.RemoveDataDirectory() | pg.MoveDataDirectoryAway():
                self._has_data = False
            case _:
                pass
        return None

    def _files(self) -> Files:
        if not self._has_data:
            return Files(data_directory=DataDirectory.EMPTY, process=Process.DOWN)
        is_running = self.is_running
        return Files(
            data_directory=DataDirectory.PRESENT,
            process=Process.ALIVE if is_running else Process.DOWN,
            postmaster_pid=self.pid if is_running else None,
            has_recovery_signal=self._is_standby,
            control=control(ClusterState.IN_PRODUCTION if is_running else self._cluster_state),
            major=15,
        )

    def _monitoring(self) -> Monitoring:
        if not self.is_running:
            raise PostgresError("nobody listens")
        return Monitoring(is_in_recovery=self._is_standby, timeline=Timeline(1), lsn=Lsn(5000))

    def _launch(self) -> int:
        self._postmaster = subprocess.Popen(["sleep", "600"])
        return self._postmaster.pid

    def _end(self, state: ClusterState) -> None:
        if self._postmaster is not None and self._postmaster.poll() is None:
            self._cluster_state = state
            self._postmaster.kill()
            self._postmaster.wait(10.0)
