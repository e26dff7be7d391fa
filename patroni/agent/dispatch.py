"""Dispatch: the loop's orders to the agent's threads, and what they answer back as events.

Each order goes to the lane that may block for it: effects (the chain), job, files, workers. Nothing here decides anything.
Threads and their duties: design.md §3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from patroni.agent import clock, event, order
from patroni.agent import request as own
from patroni.agent.action_text import text_of
from patroni.agent.event import Payload
from patroni.agent.execute import Context, effects
from patroni.agent.file_worker import FileWorker
from patroni.agent.job import kind_of, work
from patroni.agent.lane import Lane
from patroni.agent.lease_keeper import LeaseKeeper
from patroni.agent.order import Order
from patroni.agent.perform import FAILURES, drive, limit_s
from patroni.agent.precondition import may_write_under
from patroni.agent.request import Void
from patroni.agent.shared import Shared
from patroni.agent.slot import JobSlot, Occupant
from patroni.config.load import Local
from patroni.dcs.coordinator import Coordinator
from patroni.dcs.store import Refusal, Refused, Store, perform
from patroni.decision.actions import Action, JobAction
from patroni.decision.cluster import HistoryRow, Timeline
from patroni.decision.lease import Instant, elapsed_s
from patroni.decision.node import Process
from patroni.decision.request import ReadInstant, Request
from patroni.decision.view import Answer, LeaderHistory, Silent
from patroni.fence.client import Fence
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresTimeout

T = TypeVar("T")
logger = logging.getLogger(__name__)
FILES_S = 10.0
CHAIN_FILES_S = 3.0  # a chain waits so long for the file worker: what gives up power may queue behind it
QUERY_S = 2.5
HISTORY_S = 5.0
DROP_S = 5.0


class Driver(Protocol):
    """The local Postgres."""

    def perform(self, request: Request[T], timeout_s: float, is_cancelled: Callable[[], bool] = ...) -> T:
        """Carry out one request within its time. is_cancelled: of its job; asked once `cancel` would reach this request."""

    def cancel(self) -> None:
        """End the tool or the wait of the job under way."""


class Peers(Protocol):
    """The other agents."""

    def ask_peer(self, api_url: str, timeout_s: float = 2.0) -> Answer | Silent:
        """Ask one member for its status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an agent is made of."""

    name: str
    store: Store
    coordinator: Coordinator
    driver: Driver
    peers: Peers
    keeper: LeaseKeeper
    fence: Fence
    shared: Shared
    post: Callable[[Payload], None]  # an event of now to the loop's queue
    facts: Callable[[], int]  # version of the election's facts now
    watch_exit: Callable[[int], None]  # tell `PostmasterExited` when this pid ends
    publication: Callable[[order.TouchMember], Any]  # what stands under the member key
    read_local: Callable[[], Local | None]
    save_dynamic: Callable[[], None]
    leave: Callable[[int], None]


class Dispatcher:
    """See the module. `dispatch` is called by the loop's thread and returns at once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._effects = Lane("effects")
        self._checkpoint = Lane("checkpoint")
        self._is_checkpoint_due = False
        self._is_reading_own = False
        self._slot = JobSlot(self._run_job)
        self._files = FileWorker()
        self._workers = Lane("worker", 4)
        self._peers = Lane("peer", 4)  # names that are not resolved hold up questions to peers alone

    def dispatch(self, wanted: Order) -> None:
        """Hand one order to whoever carries it out."""
        match wanted:
            case order.StartChain():
                self._effects.do(lambda: self._run_chain(wanted))
            case order.StartJob(action=action):
                self._cancel_job()
                self._take_slot(action, is_forced=True)
            case order.CancelRunningJob():
                self._cancel_job()
            case order.HurryJob():
                self._slot.hurry()
            case order.ArmFence(proof=proof):
                self._parts.keeper.arm(proof)
            case order.DisarmFence():
                self._parts.fence.disarm()
            case order.Leave(status=status):
                self._parts.leave(status)
            case _:
                self._look(wanted)

    def close(self, timeout_s: float) -> None:
        """End the threads; what is under way is cancelled."""
        self._cancel_job()
        for lane in (self._effects, self._checkpoint, self._slot, self._files, self._workers, self._peers):
            lane.close(timeout_s / 6)

    # --- chains

    def _run_chain(self, wanted: order.StartChain) -> None:
        parts = self._parts
        context = Context(
            coordinator=parts.coordinator,
            shared=parts.shared,
            can_write_under=parts.store.can_write_under,
            is_primary=wanted.is_primary,
        )
        aside = Aside(take_slot=self._take_slot, checkpoint=self._begin_checkpoint, files=self._files)
        runner = ChainRunner(parts, wanted, aside)
        ended = event.ChainEnded(number=wanted.number)
        for step, action in enumerate(wanted.actions):
            if step > 0:  # a chain that begins is known to be at its first step
                parts.post(event.ChainStepped(number=wanted.number, step=step))
            logger.debug("begin %s", action)
            try:
                drive(effects(action, context), runner.perform)
            except Exception as failure:  # noqa: BLE001  # the outermost frame of a chain; the loop awaits its end
                ended = _failed(wanted, action, failure)
                break
            logger.debug("done %s", action)
        parts.post(ended)

    def _begin_checkpoint(self, request: pg.RunCheckpoint) -> None:
        """Checkpoint on a thread of its own, one at a time: it may take minutes, and nothing waits for it."""
        if not self._is_checkpoint_due:
            self._is_checkpoint_due = True
            self._checkpoint.do(lambda: self._run_checkpoint(request))

    def _run_checkpoint(self, request: pg.RunCheckpoint) -> None:
        try:
            self._parts.driver.perform(request, limit_s(request))
        except FAILURES as failure:
            logger.warning("the checkpoint was not done: %s", failure)
        finally:
            self._is_checkpoint_due = False

    # --- the job

    def _take_slot(self, action: JobAction, *, is_forced: bool = False) -> None:
        """Put a job into the slot; one that is being cancelled ends before it begins."""
        self._slot.take(action, lambda: self._parts.post(event.JobBegan(action=action)), is_forced=is_forced)

    def _run_job(self, task: Occupant) -> None:
        """Carry out a job; the slot is free before its end is told, since the loop may order the next one at once."""
        action = task.action
        # An error that nobody foresaw is no success either; its traceback is the lane's.
        ended = event.JobEnded(action=action, is_ok=False, detail="an error of the agent itself, see its log")
        try:
            drive(work(action), lambda request: self._perform_job(task, request))
            ended = event.JobEnded(action=action, is_ok=True)
        except FAILURES as failure:
            logger.warning("%s failed: %s", kind_of(action)[0], failure)
            ended = event.JobEnded(action=action, is_ok=False, detail=str(failure))
        finally:
            self._slot.free(task)
            self._parts.post(ended)

    def _cancel_job(self) -> None:
        if self._slot.cancel():
            self._parts.driver.cancel()

    def _perform_job(self, task: Occupant, request: Request[Any]) -> object:
        if task.is_cancelled:
            raise Void("cancelled")
        parts = self._parts
        match request:
            case own.Note(phase, state, role):
                logger.info("%s", phase)
                parts.post(event.Noted(phase=phase, state=state, role=role))
                return None
            case own.IsHurried():
                return task.is_hurried
            case own.ReadLease():
                return parts.keeper.lease(clock.now())
            case own.ArmFence(proof):
                return parts.keeper.arm(proof)
            case _:
                answer = parts.driver.perform(request, limit_s(request), lambda: task.is_cancelled)
        if isinstance(request, pg.Launch):
            parts.watch_exit(answer)
        return answer

    # --- looks

    def _look(self, wanted: Order) -> None:
        match wanted:
            case order.LookAtFiles():
                self._files.do(self._look_at_files)
            case order.ReadLocal():
                self._files.do(lambda: self._parts.post(event.LocalRead(local=self._parts.read_local())))
            case order.SaveDynamic():
                self._files.do(self._parts.save_dynamic)
            case order.ReloadPostgres():
                self._files.do(lambda: self._reload(wanted))
            case order.QueryPostgres():
                self._workers.do(lambda: self._query(wanted))
            case order.ReadStore():
                self._workers.do(lambda: self._read_store(wanted))
            case order.AskPeer():
                self._peers.do(lambda: self._ask_peer(wanted))
            case order.AskLeaderHistory():
                self._begin_history(wanted)
            case order.TouchMember():
                self._workers.do(lambda: self._touch(wanted))
            case _:
                raise AssertionError(wanted)

    def _look_at_files(self) -> None:
        """Look at the data directory. Whatever comes of it is told: the loop asks again only after an answer."""
        files = None
        try:
            files = self._parts.driver.perform(pg.ReadFiles(), FILES_S)
            if files.process is Process.ALIVE and files.postmaster_pid is not None:
                self._parts.watch_exit(files.postmaster_pid)
        except FAILURES as failure:
            logger.warning("the data directory does not answer: %s", failure)
        finally:
            self._parts.post(event.FilesSeen(files=files))

    def _reload(self, wanted: order.ReloadPostgres) -> None:
        written = pg.WriteConfiguration(is_standby=wanted.is_standby, upstream=wanted.upstream, is_running=True)
        try:
            self._parts.driver.perform(written, FILES_S)
            self._parts.driver.perform(pg.Reload(), FILES_S)
        except FAILURES as failure:
            logger.error("Postgres was not reloaded: %s", failure)

    def _query(self, wanted: order.QueryPostgres) -> None:
        driver, began = self._parts.driver, clock.now()
        try:
            monitoring = driver.perform(pg.ReadMonitoring(), QUERY_S)
        except FAILURES as failure:
            logger.debug("the monitoring query got no answer: %s", failure)
            self._parts.post(event.MonitoringSeen(monitoring=None, began=began, detail=str(failure)))
            return
        timeline = self._aside(pg.ReadLocalTimeline()) if wanted.asks_timeline else None
        history = self._local_history(wanted.history_of) if wanted.history_of is not None else None
        if monitoring.walreceiver_pid is not None:
            self._parts.watch_exit(monitoring.walreceiver_pid)
        self._parts.post(event.MonitoringSeen(monitoring=monitoring, began=began, timeline=timeline, local_history=history))

    def _aside(self, request: Request[T]) -> T | None:
        """Ask for something beside the monitoring query; None: it did not say."""
        try:
            return self._parts.driver.perform(request, QUERY_S)
        except FAILURES as failure:
            logger.info("%s got no answer: %s", type(request).__name__, failure)
            return None

    def _local_history(self, timeline: Timeline) -> tuple[HistoryRow, ...] | None:
        """Let the file worker read the history file; None: it did not, and on a dead disk says so at once."""
        request = pg.ReadLocalHistory(timeline)
        try:
            return self._files.ask(lambda: self._parts.driver.perform(request, QUERY_S), QUERY_S)
        except FAILURES as failure:
            logger.info("the history file of timeline %s was not read: %s", timeline, failure)
            return None

    def _read_store(self, wanted: order.ReadStore) -> None:
        parts, began = self._parts, clock.now()
        try:
            cluster = drive(parts.coordinator.read(is_linearizable=wanted.is_linearizable), self._store_performer())
        except FAILURES as failure:
            parts.post(event.StoreSilent(detail=str(failure)))
            return
        parts.keeper.saw(cluster, clock.now(), began if wanted.is_linearizable else None)
        parts.post(event.ClusterSeen(cluster=cluster, began=began, is_linearizable=wanted.is_linearizable))

    def _ask_peer(self, wanted: order.AskPeer) -> None:
        """Ask a peer. Whatever comes of it is told: the loop asks again only after an answer."""
        began = clock.now()
        peer: Answer | Silent = Silent(age_s=0.0)
        try:
            peer = self._parts.peers.ask_peer(wanted.api_url)
        finally:
            if isinstance(peer, Answer):
                peer = replace(peer, age_s=elapsed_s(began, clock.now()))  # it may be as old as the question
            self._parts.post(event.PeerSeen(name=wanted.name, peer=peer))

    def _begin_history(self, wanted: order.AskLeaderHistory) -> None:
        """Let the file worker read what is ours, then a worker ask the leader; while a dead disk holds one, no other begins."""
        if wanted.ours is None:
            self._peers.do(lambda: self._ask_history(wanted, None))
        elif not self._is_reading_own:
            self._is_reading_own = True
            request = pg.ReadOwnTimeline(*wanted.ours)
            self._files.do(lambda: self._read_own(wanted, request))

    def _read_own(self, wanted: order.AskLeaderHistory, request: pg.ReadOwnTimeline) -> None:
        own = None
        try:
            own = self._parts.driver.perform(request, FILES_S)
        except FAILURES as failure:
            logger.info("what is ours of timeline %s was not read: %s", request.timeline, failure)
        finally:
            self._is_reading_own = False
            self._peers.do(lambda: self._ask_history(wanted, own))

    def _ask_history(self, wanted: order.AskLeaderHistory, own: pg.OwnTimeline | None) -> None:
        """Ask a leader. Whatever comes of it is told, as with a peer."""
        seen = event.HistorySeen(history=LeaderHistory(member=wanted.member, age_s=0.0, is_primary=False))
        try:
            said = self._parts.driver.perform(pg.AskRemoteHistory(wanted.conn_url, own), HISTORY_S)
            seen = event.history_seen(wanted.member, wanted.ours, said)
        except FAILURES as failure:
            logger.info("%s does not say its history: %s", wanted.member, failure)
        finally:
            self._parts.post(seen)

    def _touch(self, wanted: order.TouchMember) -> None:
        parts = self._parts
        session = parts.keeper.session
        is_ok = False
        if session is not None:
            try:
                drive(parts.coordinator.touch_member(session.id, parts.publication(wanted)), self._store_performer())
                is_ok = True
            except FAILURES as failure:
                logger.warning("the member key was not written: %s", failure)
                if isinstance(failure, Refused) and failure.why is Refusal.SESSION_GONE:
                    parts.keeper.renew_soon()
        parts.post(event.MemberTouched(is_ok=is_ok))

    def _store_performer(self) -> Callable[[Request[Any]], object]:
        return StorePerformer(self._parts.store, clock.now(), self._parts.shared.settings.retry_timeout_s).perform


class StorePerformer:
    """Carries out the store's requests of one operation, all within one deadline."""

    def __init__(self, store: Store, began: Instant, budget_s: float) -> None:
        self._store = store
        self._began = began
        self._budget_s = budget_s

    def perform(self, request: Request[Any]) -> object:
        """Carry out one request in what is left of the time."""
        if isinstance(request, ReadInstant):
            return clock.now()
        left_s = max(0.05, self._budget_s - elapsed_s(self._began, clock.now()))
        return perform(self._store, request, left_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """What a chain hands on without waiting for it."""

    take_slot: Callable[[JobAction], None]
    checkpoint: Callable[[pg.RunCheckpoint], None]
    files: FileWorker


class ChainRunner:
    """Carries out the requests of one chain, none of them after a newer epoch has begun."""

    def __init__(self, parts: Parts, wanted: order.StartChain, aside: Aside) -> None:
        self._parts = parts
        self._wanted = wanted
        self._epoch = wanted.epoch
        self._aside = aside
        self._is_over = False  # no answer came in time: what is still under way promotes nobody
        self._store = StorePerformer(parts.store, clock.now(), parts.shared.settings.retry_timeout_s)

    def perform(self, request: Request[Any]) -> object:
        """Carry out one request; raise `Void` if the chain has been voided."""
        parts = self._parts
        if parts.keeper.epoch != self._epoch and not isinstance(request, own.Note):  # a note tells what has had its effect
            raise Void("a newer epoch has begun")
        match request:
            case own.ReadLease():
                return parts.keeper.lease(clock.now())
            case own.ReadFactsAge():
                is_same = parts.facts() == self._wanted.facts
                return elapsed_s(self._wanted.facts_at, clock.now()) if is_same else None
            case own.ReadSession():
                if parts.keeper.session is None:
                    raise Void("no session is open")
                return parts.keeper.session
            case own.TakeLock(proof):
                self._epoch = parts.keeper.take(proof, if_epoch=self._epoch)
                return None
            case own.DropLock():
                self._epoch = parts.keeper.begin_drop(if_epoch=self._epoch)
                if not parts.keeper.await_dropped(DROP_S):
                    raise Void("the keeper's last answer did not come")
                return None
            case _:
                return self._perform_rest(request)

    def _perform_rest(self, request: Request[Any]) -> object:
        parts = self._parts
        match request:
            case own.ArmFence(proof):
                return parts.keeper.arm(proof)
            case own.BeginJob(action):
                self._aside.take_slot(action)
                return None
            case pg.RunCheckpoint():
                self._aside.checkpoint(request)
                return None
            case own.Note(phase, state, role):
                parts.post(event.Noted(phase=phase, state=state, role=role))
                return None
            case pg.ReadFiles() | pg.WriteConfiguration() | pg.Reload() | pg.SignalPromote():
                asked = replace(request, is_due=self._may_promote) if isinstance(request, pg.SignalPromote) else request
                return self._ask_files(asked)
            case _ if type(request).__module__ == pg.__name__:
                return parts.driver.perform(request, limit_s(request))
            case _:
                return self._store.perform(request)

    def _may_promote(self) -> bool:
        """Whether a promotion may still be signalled: a disk that was slow has used up time since it was decided."""
        keeper = self._parts.keeper
        return not self._is_over and keeper.epoch == self._epoch and may_write_under(keeper.lease(clock.now()))

    def _ask_files(self, request: Request[Any]) -> object:
        def perform_files() -> object:
            answer: object = self._parts.driver.perform(request, CHAIN_FILES_S)
            return answer

        try:
            return self._aside.files.ask(perform_files, CHAIN_FILES_S)
        except PostgresTimeout:
            self._is_over = True
            raise


def _failed(wanted: order.StartChain, action: Action, failure: Exception) -> event.ChainEnded:
    """Say why a chain went no further than this action."""
    if isinstance(failure, FAILURES):
        logger.info("%s: not done, %s", text_of(action), _reason(failure))
    else:
        logger.error("%s: failed", text_of(action), exc_info=failure)
    is_refusal = isinstance(failure, Refused | Void)
    return event.ChainEnded(number=wanted.number, failed=action, is_refusal=is_refusal, detail=str(failure))


def _reason(failure: Exception) -> str:
    """Return why something was not done; the store's bare verdicts in a sentence."""
    return _REFUSALS.get(str(failure), str(failure))


_REFUSALS = {
    Refusal.EXISTS.value: "somebody else has written the key first",
    Refusal.CHANGED.value: "somebody else has changed or removed the key meanwhile",
    Refusal.GONE.value: "the key does not exist any more",
    Refusal.NOT_OURS.value: "the leader lock is not ours any more",
    Refusal.SESSION_GONE.value: "our session in the store has ended",
}
