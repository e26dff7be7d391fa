"""What the agent may ask of its Postgres (patroni/postgres/request.py), answered by the model.

Each answer takes its time at the agent's place, so that a freeze fits between a request, its effect and its answer; the kill
is a sweep, process by process (fence_facts.md rule 19). Tools run for a while and look at their source again at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from patroni.decision.cluster import HistoryRow, Lsn, SlotName, Timeline, Twin
from patroni.decision.node import ClusterState, ControlData, DataDirectory, Process, Slot, Walsender
from patroni.decision.request import Request
from patroni.postgres import request as pg
from patroni.postgres.request import Files, Monitoring, PostgresError, PostgresTimeout, Readiness, RemoteHistory, StopMode
from tests.simulation.engine import Acts, Wait
from tests.simulation.postgres_model import Data, Phase, Postgres
from tests.simulation.replication import Receiver
from tests.simulation.wal import FIRST_LSN, Branch

T = TypeVar("T")
CANCELLABLE = (
    pg.Initdb,
    pg.CreateRoles,
    pg.BaseBackup,
    pg.RunRewind,
    pg.RunSingleUser,
    pg.AwaitReady,
    pg.AwaitDown,
    pg.RunCheckpoint,
)
PG_CTL_TIMEOUT_S = 60.0
RELOAD_S = (0.001, 0.1)


@dataclass(slots=True)
class ToolSpeed:
    """How long tools run, in seconds."""

    initdb: tuple[float, float] = (0.5, 2.0)
    clone: tuple[float, float] = (0.5, 4.0)
    dry_run: tuple[float, float] = (0.1, 0.5)
    mark: tuple[float, float] = (0.001, 0.02)
    rewind: tuple[float, float] = (0.3, 2.0)
    single_user: tuple[float, float] = (0.3, 1.5)
    kill_step: tuple[float, float] = (0.0001, 0.004)


class Driver:
    """The local Postgres, for one agent. Implements what `dispatch.Driver` promises, as generators."""

    def __init__(self, postgres: Postgres, on_discard: Callable[[Postgres, str], None]) -> None:
        """on_discard: told before a data directory is removed or moved away, and how."""
        self.postgres = postgres
        self.tools = ToolSpeed()
        self._on_discard = on_discard
        self._methods: dict[type, Callable[[Any], Acts[Any]]] = {
            pg.ReadFiles: self._read_files,
            pg.ReadMonitoring: self._read_monitoring,
            pg.ReadLocalHistory: self._read_local_history,
            pg.ReadLocalTimeline: self._read_local_timeline,
            pg.ReadOwnTimeline: self._read_own_timeline,
            pg.AskRemoteHistory: self._ask_remote_history,
            pg.Initdb: self._initdb,
            pg.CreateRoles: self._create_roles,
            pg.BaseBackup: self._base_backup,
            pg.RunRewind: self._run_rewind,
            pg.RunSingleUser: self._run_single_user,
            pg.RemoveDataDirectory: self._remove,
            pg.MoveDataDirectoryAway: self._remove,
            pg.WriteConfiguration: self._write_configuration,
            pg.Launch: self._launch,
            pg.AwaitReady: self._await_ready,
            pg.Reload: self._reload,
            pg.SignalPromote: self._signal_promote,
            pg.RunCheckpoint: self._run_checkpoint,
            pg.ResumeReplay: self._nothing,
            pg.ChangeSlots: self._change_slots,
            pg.SignalStop: self._signal_stop,
            pg.EndBackends: self._end_backends,
            pg.AwaitDown: self._await_down,
            pg.KillAll: self._kill_all,
        }

    def perform(self, request: Request[T], timeout_s: float) -> Acts[Any]:
        """Carry out one request; timeout_s bounds what can block."""
        postgres = self.postgres
        if isinstance(request, pg.ReadMonitoring) and postgres.is_held:
            yield postgres.live_host.lasts_s(timeout_s)
            raise PostgresTimeout("no answer in time")
        return (yield from self._methods[type(request)](request))

    # --- looking

    def _read_files(self, _: pg.ReadFiles) -> Acts[Files]:
        yield self.postgres.takes_s((0.002, 0.02))
        postgres, data = self.postgres, self.postgres.data
        return Files(
            data_directory=DataDirectory.EMPTY if data is None else DataDirectory.PRESENT,
            process=postgres.process,
            postmaster_pid=postgres.postmaster,
            has_recovery_signal=data is not None and data.has_signal,
            has_backup_label=data is not None and data.has_backup_label,
            control=_control(data) if data is not None else None,
            major=15 if data is not None else None,
            is_torn=data is not None and data.is_marked,
        )

    def _session(self) -> Data:
        """Return the data of a server that lets a session in, or raise."""
        data = self.postgres.data
        if data is None or not self.postgres.is_accepting:
            raise PostgresError("Postgres lets nobody in")
        return data

    def _read_monitoring(self, _: pg.ReadMonitoring) -> Acts[Monitoring]:
        yield self.postgres.takes_s(self.postgres.speed.query)
        return _monitoring(self.postgres, self._session())

    def _read_local_history(self, request: pg.ReadLocalHistory) -> Acts[tuple[HistoryRow, ...]]:
        yield self.postgres.takes_s((0.001, 0.005))
        rows = self._session().branch.rows()
        if not rows:
            return ()
        last = HistoryRow(
            timeline=rows[-1].timeline, lsn=rows[-1].lsn, reason=rows[-1].reason, timestamp="2026-01-01T00:00:00+00:00"
        )
        return (*rows[:-1], last)

    def _read_local_timeline(self, _: pg.ReadLocalTimeline) -> Acts[Timeline]:
        yield self.postgres.takes_s((0.001, 0.005))
        return Timeline(self._session().branch.timeline)

    def _ask_remote_history(self, request: pg.AskRemoteHistory) -> Acts[RemoteHistory]:
        sender = self._remote(request.conn_url)
        yield self.postgres.takes_s((0.005, 0.05))
        self._require_way(sender)
        assert sender.data is not None
        branch = sender.data.branch
        data, own = self.postgres.data, request.own
        is_comparable = own is not None and data is not None and not sender.is_in_recovery
        return RemoteHistory(
            is_primary=not sender.is_in_recovery,
            system_id=sender.data.system_id,
            timeline=Timeline(branch.timeline),
            rows=branch.rows(),
            twin=self._twin(data.branch, branch, own) if is_comparable and data is not None and own else Twin.UNKNOWN,
        )

    def _read_own_timeline(self, request: pg.ReadOwnTimeline) -> Acts[pg.OwnTimeline]:
        """Read what is ours; the WAL, of which only the end is told, while nothing runs: else it may be there in part only."""
        yield self.postgres.takes_s((0.002, 0.02))
        data = self.postgres.data
        if data is None:
            raise PostgresError("there is no data directory")
        rows = tuple(row for row in data.branch.rows() if row.timeline < request.timeline)
        wal = None
        if self.postgres.process is Process.DOWN:
            wal = pg.OwnWal(segment="", offset=0, begin_lsn=request.until_lsn, page_bytes=8192, content=b"")
        return pg.OwnTimeline(timeline=request.timeline, rows=rows, wal=wal)

    def _twin(self, mine: Branch, theirs: Branch, own: pg.OwnTimeline) -> Twin:
        """Compare switch points, and the WAL before our end, as `postgres/twin.py` does."""
        rows = theirs.rows()
        if own.timeline > min(mine.timeline, theirs.timeline):
            return Twin.UNKNOWN
        before = [[(row.timeline, row.lsn) for row in of if row.timeline < own.timeline] for of in (own.rows, rows)]
        if before[0] != before[1]:
            return Twin.BY_BEGIN
        if own.wal is None or own.timeline != theirs.timeline:
            return Twin.UNKNOWN
        return Twin.NONE if mine.common_lsn(theirs) >= min(own.wal.begin_lsn, theirs.end_lsn) else Twin.BY_WAL

    def _remote(self, conn_url: str) -> Postgres:
        sender = self.postgres.peers.get(urlsplit(conn_url).hostname or "")
        if sender is None:
            raise PostgresError("no such host")
        self._require_way(sender)
        return sender

    def _require_way(self, sender: Postgres) -> None:
        is_open = sender.network.is_open_both(self.postgres.name, sender.name)
        if not is_open or not sender.is_accepting or sender.live_host.is_stopped:
            raise PostgresError(f"{sender.name} does not answer")

    # --- data directories

    def _initdb(self, _: pg.Initdb) -> Acts[None]:
        yield self.postgres.takes_s(self.tools.initdb)
        branch = Branch(timeline=1, writer=self.postgres.name)
        self.postgres.data = Data(branch=branch, written=FIRST_LSN, flushed=FIRST_LSN, applied=FIRST_LSN)

    def _create_roles(self, _: pg.CreateRoles) -> Acts[None]:
        yield self.postgres.takes_s((0.05, 0.3))
        self._session()

    def _base_backup(self, request: pg.BaseBackup) -> Acts[None]:
        self._require_down()
        sender = self._remote(request.conn_url)
        life = sender.postmaster
        yield self.postgres.takes_s(self.tools.clone)
        self._require_way(sender)
        if sender.postmaster != life or sender.data is None:
            raise PostgresError("the source was restarted")
        self.postgres.data = sender.data.copy()

    def _run_rewind(self, request: pg.RunRewind) -> Acts[None]:
        self._require_down()
        sender, data = self._remote(request.conn_url), self.postgres.data
        assert data is not None
        if sender.is_in_recovery or sender.data is None or sender.data.control_timeline != sender.data.branch.timeline:
            raise PostgresError("the source is no primary that has made its checkpoint")
        if sender.data.branch is not data.branch and sender.data.branch.timeline == data.branch.timeline:
            raise PostgresError("source and target are on the same timeline: no rewind required")
        self._require_whole(data)
        yield self.postgres.takes_s(self.tools.dry_run)
        self._require_way(sender)
        self._mark_rewind(data)
        yield self.postgres.takes_s(self.tools.mark)
        life, data.is_torn = sender.postmaster, True
        yield self.postgres.takes_s(self.tools.rewind)
        self._require_way(sender)
        if sender.postmaster != life:
            raise PostgresError("the source was restarted")
        rewound = sender.data.copy()
        rewound.slots, rewound.upstream, rewound.state = data.slots, data.upstream, ClusterState.IN_ARCHIVE_RECOVERY
        self.postgres.data = rewound

    def _mark_rewind(self, data: Data) -> None:
        data.is_marked = True

    def _require_whole(self, data: Data) -> None:
        if data.is_marked:
            raise PostgresError("a rewind was cut short")

    def _run_single_user(self, _: pg.RunSingleUser) -> Acts[None]:
        self._require_down()
        yield self.postgres.takes_s(self.tools.single_user)
        self._require_down()
        data = self.postgres.data
        assert data is not None
        self._require_whole(data)
        data.flushed = data.applied = data.written
        data.has_signal = False
        self.postgres._own_branch(data)
        self.postgres._checkpoint_record(data)
        data.control_timeline = data.branch.timeline
        data.checkpoint_end_lsn, data.state = data.written, ClusterState.SHUT_DOWN

    def _remove(self, request: Request[None]) -> Acts[None]:
        yield self.postgres.takes_s((0.002, 0.02))
        self._require_down()
        self._on_discard(self.postgres, type(request).__name__)
        yield self.postgres.takes_s((0.01, 0.5))
        self.postgres.data = None

    def _require_down(self) -> None:
        if self.postgres.process is not Process.DOWN:
            raise PostgresError("something still runs on the data directory")

    # --- starting and running

    def _write_configuration(self, request: pg.WriteConfiguration) -> Acts[None]:
        yield self.postgres.takes_s((0.001, 0.01))
        data = self.postgres.data
        if data is None:
            raise PostgresError("there is no data directory")
        data.has_signal, data.upstream = request.is_standby, request.upstream

    def _launch(self, _: pg.Launch) -> Acts[int]:
        yield self.postgres.takes_s((0.01, 0.05))
        postgres = self.postgres
        if postgres.postmaster is not None:
            return postgres.postmaster
        if postgres.data is None or postgres.process is Process.ORPHANS:
            raise PostgresError("Postgres ended right after its start; its own log says why")
        self._require_whole(postgres.data)
        postgres.receiver = Receiver(postgres)
        return postgres.launch()

    def _await_ready(self, request: pg.AwaitReady) -> Acts[Readiness]:
        postgres = self.postgres
        limit_s = PG_CTL_TIMEOUT_S if request.within_s is None else request.within_s
        deadline_s = postgres.engine.now_s + postgres.live_host.lasts_s(limit_s)
        while True:
            if postgres.postmaster is None:
                return Readiness.GONE
            if postgres.is_accepting:
                return Readiness.ACCEPTING
            if postgres.engine.now_s >= deadline_s:
                return Readiness.REJECTING
            yield Wait(postgres.changed, deadline_s - postgres.engine.now_s)

    def _reload(self, _: pg.Reload) -> Acts[None]:
        yield 0.0005
        postgres = self.postgres
        if postgres.postmaster is None:
            raise PostgresError("Postgres is not running")
        receiver = postgres.receiver
        if receiver is not None:
            postgres.engine.soon(postgres.live_host, receiver.reload, postgres.takes_s(RELOAD_S))

    def _signal_promote(self, request: pg.SignalPromote) -> Acts[None]:
        yield 0.0005
        postgres = self.postgres
        if postgres.postmaster is None:
            raise PostgresError("Postgres is not running")
        if postgres.data is None or not postgres.data.has_signal:
            raise PostgresError("Postgres is no standby: there is nothing to promote")
        if not request.is_due():
            raise PostgresError("the lease does not allow a promotion any more")
        postgres.promote()

    def _run_checkpoint(self, request: pg.RunCheckpoint) -> Acts[None]:
        self._session()
        took_s = self.postgres.takes_s(self.postgres.speed.checkpoint)
        limit_s = self.postgres.live_host.lasts_s(request.within_s)
        yield min(took_s, limit_s)
        if took_s > limit_s:
            raise PostgresTimeout("the checkpoint goes on")
        self._session()
        self.postgres.finish_checkpoint()

    def _change_slots(self, request: pg.ChangeSlots) -> Acts[None]:
        yield self.postgres.takes_s((0.002, 0.01))
        data = self._session()
        data.slots.update(request.create)
        for name in request.drop:
            data.slots.discard(name)

    def _nothing(self, _: Request[None]) -> Acts[None]:
        yield 0.001

    # --- stopping

    def _signal_stop(self, request: pg.SignalStop) -> Acts[None]:
        yield 0.0003
        if request.mode is StopMode.FAST:
            self.postgres.stop_fast()
        else:
            self.postgres.quit()

    def _end_backends(self, _: pg.EndBackends) -> Acts[None]:
        yield 0.002
        if self.postgres.phase is Phase.STOPPING:
            self.postgres.end_backends()

    def _await_down(self, request: pg.AwaitDown) -> Acts[bool]:
        postgres = self.postgres
        deadline_s = postgres.engine.now_s + postgres.live_host.lasts_s(request.within_s)
        while postgres.process is not Process.DOWN:
            if postgres.engine.now_s >= deadline_s:
                return False
            yield Wait(postgres.changed, deadline_s - postgres.engine.now_s)
        return True

    def _kill_all(self, _: pg.KillAll) -> Acts[None]:
        """Stop the postmaster, kill its children one by one, then itself; then whatever is left."""
        postgres = self.postgres
        if postgres.postmaster is not None:
            yield postgres.takes_s(self.tools.kill_step)
            postgres.hold_postmaster()
        while postgres.statements:
            yield postgres.takes_s(self.tools.kill_step)
            for statement in list(postgres.statements.values())[:1]:
                postgres.end_backend(statement)
        yield postgres.takes_s(self.tools.kill_step)
        postgres.kill_postmaster()


def _control(data: Data) -> ControlData:
    is_clean = data.state is ClusterState.SHUT_DOWN
    is_standby = data.state in (ClusterState.IN_ARCHIVE_RECOVERY, ClusterState.SHUT_DOWN_IN_RECOVERY)
    return ControlData(
        cluster_state=data.state,
        system_id=data.system_id,
        timeline=Timeline(data.control_timeline),
        checkpoint_lsn=Lsn(data.checkpoint_lsn),
        previous_lsn=Lsn(data.checkpoint_lsn) if is_clean else None,
        checkpoint_end_lsn=Lsn(data.checkpoint_end_lsn) if is_clean and data.checkpoint_end_lsn is not None else None,
        minimum_recovery_lsn=Lsn(data.applied) if is_standby else None,
        minimum_recovery_timeline=Timeline(data.branch.timeline) if is_standby else None,
        can_rewind=True,
    )


def _monitoring(postgres: Postgres, data: Data) -> Monitoring:
    receiver = postgres.receiver
    stream = receiver.stream if receiver is not None and postgres.is_in_recovery else None
    active = {known.slot for known in postgres.streams}
    slots = tuple(
        Slot(name=SlotName(name), is_physical=True, is_active=name in active, restart_lsn=Lsn(data.flushed))
        for name in sorted(data.slots)
    )
    walsenders = tuple(
        Walsender(
            pid=known.pid,
            application_name=known.receiver.postgres.name,
            state="streaming",
            sync_state="sync" if postgres.is_sync else "async",
            flush_lsn=Lsn(known.confirmed) if known.confirmed else None,
        )
        for known in postgres.streams
    )
    is_standby = postgres.is_in_recovery
    return Monitoring(
        is_in_recovery=is_standby,
        timeline=Timeline(data.branch.timeline) if not is_standby or stream is not None else None,
        lsn=Lsn(max(data.flushed, data.applied)),
        receive_lsn=Lsn(data.flushed) if is_standby else None,
        replay_lsn=Lsn(data.applied) if is_standby else None,
        latest_end_lsn=Lsn(data.flushed) if stream is not None else None,
        replication_state="streaming" if stream is not None else None,
        walreceiver_pid=receiver.pid if stream is not None and receiver is not None else None,
        upstream=data.upstream if is_standby else None,
        slots=slots,
        walsenders=walsenders,
        server_version=150000,
        postmaster_start_time=str(postgres.postmaster),
    )
