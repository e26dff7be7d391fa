"""What the agent's lanes do with the loop's orders: a mirror of `agent/dispatch.py` in simulated time.

Effects and jobs are the real generators; only who drives them is another one. Before each request there is a step at which
a fault may strike, and the model of Postgres or the store makes another one between a request and its effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from patroni.agent import event, order
from patroni.agent import request as own
from patroni.agent.dispatch import CHAIN_FILES_S, DROP_S, FILES_S, HISTORY_S, QUERY_S
from patroni.agent.execute import Context
from patroni.agent.job import kind_of
from patroni.agent.order import Order
from patroni.agent.perform import FAILURES, limit_s
from patroni.agent.precondition import may_write_under
from patroni.agent.request import Void
from patroni.agent.slot import Occupant
from patroni.dcs.store import Refused
from patroni.decision.actions import JobAction
from patroni.decision.lease import elapsed_s
from patroni.decision.node import Process
from patroni.decision.request import Request
from patroni.decision.view import LeaderHistory
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError, PostgresTimeout
from tests.simulation import rest_model
from tests.simulation.agent_model import Agent, StorePerformer, drive
from tests.simulation.driver import CANCELLABLE
from tests.simulation.engine import Acts, Place, Signal, Task, Wait


class Lane:
    """So many threads with one queue of works."""

    def __init__(self, place: Place, threads: int = 1) -> None:
        self._place = place
        self._free = threads
        self._works: deque[Callable[[], Acts[None]]] = deque()
        self.running: Task[None] | None = None  # the last one begun

    def do(self, work: Callable[[], Acts[None]]) -> None:
        """Queue a work."""
        self._works.append(work)
        self._begin()

    def _begin(self) -> None:
        while self._free > 0 and self._works:
            self._free -= 1
            self.running = Task(self._place, self._works.popleft()(), self._ended)

    def _ended(self, _: None) -> None:
        self._free += 1
        self._begin()


class Lanes:
    """Effects, job, files and workers of one agent."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._effects = Lane(agent.place)
        self._job = Lane(agent.place)
        self._files = Lane(agent.place)
        self._workers = Lane(agent.place, 4)
        self._peers = Lane(agent.place, 4)
        self._is_reading_own = False
        self._task: Occupant | None = None  # in the slot
        self._is_cancellable = False

    def dispatch(self, wanted: Order) -> None:
        """Hand one order to whoever carries it out."""
        match wanted:
            case order.StartChain():
                self._effects.do(lambda: self._run_chain(wanted))
            case order.StartJob(action=action):
                self._cancel_job()
                self.take_slot(action)
            case order.CancelRunningJob():
                self._cancel_job()
            case order.HurryJob():
                if self._task is not None:
                    self._task.is_hurried = True
            case order.ArmFence(proof=proof):
                self.agent.arm(proof)
            case order.DisarmFence():
                self.agent.fence.disarm()
            case order.LookAtFiles():
                self._files.do(self._look_at_files)
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

    # --- chains

    def _run_chain(self, wanted: order.StartChain) -> Acts[None]:
        agent = self.agent
        context = Context(
            coordinator=agent.coordinator,
            shared=agent.shared,
            can_write_under=not agent.site.link.server.is_plain,
            is_primary=wanted.is_primary,
        )
        runner = ChainRunner(agent, wanted, self)
        for step, action in enumerate(wanted.actions):
            agent.post(event.ChainStepped(number=wanted.number, step=step))
            try:
                yield from drive(agent.site.parts.effects(action, context), runner.perform)
            except FAILURES as failure:
                is_refusal = isinstance(failure, Refused | Void)
                agent.post(event.ChainEnded(number=wanted.number, failed=action, is_refusal=is_refusal, detail=str(failure)))
                return
        agent.post(event.ChainEnded(number=wanted.number))

    # --- the job

    def take_slot(self, action: JobAction) -> None:
        """Put a job into the slot; one that is being cancelled ends before it begins."""
        if self._task is not None and not self._task.is_cancelled:
            raise Void(f"busy: {kind_of(self._task.action)[0]}")
        task = self._task = Occupant(action)
        self.agent.post(event.JobBegan(action=action))
        self._job.do(lambda: self._run_job(task))

    @property
    def job(self) -> JobAction | None:
        """What is in the slot."""
        return self._task.action if self._task is not None else None

    def _run_job(self, task: Occupant) -> Acts[None]:
        ended = event.JobEnded(action=task.action, is_ok=True)
        try:
            yield from drive(self.agent.site.parts.work(task.action), lambda request: self._perform_job(task, request))
        except FAILURES as failure:
            ended = event.JobEnded(action=task.action, is_ok=False, detail=str(failure))
        if self._task is task:
            self._task = None
        self.agent.post(ended)

    def _cancel_job(self) -> None:
        if self._task is None:
            return
        self._task.is_cancelled = True
        if self._is_cancellable and self._job.running is not None:
            self._job.running.interrupt(PostgresError("cancelled"))

    def _perform_job(self, task: Occupant, request: Request[Any]) -> Acts[Any]:
        agent = self.agent
        agent.site.on_step(agent, "job")
        yield agent.site.host.lag_s()
        if task.is_cancelled:
            raise Void("cancelled")
        match request:
            case own.Note(phase, state, role):
                agent.post(event.Noted(phase=phase, state=state, role=role))
                return None
            case own.IsHurried():
                return task.is_hurried
            case own.ReadLease():
                return agent.keeper.lease(agent.now())
            case own.ArmFence(proof):
                return agent.arm(proof)
            case _:
                return (yield from self._perform_postgres(request))

    def _perform_postgres(self, request: Request[Any]) -> Acts[Any]:
        self._is_cancellable = isinstance(request, CANCELLABLE)
        try:
            answer = yield from self.agent.site.driver.perform(request, limit_s(request))
        finally:
            self._is_cancellable = False
        if isinstance(request, pg.Launch):
            self.watch_exit(answer)
        return answer

    # --- looks

    def watch_exit(self, pid: int) -> None:
        """Tell the loop when this process ends."""
        agent = self.agent
        agent.site.driver.postgres.watch(pid, agent.place, lambda: agent.post(event.PostmasterExited(pid=pid)))

    def _look_at_files(self) -> Acts[None]:
        agent = self.agent
        files = yield from agent.site.driver.perform(pg.ReadFiles(), FILES_S)
        if files.process is Process.ALIVE and files.postmaster_pid is not None:
            self.watch_exit(files.postmaster_pid)
        agent.post(event.FilesSeen(files=files))

    def ask_files(self, request: Request[Any]) -> Acts[Any]:
        """Let the file worker carry out a request of a chain, which waits for it; as `agent/file_worker.py` does."""
        agent, news = self.agent, Signal()
        came: list[tuple[Any, Exception | None]] = []
        is_over: list[bool] = []

        def carry_out() -> Acts[None]:
            if is_over:
                return
            try:
                came.append(((yield from agent.site.driver.perform(request, CHAIN_FILES_S)), None))
            except FAILURES as failure:
                came.append((None, failure))
            news.fire()

        self._files.do(carry_out)
        if not came:
            yield Wait(news, agent.site.host.lasts_s(CHAIN_FILES_S))
        is_over.append(True)
        if not came:
            raise PostgresTimeout("the data directory does not answer")
        answer, failure = came[0]
        if failure is not None:
            raise failure
        return answer

    def _query(self, wanted: order.QueryPostgres) -> Acts[None]:
        agent, driver, began = self.agent, self.agent.site.driver, self.agent.now()
        try:
            monitoring = yield from driver.perform(pg.ReadMonitoring(), QUERY_S)
            timeline = (yield from driver.perform(pg.ReadLocalTimeline(), QUERY_S)) if wanted.asks_timeline else None
            history = None
            if wanted.history_of is not None:
                history = yield from self.ask_files(pg.ReadLocalHistory(wanted.history_of))
        except FAILURES as failure:
            agent.post(event.MonitoringSeen(monitoring=None, began=began, detail=str(failure)))
            return
        if monitoring.walreceiver_pid is not None:
            self.watch_exit(monitoring.walreceiver_pid)
        agent.post(event.MonitoringSeen(monitoring=monitoring, began=began, timeline=timeline, local_history=history))

    def _read_store(self, wanted: order.ReadStore) -> Acts[None]:
        agent, began = self.agent, self.agent.now()
        perform = StorePerformer(agent, "worker", agent.shared.settings.retry_timeout_s).perform
        try:
            cluster = yield from drive(agent.coordinator.read(is_linearizable=wanted.is_linearizable), perform)
        except FAILURES as failure:
            agent.post(event.StoreSilent(detail=str(failure)))
            return
        agent.saw(cluster, began if wanted.is_linearizable else None)
        agent.post(event.ClusterSeen(cluster=cluster, began=began, is_linearizable=wanted.is_linearizable))

    def _ask_peer(self, wanted: order.AskPeer) -> Acts[None]:
        peer = yield from rest_model.ask_peer(self.agent, wanted.api_url)
        self.agent.post(event.PeerSeen(name=wanted.name, peer=peer))

    def _begin_history(self, wanted: order.AskLeaderHistory) -> None:
        if wanted.ours is None:
            self._peers.do(lambda: self._ask_history(wanted, None))
        elif not self._is_reading_own:
            self._is_reading_own = True
            request = pg.ReadOwnTimeline(*wanted.ours)
            self._files.do(lambda: self._read_own(wanted, request))

    def _read_own(self, wanted: order.AskLeaderHistory, request: pg.ReadOwnTimeline) -> Acts[None]:
        mine = None
        with suppress(*FAILURES):  # the leader is asked all the same
            mine = yield from self.agent.site.driver.perform(request, FILES_S)
        self._is_reading_own = False
        self._peers.do(lambda: self._ask_history(wanted, mine))

    def _ask_history(self, wanted: order.AskLeaderHistory, mine: pg.OwnTimeline | None) -> Acts[None]:
        agent = self.agent
        try:
            said = yield from agent.site.driver.perform(pg.AskRemoteHistory(wanted.conn_url, mine), HISTORY_S)
        except FAILURES:
            seen = event.HistorySeen(history=LeaderHistory(member=wanted.member, age_s=0.0, is_primary=False))
        else:
            seen = event.history_seen(wanted.member, wanted.ours, said)
        agent.post(seen)

    def _touch(self, wanted: order.TouchMember) -> Acts[None]:
        agent = self.agent
        session = agent.keeper.session
        is_ok = False
        if session is not None:
            perform = StorePerformer(agent, "worker", agent.shared.settings.retry_timeout_s).perform
            steps = agent.coordinator.touch_member(session.id, rest_model.publication(wanted))
            try:
                yield from drive(steps, perform)
                is_ok = True
            except FAILURES:
                pass  # the event says so
        agent.post(event.MemberTouched(is_ok=is_ok))


class ChainRunner:
    """Carries out the requests of one chain, none of them after a newer epoch has begun."""

    def __init__(self, agent: Agent, wanted: order.StartChain, lanes: Lanes) -> None:
        self._agent = agent
        self._lanes = lanes
        self._wanted = wanted
        self._epoch = wanted.epoch
        self._is_over = False
        self._store = StorePerformer(agent, "chain", agent.shared.settings.retry_timeout_s)

    def perform(self, request: Request[Any]) -> Acts[Any]:
        """Carry out one request; raise `Void` if the chain has been voided."""
        agent = self._agent
        agent.site.on_step(agent, "chain")
        yield agent.site.host.lag_s()
        keeper = agent.keeper
        if keeper.epoch != self._epoch and not isinstance(request, own.Note):
            raise Void("a newer epoch has begun")
        match request:
            case own.ReadLease():
                return keeper.lease(agent.now())
            case own.ReadFactsAge():
                is_same = agent.loop.observed.facts == self._wanted.facts
                return elapsed_s(self._wanted.facts_at, agent.now()) if is_same else None
            case own.ReadSession():
                if keeper.session is None:
                    raise Void("no session is open")
                return keeper.session
            case own.TakeLock(proof):
                self._epoch = keeper.take(proof, if_epoch=self._epoch)
                agent.poke_keeper()
                return None
            case own.DropLock():
                return (yield from self._drop())
            case _:
                return (yield from self._perform_rest(request))

    def _drop(self) -> Acts[None]:
        agent = self._agent
        self._epoch = agent.keeper.begin_drop(if_epoch=self._epoch)
        agent.poke_keeper()
        deadline_s = agent.place.engine.now_s + agent.site.host.lasts_s(DROP_S)
        while not agent.keeper.is_dropped:
            left_s = deadline_s - agent.place.engine.now_s
            if left_s <= 0:
                raise Void("the keeper's last answer did not come")
            yield Wait(agent.keeper_news, left_s)

    def _perform_rest(self, request: Request[Any]) -> Acts[Any]:
        agent = self._agent
        match request:
            case own.ArmFence(proof):
                return agent.arm(proof)
            case own.BeginJob(action):
                self._lanes.take_slot(action)
                return None
            case own.Note(phase, state, role):
                agent.post(event.Noted(phase=phase, state=state, role=role))
                return None
            case pg.ReadFiles() | pg.WriteConfiguration() | pg.Reload() | pg.SignalPromote():
                return (yield from self._ask_files(request))
            case _ if type(request).__module__ == pg.__name__:
                return (yield from agent.site.driver.perform(request, limit_s(request)))
            case _:
                return (yield from self._store.perform(request))

    def _ask_files(self, request: Request[Any]) -> Acts[Any]:
        asked = replace(request, is_due=self._may_promote) if isinstance(request, pg.SignalPromote) else request
        try:
            return (yield from self._lanes.ask_files(asked))
        except PostgresTimeout:
            self._is_over = True
            raise

    def _may_promote(self) -> bool:
        keeper = self._agent.keeper
        return not self._is_over and keeper.epoch == self._epoch and may_write_under(keeper.lease(self._agent.now()))
