"""Replication: a standby's walreceiver and the streams that walsenders keep to it.

Bytes arrive in order; a cut way holds them up until it is mended or the walreceiver gives up. A standby follows its upstream
to another timeline only if its own replay has not passed the point where that one began; where it has, it stays behind until
somebody rewinds it. Two timelines of one number are not told apart by Postgres either: the standby stumbles over the first
record that does not fit.
"""

from __future__ import annotations

from patroni.decision.node import ClusterState, Upstream
from tests.simulation.engine import Acts, Signal, Task, Wait
from tests.simulation.postgres_model import Data, Phase, Postgres

RETRY_S = 5.0  # wal_retrieve_retry_interval
TIMEOUT_S = (5.0, 30.0)  # from a cut way to the end of a stream


class Stream:
    """From one server to one standby."""

    def __init__(self, sender: Postgres, receiver: Receiver, slot: str | None) -> None:
        self.sender = sender
        self.receiver = receiver
        self.slot = slot
        self.confirmed = 0  # what the standby said that it has flushed
        self.pid = sender.new_pid()
        self.is_over = False
        self._sent = -1
        self._is_under_way = False
        sender.streams.append(self)
        sender.network.on_change(self._way_changed)

    def push(self) -> None:
        """Send what is new."""
        host = self.receiver.postgres.host
        if self.is_over or self._is_under_way or host is None or self.sender.data is None:
            return
        self._is_under_way = True
        self.sender.engine.soon(host, self._arrive, self.sender.network.delay_s())

    def _arrive(self) -> None:
        """All that the sender has flushed by now arrives."""
        sender, standby = self.sender, self.receiver.postgres
        if self.is_over or not sender.network.is_open(sender.name, standby.name):
            return  # held up until the way is mended, or nobody is there any more
        self._is_under_way = False
        data = sender.data
        assert data is not None
        if data.flushed == self._sent:
            return
        self._sent = data.flushed
        if not self.receiver.take(data):
            self.end()
            return
        lsn = standby.position
        if not sender.is_sync and sender.phase is Phase.RUNNING:
            self.confirmed = max(self.confirmed, lsn)  # nobody waits for it: not worth a message
        elif sender.host is not None:
            sender.network.send(standby.name, sender.host, sender.name, lambda: self._confirm(lsn))

    def _confirm(self, lsn: int) -> None:
        if not self.is_over and lsn > self.confirmed:
            self.confirmed = lsn
            self.sender.confirmed.fire()

    def _way_changed(self) -> None:
        if self.is_over:
            return
        network, there = self.sender.network, self.receiver.postgres
        if network.is_open_both(self.sender.name, there.name):
            if self._is_under_way:
                self._is_under_way = False
            self._sent = -1
            self.push()
        elif there.host is not None:
            limit_s = self.sender.chance.uniform(*TIMEOUT_S)
            self.sender.engine.soon(there.host, self._give_up, limit_s)

    def _give_up(self) -> None:
        if not self.is_over and not self.sender.network.is_open_both(self.sender.name, self.receiver.postgres.name):
            self.end()

    def end_by_sender(self) -> None:
        """The walsender is gone: the standby hears of it if anything reaches it; else it finds out by its own time."""
        self._leave()
        standby = self.receiver.postgres
        if standby.host is None:
            return
        is_heard = self.sender.host is not None and self.sender.network.is_open(self.sender.name, standby.name)
        delay_s = self.sender.network.delay_s() if is_heard else self.sender.chance.uniform(*TIMEOUT_S)
        self.sender.engine.soon(standby.host, lambda: self.receiver.ended(self), delay_s)

    def end(self) -> None:
        """The stream is over, by the standby."""
        self._leave()
        self.receiver.ended(self)

    def _leave(self) -> None:
        self.is_over = True
        if self in self.sender.streams:
            self.sender.streams.remove(self)
            self.sender.confirmed.fire()


class Receiver:
    """The walreceiver of one standby, and whoever starts it again."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.pid: int | None = None  # of the walreceiver; None: none runs
        self.stream: Stream | None = None
        self.is_stuck = False  # its history does not fit the upstream's
        self._task: Task[None] | None = None
        self._news = Signal()

    def start(self) -> None:
        """Begin to look for the upstream."""
        self.stop()
        self.is_stuck = False
        self._task = Task(self.postgres.live_host, self._run())

    def stop(self) -> None:
        """End walreceiver and stream."""
        if self._task is not None:
            self._task.kill()
            self._task = None
        self._drop()

    def reload(self) -> None:
        """Follow the configured upstream if it is another one."""
        if self._task is not None:
            self.start()

    def ended(self, stream: Stream) -> None:
        """A stream has ended."""
        if self.stream is stream:
            self._drop()

    def _drop(self) -> None:
        stream, self.stream = self.stream, None
        pid, self.pid = self.pid, None
        if stream is not None and not stream.is_over:
            stream._leave()
        if pid is not None:
            self.postgres.tell_end(pid)
        self._news.fire()

    def _run(self) -> Acts[None]:
        engine = self.postgres.engine
        while True:
            began_s = engine.now_s
            yield self.postgres.network.delay_s() * 3
            data = self.postgres.data
            upstream = data.upstream if data is not None else None
            if data is not None and upstream is not None and self._connect(data, upstream):
                yield Wait(self._news, None)
            yield max(0.05, began_s + RETRY_S - engine.now_s)

    def _connect(self, data: Data, upstream: Upstream) -> bool:
        """Begin to stream; return whether that was possible."""
        sender = self.postgres.peers.get(upstream.host)
        if sender is None or sender.data is None or not sender.is_accepting or sender is self.postgres:
            return False
        if not sender.network.is_open_both(sender.name, self.postgres.name):
            return False
        slot = upstream.slot
        if slot is not None and (slot not in sender.data.slots or any(stream.slot == slot for stream in sender.streams)):
            return False
        self.is_stuck = not self._fits(data, sender.data)
        if self.is_stuck:
            return False
        self.pid = self.postgres.new_pid()
        self.stream = Stream(sender, self, slot)
        self.stream.push()
        return True

    def _fits(self, mine: Data, theirs: Data) -> bool:
        """Whether the upstream's history goes on where the own replay has come to."""
        if theirs.branch is mine.branch:
            return mine.applied <= theirs.flushed
        left = theirs.branch.left_at(mine.branch)
        return left is not None and mine.applied <= left and mine.applied <= theirs.flushed

    def take(self, theirs: Data) -> bool:
        """Write, flush and replay what arrived; False: it does not fit."""
        mine = self.postgres.data
        if mine is None or not self._fits(mine, theirs):
            self.is_stuck = mine is not None
            return False
        is_other = theirs.branch is not mine.branch
        mine.branch = theirs.branch
        mine.flushed = theirs.flushed if is_other else max(mine.flushed, theirs.flushed)
        mine.written = mine.flushed
        lag_s = self.postgres.speed.replay_lag_s
        if lag_s <= 0:
            self._replay(mine, mine.flushed)
        else:
            lsn = mine.flushed
            self.postgres.engine.soon(self.postgres.live_host, lambda: self._replay(mine, lsn), lag_s)
        for stream in self.postgres.streams:
            stream.push()
        return True

    def _replay(self, data: Data, lsn: int) -> None:
        if self.postgres.data is data and self.postgres.phase is Phase.RUNNING and self.postgres.is_in_recovery:
            data.applied = max(data.applied, min(lsn, data.flushed))
            data.control_timeline = data.branch.timeline if data.state is ClusterState.IN_ARCHIVE_RECOVERY else 1
