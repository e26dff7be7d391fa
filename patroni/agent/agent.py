"""The agent: its threads around one loop, from start to end. What each does: design.md §3.

The main thread takes turns; everything that happens reaches it through one queue, which a signal handler may use as well.
"""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from patroni.agent import clock, order
from patroni.agent.answers import Answers, Clocks
from patroni.agent.dispatch import Dispatcher, Driver, Parts, Peers
from patroni.agent.event import AddressesChanged, Event, LocalRead, Payload, PostmasterExited, ReloadWanted, Signalled
from patroni.agent.exit_watch import ExitWatch
from patroni.agent.lane import Lane
from patroni.agent.lease_keeper import LeaseKeeper
from patroni.agent.loop import Loop, Turn
from patroni.agent.network import Network
from patroni.agent.order import Order
from patroni.agent.reconfigure import Reconfigurer
from patroni.agent.shared import Shared
from patroni.agent.threads import KeeperThread, WatchThread
from patroni.dcs.coordinator import Coordinator
from patroni.dcs.store import Store
from patroni.decision.cluster import Cluster, Role
from patroni.decision.leader_race import is_standing_back
from patroni.decision.lease import Instant
from patroni.decision.node import Process
from patroni.decision.view import View
from patroni.fence.client import InProcessFence
from patroni.postgres.request import KillAll, PostgresError, SignalStop, StopMode
from patroni.rest.config import ClientConfig, RestConfig
from patroni.rest.server import RestServer
from patroni.rest.service import Ports
from patroni.rest.snapshot import Snapshot

logger = logging.getLogger(__name__)
SIGNAL_S = 1.0
KILL_S = 5.0
CLOSE_S = 5.0
NAPS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an agent is built from."""

    name: str
    scope: str
    own_version: str
    store: Store
    coordinator: Coordinator
    driver: Driver
    peers: Peers
    shared: Shared
    rest: RestConfig
    publication: Callable[[order.TouchMember, RestConfig], Any]
    use_client: Callable[[ClientConfig], None]  # other credentials and certificates towards the peers
    reconfigurer: Reconfigurer
    data_dir: str


class Agent:
    """One running agent."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._queue: SimpleQueue[Event] = SimpleQueue()
        self._status: int | None = None
        self._exits = ExitWatch(lambda pid: self.post(PostmasterExited(pid=pid)))
        fence = InProcessFence(self._quit_postgres, self._kill_postgres)
        chance = random.Random()
        settings = plan.shared.settings
        self._keeper = LeaseKeeper(plan.name, fence, ttl_s=settings.ttl_s, emit=self._post_of, chance=chance)
        self._loop = Loop(plan.name, self._keeper, lambda: plan.shared.settings, clock.now(), chance=chance)
        self._parts = Parts(
            name=plan.name,
            store=plan.store,
            coordinator=plan.coordinator,
            driver=plan.driver,
            peers=plan.peers,
            keeper=self._keeper,
            fence=fence,
            shared=plan.shared,
            post=self.post,
            facts=lambda: self._loop.observed.facts,
            watch_exit=self._exits.watch,
            publication=lambda touch: plan.publication(touch, self._network.rest),
            read_local=plan.reconfigurer.read,
            save_dynamic=lambda: plan.reconfigurer.save(plan.data_dir),
            leave=self._leave,
        )
        self._answers = Answers(self._parts, self._first_snapshot())
        ports = Ports(
            snapshot=self._answers.snapshot,
            authority=self._answers.authority,
            probe=self._answers.probe,
            operations=self._answers,
            clock=Clocks(),
        )
        self._rest = RestServer(plan.rest, ports)
        self._network = Network(plan.rest, self._rest.reconfigure, plan.use_client)
        self._reloads: Lane | None = None  # of the network's settings; begun by the first
        self._seen_cluster: Cluster | None = None
        self._is_reload_due = False
        self._is_save_due = True

    def bind(self) -> None:
        """Take the REST address; OSError names it if it is not ours to take."""
        self._rest.bind()

    def run(self) -> int:
        """Run until a signal or a decision ends it; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        return self.serve()

    def serve(self) -> int:
        """Run until a decision ends it, on any thread; return the exit status."""
        dispatcher = Dispatcher(self._parts)
        keeper = KeeperThread(self._keeper, self._plan.coordinator, self._plan.store, self.post)
        watch = WatchThread(self._keeper, self._plan.store, self._plan.coordinator.prefix, self.post)
        keeper.start()
        watch.start()
        self._rest.start()
        try:
            self._take_turns(dispatcher)
        finally:
            if self._reloads is not None:
                self._reloads.close(1.0)
            self._rest.stop(1.0)
            watch.close(1.0)
            dispatcher.close(CLOSE_S)
            keeper.close(CLOSE_S)
            self._exits.close()
            self._plan.store.close()
        return self._status or 0

    def post(self, payload: Payload) -> None:
        """Put an event of now into the queue; from any thread, never blocks."""
        self._post_of(self._keeper.epoch, payload)

    # --- the loop's thread

    def _take_turns(self, dispatcher: Dispatcher) -> None:
        wake_at_s = clock.now().boot_s
        while self._status is None:
            events = self._arrived(max(0.0, wake_at_s - clock.now().boot_s))
            try:
                turn = self._turn(dispatcher, events)
            except Exception:  # the loop's outermost frame: the lease is not renewed by a loop that cannot decide
                logger.exception("a turn failed")
                self._loop.broke_off()
                wake_at_s = clock.now().boot_s + 1.0
                continue
            wake_at_s = turn.wake_at_s
            try:
                for wanted in self._reconfigured(turn.view, events):
                    dispatcher.dispatch(wanted)
            except Exception:  # a fault in the settings costs no order of the turn before it
                logger.exception("changed settings were not taken over")

    def _arrived(self, wait_s: float) -> list[Event]:
        """Wait for the first event at most so long, then take all that is there."""
        events: list[Event] = []
        try:
            events.append(self._queue.get(timeout=min(wait_s, NAPS)))
            while True:
                events.append(self._queue.get_nowait())
        except Empty:
            return events

    def _turn(self, dispatcher: Dispatcher, events: list[Event]) -> Turn:
        """Take one turn and hand out its orders. REST hears of it before it has an effect."""
        turn = self._loop.turn(clock.now(), clock.wall(), events)
        self._answers.publish(self._snapshot(turn), is_giving_up=turn.is_giving_up, has_led=turn.has_led)
        for wanted in turn.orders:
            dispatcher.dispatch(wanted)
        self._loop.carried_out(turn)
        return turn

    def _reconfigured(self, view: View, events: list[Event]) -> list[Order]:
        """Take over changed settings; return the orders that make Postgres and the cache follow."""
        orders: list[Order] = []
        reconfigurer = self._plan.reconfigurer
        for payload in (happened.payload for happened in events):
            if isinstance(payload, ReloadWanted):
                orders.append(order.ReadLocal())
            elif isinstance(payload, LocalRead):
                self._is_reload_due = True
                if payload.local is not None:
                    reconfigurer.take_local(payload.local)
                    self._reload_network()
        if view.cluster is not None and view.cluster is not self._seen_cluster:
            self._seen_cluster, self._is_save_due = view.cluster, True
            self._is_reload_due = reconfigurer.take_view(view.cluster) or self._is_reload_due
        node = view.node
        is_settled = node.job is None and view.chain is None and node.process is Process.ALIVE
        if self._is_reload_due and is_settled and node.is_in_recovery is not None:
            self._is_reload_due = False
            orders.append(order.ReloadPostgres(is_standby=node.is_in_recovery, upstream=node.upstream))
        if self._is_save_due and is_settled and node.role is not Role.UNINITIALIZED:
            self._is_save_due = False
            orders.append(order.SaveDynamic())
        return orders

    def _reload_network(self) -> None:
        """Let REST and the client towards peers follow, on a thread that may block; the member key comes after them."""
        configuration = self._plan.reconfigurer.configuration
        if self._reloads is None:
            self._reloads = Lane("reload")

        def follow() -> None:
            self._network.follow(configuration)
            self.post(AddressesChanged())

        self._reloads.do(follow)

    def _first_snapshot(self) -> Snapshot:
        now = clock.now()
        settings = self._plan.shared.settings
        return Snapshot(
            scope=self._plan.scope,
            own_version=self._plan.own_version,
            node=self._loop.observed.node(now, settings),
            settings=settings,
            next_run=now,
        )

    def _snapshot(self, turn: Turn) -> Snapshot:
        observed = self._loop.observed
        seen = observed.cluster_began
        wall_s = turn.view.wall.timestamp()
        next_run = Instant(boot_s=turn.wake_at_s, raw_s=clock.now().raw_s + max(0.0, turn.wake_at_s - turn.view.now_s))
        return Snapshot(
            scope=self._plan.scope,
            own_version=self._plan.own_version,
            settings=self._plan.shared.settings,
            node=turn.view.node,
            monitoring=observed.monitoring,
            cluster=observed.cluster,
            cluster_seen=seen,
            dcs_last_seen_s=int(wall_s - (turn.view.cluster_age_s or 0.0)) if seen is not None else 0,
            failsafe=observed.cluster.failsafe if observed.cluster is not None else {},
            guard=observed.guard,
            is_out_of_race=is_standing_back(turn.view),
            next_run=next_run,
            decisions=self._loop.journal.tail(),
            chain=str(turn.view.chain.code) if turn.view.chain is not None else None,
        )

    # --- other threads and signals

    def _post_of(self, epoch: int, payload: Payload) -> None:
        self._queue.put(Event(epoch=epoch, sent=clock.now(), payload=payload))

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        payload: Payload = ReloadWanted() if number == signal.SIGHUP else Signalled(number=number)
        self._queue.put(Event(epoch=0, sent=clock.now(), payload=payload))

    def _leave(self, status: int) -> None:
        self._status = status

    def _quit_postgres(self) -> None:
        """SIGQUIT for the fence; runs on the keeper's thread."""
        self._end_postgres(SignalStop(StopMode.IMMEDIATE), SIGNAL_S)

    def _kill_postgres(self) -> None:
        """The kill for the fence; runs on the keeper's thread."""
        self._end_postgres(KillAll(), KILL_S)

    def _end_postgres(self, request: SignalStop | KillAll, timeout_s: float) -> None:
        try:
            self._plan.driver.perform(request, timeout_s)
        except PostgresError as error:
            logger.error("fence: %s", error)
