"""The driver: carries out requests on the one local Postgres. Knows nothing of leaders and locks.

Promised: `perform` may be called from several threads at once; each call returns or raises PostgresError within its timeout
(plus what the kernel needs); `cancel` ends the requests of the background job that are under way, with the tools they run.
Not promised: that a step without an answer (PostgresTimeout) had no effect; that file-system calls on a dead disk return:
requests that touch the data directory belong on the file worker's or the job's thread (safety_rules.md §7.3).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from patroni.decision.request import Request
from patroni.postgres import (
    backup,
    bootstrap,
    conf,
    directory,
    history,
    launch,
    monitoring,
    replication,
    rewind,
    run,
    stop,
    twin,
)
from patroni.postgres import request as pg
from patroni.postgres.call import Call, Clock
from patroni.postgres.config import PostgresConfig
from patroni.postgres.look import Looker
from patroni.postgres.request import PostgresError
from patroni.postgres.server import Server

T = TypeVar("T")

_CANCELLABLE = (
    pg.Initdb,
    pg.CreateRoles,
    pg.BaseBackup,
    pg.RunRewind,
    pg.RunSingleUser,
    pg.AwaitReady,
    pg.AwaitDown,
    pg.RunCheckpoint,
)


class Driver:
    """One local Postgres."""

    def __init__(self, config: PostgresConfig, now_s: Clock) -> None:
        """now_s: a monotonic clock, in seconds."""
        self._server = Server(config, now_s)
        self._lock = threading.Lock()
        self._cancellable: set[Call] = set()
        self._methods: Mapping[type, Callable[[Server, Call, Any], Any]] = {
            pg.ReadFiles: Looker().read_files,
            **_METHODS,
        }

    def perform(self, request: Request[T], timeout_s: float, is_cancelled: Callable[[], bool] = lambda: False) -> T:
        """Carry out one request and return its answer.

        is_cancelled: of the job that asks; looked at when `cancel` reaches this request, so that none falls in between.
        """
        method = self._methods[type(request)]
        call = Call(timeout_s, self._server.now_s)
        with self._lock:
            if isinstance(request, _CANCELLABLE):
                self._cancellable.add(call)
                if is_cancelled():
                    call.cancel()
        try:
            return cast(T, method(self._server, call, request))
        except OSError as error:
            raise PostgresError(f"{error.filename or type(request).__name__}: {error.strerror or error}") from error
        finally:
            with self._lock:
                self._cancellable.discard(call)
                call.close()

    def cancel(self) -> None:
        """End what the job is waiting for: its tool is terminated, its request raises PostgresError. Returns at once."""
        with self._lock:
            for call in self._cancellable:
                call.cancel()

    def configure(self, config: PostgresConfig) -> None:
        """Use another configuration from the next request on; the data directory stays the one of the start."""
        self._server.config = config

    def close(self) -> None:
        """Give up the kept connections that nobody uses now."""
        for session in (self._server.heartbeat, self._server.rest, self._server.replication):
            session.close()


_METHODS: Mapping[type, Callable[[Server, Call, Any], Any]] = {
    pg.ReadMonitoring: monitoring.read_monitoring,
    pg.ReadLocalHistory: history.read_local_history,
    pg.ReadLocalTimeline: replication.read_local_timeline,
    pg.ReadOwnTimeline: twin.read_own_timeline,
    pg.AskRemoteHistory: replication.ask_remote_history,
    pg.Initdb: bootstrap.initdb,
    pg.CreateRoles: bootstrap.create_roles,
    pg.BaseBackup: backup.base_backup,
    pg.RunRewind: rewind.run_rewind,
    pg.RunSingleUser: rewind.run_single_user,
    pg.RemoveDataDirectory: directory.remove_data_directory,
    pg.MoveDataDirectoryAway: directory.move_data_directory_away,
    pg.WriteConfiguration: conf.write_configuration,
    pg.Launch: launch.launch,
    pg.AwaitReady: launch.await_ready,
    pg.Reload: run.reload,
    pg.SignalPromote: run.signal_promote,
    pg.RunCheckpoint: run.run_checkpoint,
    pg.ResumeReplay: run.resume_replay,
    pg.ChangeSlots: run.change_slots,
    pg.SignalStop: stop.signal_stop,
    pg.EndBackends: stop.end_backends,
    pg.AwaitDown: stop.await_down,
    pg.KillAll: stop.kill_all,
}
