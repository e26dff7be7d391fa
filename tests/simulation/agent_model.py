"""One agent: the real loop, keeper, fence, effects and jobs, driven by the queue of events instead of threads.

An `Agent` is one process from start to end. Each thread of the real one is an actor here: loop, keeper, watch, and the lanes
for effects, job, files and workers; each blocks where the real one blocks. What runs in the lanes is in `lanes.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from patroni.agent import event, order
from patroni.agent.event import Event, Payload
from patroni.agent.lease_keeper import LeaseKeeper, Renewal
from patroni.agent.loop import Loop, Turn
from patroni.agent.main import RETRY_S
from patroni.agent.perform import FAILURES
from patroni.agent.shared import Shared
from patroni.agent.threads import LONGEST_WAIT_S
from patroni.dcs.coordinator import Coordinator
from patroni.dcs.layout import cluster_from
from patroni.dcs.store import DcsUnavailable, Refused, Snapshot
from patroni.decision.cluster import Cluster
from patroni.decision.lease import Instant, Proof, elapsed_s
from patroni.decision.request import ReadInstant, Request, Steps
from patroni.decision.settings import Settings
from patroni.fence.client import InProcessFence
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError, StopMode
from tests.simulation.driver import Driver
from tests.simulation.engine import Acts, Place, Signal, Task, Wait
from tests.simulation.host import Host, Network
from tests.simulation.parts import Parts
from tests.simulation.store_link import Caller, StoreLink, Watch
from tests.simulation.store_model import PREFIX

TURN_S = (0.0005, 0.003)
CONFIGURATION = {"ttl": 30, "postgresql": {"use_pg_rewind": True}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What an agent finds where it is started."""

    name: str
    host: Host
    network: Network
    link: StoreLink
    driver: Driver
    parts: Parts
    settings: Settings
    chance: random.Random
    agents: dict[str, Agent | None]  # those that live now, by name
    on_step: Callable[[Agent, str], None]  # before each step of an actor: where a fault may strike
    on_request: Callable[[Agent, str, Request[Any]], None]  # an actor sends this to the store
    on_turn: Callable[[Agent, Turn], None]
    on_view: Callable[[Agent, Cluster, Instant | None], None]  # the keeper has seen this, asked for then if linearizable
    on_leave: Callable[[Agent, int], None]


class StorePerformer:
    """The store's requests of one operation, all within one deadline; as in `agent/dispatch.py`."""

    def __init__(self, agent: Agent, actor: str, budget_s: float, began: Instant | None = None) -> None:
        """began: since when the budget is used; None: since now."""
        self._agent = agent
        self._actor = actor
        self._began = began or agent.now()
        self._budget_s = budget_s

    def perform(self, request: Request[Any]) -> Acts[Any]:
        """Carry out one request in what is left of the time."""
        agent = self._agent
        if isinstance(request, ReadInstant):
            return agent.now()
        agent.site.on_request(agent, self._actor, request)
        left_s = max(0.05, self._budget_s - elapsed_s(self._began, agent.now()))
        return (yield from agent.site.link.call(Caller(agent.site.host, agent.place, self._actor), request, left_s))


def drive(steps: Steps[Any], perform: Callable[[Request[Any]], Acts[Any]]) -> Acts[Any]:
    """Run a generator of requests to its end, as `agent/perform.py` does, waiting in simulated time."""
    try:
        request = next(steps)
        while True:
            try:
                answer = yield from perform(request)
            except FAILURES as failure:
                request = steps.throw(failure)
            else:
                request = steps.send(answer)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


class Agent:
    """One running agent."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.name = site.name
        self.place = Place(site.host.engine, f"agent {site.name}", site.host)
        self.shared = Shared(settings=site.settings, dynamic_configuration=CONFIGURATION)
        parts = site.parts
        self.fence: InProcessFence = parts.fence(
            lambda: self._fence_acts.append(pg.SignalStop(StopMode.IMMEDIATE)), lambda: self._fence_acts.append(pg.KillAll())
        )
        self.keeper: LeaseKeeper = parts.keeper(
            site.name, self.fence, ttl_s=site.settings.ttl_s, emit=self.post_of, chance=site.chance
        )
        self.coordinator: Coordinator = parts.coordinator(prefix=PREFIX, name=site.name)
        self.loop: Loop = parts.loop(site.name, self.keeper, lambda: self.shared.settings, self.now(), chance=site.chance)
        self.published: Turn | None = None
        self.monitoring: pg.Monitoring | None = None  # as published with it
        self.keeper_news = Signal()
        self._fence_acts: list[Request[Any]] = []
        self._queue: list[Event] = []
        self._has_begun = False  # its loop; until then events wait in the queue
        self._is_turn_due = False
        self._wake = 0
        self._dispatch_order: Callable[[order.Order], None] | None = None

    def start(self, dispatch: Callable[[order.Order], None]) -> None:
        """Begin. dispatch: takes the loop's orders, as `lanes.Lanes` does."""
        self._dispatch_order = dispatch
        Task(self.place, self._begin())

    def _begin(self) -> Acts[None]:
        """Wait for a first view as `agent/main.py` does; until then there is no loop, and Postgres stays as it is."""
        while True:
            perform = StorePerformer(self, "start", self.site.settings.retry_timeout_s).perform
            try:
                yield from drive(self.coordinator.read(is_linearizable=True), perform)
            except FAILURES:
                yield self.site.host.lasts_s(RETRY_S)
            else:
                break
        self._has_begun = True
        Task(self.place, self._keep())
        Watch(self.site.link, self.site.host, self.place, self._watched)
        self._plan_turn()

    def stop(self) -> None:
        """Take SIGTERM; before the loop has begun there is nothing to hand over."""
        if self._has_begun:
            self.post(event.Signalled(number=15))
        else:
            self._leave(0)

    def now(self) -> Instant:
        """Read the host's clocks."""
        return self.site.host.now()

    @property
    def is_frozen(self) -> bool:
        """Whether this agent, or its host, stands still."""
        return self.place.is_stopped

    # --- the loop

    def post(self, payload: Payload) -> None:
        """Put an event of now into the loop's queue."""
        self.post_of(self.keeper.epoch, payload)

    def post_of(self, epoch: int, payload: Payload) -> None:
        """Put an event of an epoch into the loop's queue."""
        self._queue.append(Event(epoch=epoch, sent=self.now(), payload=payload))
        self._plan_turn()

    def _plan_turn(self) -> None:
        if self._has_begun and not self._is_turn_due:
            self._is_turn_due = True
            delay_s = self.site.chance.uniform(*TURN_S) + self.site.host.lag_s()
            self.place.engine.soon(self.place, self._turn, delay_s)

    def _turn(self) -> None:
        self.site.on_step(self, "turn")
        if self.is_frozen or self.place.is_dead:
            self.place.engine.soon(self.place, self._take_turn)
        else:
            self._take_turn()

    def _take_turn(self) -> None:
        self._is_turn_due = False
        events, self._queue = self._queue, []
        turn = self.loop.turn(self.now(), self.site.host.wall(), events)
        self.loop.carried_out(turn)
        self.published, self.monitoring = turn, self.loop.observed.monitoring
        self.site.on_turn(self, turn)
        self.poke_keeper()
        if turn.orders:
            self.place.engine.soon(self.place, lambda: self._dispatch(turn), 0.0002)
        self._wake += 1
        wake, delay_s = self._wake, self.site.host.lasts_s(max(0.0, turn.wake_at_s - self.now().boot_s))
        self.place.engine.timer(self.place, lambda: self._woken(wake), min(delay_s, 3600.0))

    def _woken(self, wake: int) -> None:
        if wake == self._wake:
            self._plan_turn()

    def _dispatch(self, turn: Turn) -> None:
        for wanted in turn.orders:
            if isinstance(wanted, order.Leave):
                self._leave(wanted.status)
                return
            assert self._dispatch_order is not None
            self._dispatch_order(wanted)

    def _leave(self, status: int) -> None:
        self.place.die()
        self.site.on_leave(self, status)

    # --- the keeper

    def arm(self, proof: Proof) -> bool:
        """Arm the fence."""
        is_armed = self.keeper.arm(proof)
        self.poke_keeper()
        return is_armed

    def poke_keeper(self) -> None:
        """Wake the keeper if another actor changed its state while it waits."""
        if self.keeper._state is not self.keeper._stepped:
            self.keeper_news.fire()

    def _keep(self) -> Acts[None]:
        """Do what `agent/threads.py` does in the keeper's thread."""
        site, keeper = self.site, self.keeper
        while True:
            began = self.now()
            wanted = keeper.step(began)
            yield from self._do_fence_acts()
            if wanted.renewal is not None:
                site.on_step(self, "keeper")
                yield site.host.lag_s()
                yield from self._renew(wanted.renewal, began)
                self.keeper_news.fire()
                yield from self._do_fence_acts()
            elif keeper._state is keeper._stepped:
                yield Wait(self.keeper_news, site.host.lasts_s(min(wanted.wait_s, LONGEST_WAIT_S)))
            yield site.host.lag_s()

    def saw(self, cluster: Cluster, began: Instant | None) -> None:
        """A view arrived; what the fence orders because of it is done at once, whatever the keeper waits for."""
        self.keeper.saw(cluster, self.now(), began)
        self.site.on_view(self, cluster, began)
        self.poke_keeper()
        if self._fence_acts:
            Task(self.place, self._do_fence_acts())

    def _do_fence_acts(self) -> Acts[None]:
        """Carry out what the fence has ordered; the keeper's thread waits for it."""
        while self._fence_acts:
            request = self._fence_acts.pop(0)
            self.site.on_step(self, "fence")
            yield self.site.host.lag_s()
            with suppress(PostgresError):  # the real one logs it
                yield from self.site.driver.perform(request, 5.0)

    def _renew(self, renewal: Renewal, began: Instant) -> Acts[None]:
        keeper = self.keeper
        perform = StorePerformer(self, "keeper", renewal.timeout_s, began).perform
        try:
            renewed = yield from drive(self.site.parts.send(renewal, self.coordinator), perform)
        except Refused as refusal:
            keeper.refused(renewal, refusal.why, str(refusal), self.now())
            return
        except DcsUnavailable as silence:
            keeper.silent(renewal, str(silence), self.now())
            return
        if renewed.cluster is not None:
            self.saw(renewed.cluster, renewed.sent)
        keeper.renewed(renewal, renewed)
        if renewed.cluster is not None:
            self.post(event.ClusterSeen(cluster=renewed.cluster, began=renewed.sent, is_linearizable=True))

    # --- the watch

    def _watched(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            self.post(event.StoreSilent(detail="the stream broke"))
            return
        cluster = cluster_from(snapshot, PREFIX)
        self.saw(cluster, snapshot.began)
        began = snapshot.began or self.now()
        self.post(event.ClusterSeen(cluster=cluster, began=began, is_linearizable=snapshot.is_linearizable))
