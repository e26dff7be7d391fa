"""Postgres as actors: a postmaster, backends, a startup process, a checkpointer, walsenders; and a data directory.

A backend executes, flushes, waits for a synchronous standby where that is set, and acknowledges, each a step of its own, so
that a signal, a death or a freeze fits between any two. Backends outlive their postmaster until their statement is done
[7.9 s were seen]; commits that were flushed and never acknowledged are there after crash recovery; a promotion goes on
whatever becomes of its agent. What the agent may ask of it is in `driver.py`, how WAL travels in `replication.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from patroni.decision.cluster import SystemId
from patroni.decision.node import ClusterState, Process, Upstream
from tests.simulation.engine import Acts, Engine, Place, Signal, Task, Wait
from tests.simulation.host import Host, Network
from tests.simulation.wal import CHECKPOINT_BYTES, Branch

if TYPE_CHECKING:
    from tests.simulation.replication import Receiver, Stream

QUIT_GRACE_S = 5.0  # the postmaster kills what a SIGQUIT did not end
SYSTEM_ID = SystemId("7000000000000000001")


class Phase(Enum):
    """What the postmaster is doing."""

    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"  # a fast stop: nobody new is let in
    QUITTING = "quitting"  # an immediate one


@dataclass(slots=True)
class Data:
    """A data directory: what outlives every process."""

    branch: Branch
    written: int  # positions in bytes: what has reached the kernel
    flushed: int
    applied: int
    system_id: SystemId = SYSTEM_ID
    state: ClusterState = ClusterState.SHUT_DOWN
    control_timeline: int = 1  # of the last checkpoint
    checkpoint_lsn: int = 0
    checkpoint_end_lsn: int | None = None
    has_signal: bool = False  # standby.signal
    has_backup_label: bool = False
    upstream: Upstream | None = None  # as configured
    slots: set[str] = field(default_factory=set)
    is_torn: bool = False  # parts of two histories lie in it: a rewind has begun; only the checkers know it
    is_marked: bool = False  # the mark of that, beside it

    def copy(self) -> Data:
        """Return what a base backup makes of it."""
        return Data(
            branch=self.branch,
            written=self.flushed,
            flushed=self.flushed,
            applied=self.flushed,
            system_id=self.system_id,
            state=ClusterState.IN_PRODUCTION,
            control_timeline=self.control_timeline,
            checkpoint_lsn=self.checkpoint_lsn,
            has_backup_label=True,
        )


@dataclass(slots=True)
class Speed:
    """How long things take on one host, in seconds: ranges; a fault makes some of them longer for a while."""

    execute: tuple[float, float] = (0.001, 0.008)
    flush: tuple[float, float] = (0.0003, 0.004)
    long_statement: float = 0.01  # share of statements that take much longer
    start: tuple[float, float] = (0.1, 0.8)
    promote: tuple[float, float] = (0.05, 0.6)
    checkpoint: tuple[float, float] = (0.05, 0.5)
    die: tuple[float, float] = (0.0002, 0.01)  # from a signal to a backend's end
    stubborn: float = 0.02  # share of backends that a fast stop does not end
    query: tuple[float, float] = (0.001, 0.01)
    replay_lag_s: float = 0.0


@dataclass(slots=True, eq=False)
class Statement:
    """One write of a client."""

    number: int
    invoked_s: float
    node: str
    is_short: bool = False  # never one of those that take seconds
    backend: Task[None] | None = None
    on_cut: Callable[[], None] = lambda: None  # the connection ends without an answer


class Postgres:
    """The server of one node, whatever host it runs on now."""

    def __init__(self, engine: Engine, network: Network, name: str, chance: random.Random) -> None:
        self.engine = engine
        self.network = network
        self.name = name
        self.chance = chance
        self.speed = Speed()
        self.is_sync = False  # synchronous_standby_names = '*'
        self.host: Host | None = None
        self.data: Data | None = None
        self.phase = Phase.DOWN
        self.is_in_recovery = False
        self.postmaster: int | None = None  # pid; None: dead
        self.is_held = False  # the postmaster is stopped: a kill is under way
        self.statements: dict[int, Statement] = {}  # that a backend works on, by number
        self.streams: list[Stream] = []  # to standbys of this server
        self.receiver: Receiver | None = None
        self.changed = Signal()  # phase, processes or role
        self.confirmed = Signal()  # a standby said how far it is
        self.on_acknowledged: Callable[[Statement, Postgres], None] = lambda _, __: None
        self.on_promoted: Callable[[Postgres], None] = lambda _: None
        self.peers: dict[str, Postgres] = {}  # by name
        self._pids = 0
        self._tasks: list[Task[None]] = []  # of this life, backends aside
        self._is_promotion_wanted = False
        self._watches: dict[int, list[tuple[Place, Callable[[], None]]]] = {}  # whom to tell of a pid's end

    # --- what it is

    @property
    def is_accepting(self) -> bool:
        """Whether a new session gets in."""
        return self.phase is Phase.RUNNING and not self.is_held and self.postmaster is not None

    @property
    def is_primary(self) -> bool:
        """Whether it runs and takes writes."""
        return self.phase is Phase.RUNNING and not self.is_in_recovery

    @property
    def is_writable(self) -> bool:
        """Whether some statement may still be acknowledged: a session may begin, or one is under way."""
        if self.is_in_recovery or self.data is None:
            return False
        return self.phase is Phase.RUNNING or bool(self.statements)

    @property
    def process(self) -> Process:
        """Return what lives (safety_rules.md §5)."""
        if self.postmaster is not None:
            return Process.ALIVE
        return Process.ORPHANS if self.statements else Process.DOWN

    @property
    def position(self) -> int:
        """Return how far its WAL reaches: flushed on a primary, received or replayed on a standby."""
        return 0 if self.data is None else self.data.flushed

    @property
    def live_host(self) -> Host:
        """Return the host; there is one whenever anything of this server runs."""
        assert self.host is not None
        return self.host

    def takes_s(self, span: tuple[float, float]) -> float:
        """Return how long something takes this time."""
        return self.chance.uniform(*span)

    def watch(self, pid: int, place: Place, tell: Callable[[], None]) -> None:
        """Tell a place when this process has ended."""
        if pid not in (self.postmaster, self.receiver.pid if self.receiver else None):
            self.engine.soon(place, tell)
        else:
            self._watches.setdefault(pid, []).append((place, tell))

    def tell_end(self, pid: int) -> None:
        """A process has ended: tell those who watch it."""
        for place, tell in self._watches.pop(pid, ()):
            self.engine.soon(place, tell, 0.0005)

    def new_pid(self) -> int:
        """Return a pid."""
        self._pids += 1
        return self._pids

    # --- statements

    def execute(self, statement: Statement, answer: Callable[[bool], None]) -> None:  # acknowledged or not
        """Work on a client's statement; `answer` says whether it was acknowledged; nobody is told by a host that dies."""
        if not self.is_accepting or self.is_in_recovery:
            answer(False)
            return
        self.statements[statement.number] = statement
        statement.on_cut = lambda: answer(False)
        statement.backend = Task(self.live_host, self._work(statement, answer), lambda _: self._leave(statement))

    def _work(self, statement: Statement, answer: Callable[[bool], None]) -> Acts[None]:
        speed, data = self.speed, self.data
        assert data is not None
        is_long = not statement.is_short and self.chance.random() < speed.long_statement
        yield self.chance.uniform(0.3, 8.0) if is_long else self.takes_s(speed.execute)
        end = data.branch.append(self.chance.randrange(80, 400, 8), statement.number)
        data.written = end
        yield self.takes_s(speed.flush)
        self.flush(end)
        while self.is_sync and not any(stream.confirmed >= end for stream in self.streams):
            yield Wait(self.confirmed, None)
            if self.postmaster is None:
                return  # what waits for a standby hears of the postmaster's death at once
        yield self.takes_s((0.00005, 0.0005))
        self.on_acknowledged(statement, self)
        answer(True)

    def _leave(self, statement: Statement) -> None:
        if self.statements.pop(statement.number, None) is not None:
            self.changed.fire()

    def end_backend(self, statement: Statement) -> None:
        """A backend dies here and now."""
        if statement.backend is not None:
            statement.backend.kill()
        statement.on_cut()
        self._leave(statement)

    def flush(self, lsn: int) -> None:
        """WAL is on disk up to here; walsenders send it."""
        data = self.data
        if data is not None and lsn > data.flushed:
            data.flushed = lsn
            data.written = max(data.written, lsn)
            if not self.is_in_recovery:
                data.applied = lsn
            for stream in self.streams:
                stream.push()

    # --- starting

    def launch(self) -> int:
        """Start the postmaster; return its pid at once."""
        assert self.data is not None
        self.phase = Phase.STARTING
        self.is_in_recovery = True
        self.is_held = self._is_promotion_wanted = False
        self.postmaster = self.new_pid()
        self._begin(self._start_up(self.data))
        self.changed.fire()
        return self.postmaster

    def _begin(self, acts: Acts[None]) -> Task[None]:
        task: Task[None] = Task(self.live_host, acts)
        self._tasks = [known for known in self._tasks if not known.is_over]
        self._tasks.append(task)
        return task

    def _start_up(self, data: Data) -> Acts[None]:
        yield self.takes_s(self.speed.start)
        data.flushed = data.applied = data.written
        data.has_backup_label = False
        if data.has_signal:
            data.state = ClusterState.IN_ARCHIVE_RECOVERY
        else:
            self._own_branch(data)
            self._checkpoint_record(data)
            data.control_timeline = data.branch.timeline
            data.state = ClusterState.IN_PRODUCTION
            self.is_in_recovery = False
        self.phase = Phase.RUNNING
        self.changed.fire()
        if self.is_in_recovery and self.receiver is not None:
            self.receiver.start()
        if self._is_promotion_wanted:
            self.promote()

    def _own_branch(self, data: Data) -> None:
        """Write on the own timeline: where somebody else has written, or will, this is another branch of the same number."""
        if data.branch.writer != self.name or data.branch.end_lsn != data.written:
            data.branch = data.branch.fork(data.written, self.name, data.branch.timeline)

    def _checkpoint_record(self, data: Data) -> None:
        data.checkpoint_lsn = data.written
        data.written = data.flushed = data.applied = data.branch.append(CHECKPOINT_BYTES)
        for stream in self.streams:
            stream.push()

    # --- promotion and checkpoints

    def promote(self) -> None:
        """Take the signal file: promote as soon as the server is consistent."""
        if self.phase is Phase.STARTING:
            self._is_promotion_wanted = True
        elif self.phase is Phase.RUNNING and self.is_in_recovery:
            self._is_promotion_wanted = True
            self._begin(self._promotion())

    @property
    def is_promotion_pending(self) -> bool:
        """Whether it will become a primary by itself."""
        is_possible = self.phase in (Phase.STARTING, Phase.RUNNING) and self.postmaster is not None
        return self._is_promotion_wanted and self.is_in_recovery and is_possible

    def _promotion(self) -> Acts[None]:
        data = self.data
        assert data is not None
        yield self.takes_s((0.001, 0.02))
        if self.receiver is not None:
            self.receiver.stop()
        yield self.takes_s(self.speed.promote)
        if self.phase is not Phase.RUNNING or not self.is_in_recovery:
            return
        data.applied = data.written = data.flushed
        newest = max(data.branch.timeline, *(row.timeline for row in data.branch.rows()), 1)
        data.branch = data.branch.fork(data.flushed, self.name, newest + 1)
        data.has_signal = False
        data.state = ClusterState.IN_PRODUCTION
        self.is_in_recovery = self._is_promotion_wanted = False
        self.flush(data.branch.append(CHECKPOINT_BYTES))
        self.on_promoted(self)
        self.changed.fire()
        yield self.takes_s(self.speed.checkpoint)
        self.finish_checkpoint()

    def finish_checkpoint(self) -> None:
        """pg_control shows the own timeline from now on."""
        if self.data is not None and self.is_primary:
            self.data.control_timeline = self.data.branch.timeline

    # --- stopping

    def stop_fast(self) -> None:
        """Take SIGINT."""
        if self.phase in (Phase.RUNNING, Phase.STARTING) and self.postmaster is not None:
            self._end_tasks()
            self.phase = Phase.STOPPING
            if self.receiver is not None:
                self.receiver.stop()
            self._begin(self._stop_fast())
            self.changed.fire()

    def _stop_fast(self) -> Acts[None]:
        data = self.data
        assert data is not None
        for statement in list(self.statements.values()):
            if self.chance.random() >= self.speed.stubborn:
                self._end_soon(statement)
        while self.statements:
            yield Wait(self.changed, None)
        yield self.takes_s(self.speed.checkpoint)
        if self.is_in_recovery:
            data.state = ClusterState.SHUT_DOWN_IN_RECOVERY
        else:
            self._checkpoint_record(data)
            data.control_timeline = data.branch.timeline
            data.checkpoint_end_lsn, data.state = data.written, ClusterState.SHUT_DOWN
            self.changed.fire()
            while any(stream.confirmed < data.written for stream in self.streams):
                yield Wait(self.confirmed, 1.0)
        yield self.takes_s((0.005, 0.05))
        self._exit()

    def end_backends(self) -> None:
        """Take SIGTERM, those that a fast stop has not ended."""
        for statement in list(self.statements.values()):
            self._end_soon(statement)

    def _end_soon(self, statement: Statement) -> None:
        self.engine.soon(self.live_host, lambda: self.end_backend(statement), self.takes_s(self.speed.die))

    def quit(self) -> None:
        """Take SIGQUIT: every child ends as it is, then the postmaster."""
        if self.postmaster is not None and not self.is_held:
            self._end_tasks()
            self.phase = Phase.QUITTING
            self._begin(self._quit())
            self.changed.fire()

    def _quit(self) -> Acts[None]:
        for statement in list(self.statements.values()):
            self._end_soon(statement)
        if self.receiver is not None:
            self.receiver.stop()
        self._end_streams()
        deadline_s = self.engine.now_s + QUIT_GRACE_S
        while self.statements and self.engine.now_s < deadline_s:
            yield Wait(self.changed, deadline_s - self.engine.now_s)
        yield self.takes_s((0.002, 0.03))
        for statement in list(self.statements.values()):
            self.end_backend(statement)
        self._exit()

    def hold_postmaster(self) -> None:
        """Take SIGSTOP, the postmaster alone: nobody new is let in."""
        self.is_held = True

    def kill_postmaster(self) -> None:
        """Take SIGKILL, the postmaster alone: its backends go on until their statement is done."""
        if self.postmaster is not None:
            self._exit()

    def kill_all(self) -> None:
        """Everything of this server dies at once."""
        for statement in list(self.statements.values()):
            self.end_backend(statement)
        self._exit()

    def lose_power(self) -> None:
        """The host dies: what was not flushed is gone, and nobody is told."""
        for statement in self.statements.values():
            statement.on_cut = lambda: None
        self.kill_all()
        data = self.data
        if data is not None:
            if data.branch.writer == self.name and data.written == data.branch.end_lsn:
                data.branch.cut(data.flushed)
            data.written = data.flushed
            data.applied = min(data.applied, data.flushed)
        self._watches.clear()
        self.host = None

    def _exit(self) -> None:
        pid, self.postmaster = self.postmaster, None
        self.phase, self.is_held, self._is_promotion_wanted = Phase.DOWN, False, False
        self._end_tasks()
        if self.receiver is not None:
            self.receiver.stop()
        self._end_streams()
        self.confirmed.fire()
        self.changed.fire()
        if pid is not None:
            self.tell_end(pid)

    def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.kill()

    def _end_streams(self) -> None:
        for stream in list(self.streams):
            stream.end_by_sender()
