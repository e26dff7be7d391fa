"""The way to the store: each request may be late, lost, doubled or carried out after its client has given up.

Promised to the client what the real backends promise: an answer within the timeout, or DcsUnavailable. Nothing is promised
about when, or how often, the server carries the request out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from patroni.dcs.store import DcsUnavailable, ReadPrefix, Refused, Snapshot
from patroni.decision.request import Request
from tests.simulation.engine import Acts, Call, Engine, Place, Signal, Task, Wait
from tests.simulation.host import Host, Network
from tests.simulation.store_model import NAME, PREFIX, StoreServer

NEXT_ENDPOINT_S = 0.05


@dataclass(slots=True)
class Trouble:
    """How requests fare now; a fault makes it worse for a while. Shares between 0 and 1."""

    lost: float = 0.0
    lost_answer: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    late_s: float = 5.0  # mean of what a late one takes


@dataclass(slots=True)
class _Reply:
    """What came back, once something did."""

    signal: Signal
    value: object = None
    error: Exception | None = None
    is_there: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends: from which host and place, and by which actor's connection."""

    host: Host
    place: Place
    actor: str


class StoreLink:
    """Sends requests of all hosts to the one store."""

    def __init__(self, engine: Engine, network: Network, server: StoreServer, chance: random.Random) -> None:
        self.engine = engine
        self.network = network
        self.server = server
        self.trouble = Trouble()
        self._chance = chance
        self._held_up: list[tuple[str, Call]] = []  # requests that wait for their way to be mended, by sender
        network.on_change(self._flush)

    def call(self, caller: Caller, request: Request[Any], timeout_s: float) -> Acts[object]:
        """Send one request and wait for its answer, at most so long on the host's clock."""
        host = caller.host
        deadline_s = self.engine.now_s + host.lasts_s(timeout_s)
        while True:
            reply = _Reply(Signal())
            self._send(caller, request, reply)
            yield Wait(reply.signal, deadline_s - self.engine.now_s)
            if not reply.is_there:
                raise DcsUnavailable("no answer in time")
            if reply.error is None:
                return reply.value
            if isinstance(reply.error, Refused) or not self.server.is_deposed_for(host.name, caller.actor):
                raise reply.error
            if self.engine.now_s + NEXT_ENDPOINT_S >= deadline_s:
                raise reply.error
            yield NEXT_ENDPOINT_S
            self.server.leave_deposed(host.name, caller.actor)  # the next endpoint, at once

    # --- one request

    def _send(self, caller: Caller, request: Request[Any], reply: _Reply) -> None:
        chance, trouble, name = self._chance, self.trouble, caller.host.name
        if chance.random() < trouble.lost:
            return
        self._carry(name, lambda: self._arrive(caller, request, reply), self._delay_s())
        if chance.random() < trouble.doubled:
            again = _Reply(Signal())
            delay_s = self._delay_s() + chance.expovariate(1.0 / trouble.late_s)
            self._carry(name, lambda: self._arrive(caller, request, again), delay_s)

    def _delay_s(self) -> float:
        delay_s = self.network.delay_s()
        if self._chance.random() < self.trouble.late:
            delay_s += self._chance.expovariate(1.0 / self.trouble.late_s)
        return delay_s

    def _carry(self, sender: str, arrive: Call, delay_s: float) -> None:
        """Bring a request to the server; where the way is cut, TCP may repeat it until the way is mended."""

        def deliver() -> None:
            if self.network.is_open(sender, NAME):
                arrive()
            elif self._chance.random() < 0.5:
                self._held_up.append((sender, arrive))

        self.engine.soon(self.server.place, deliver, delay_s)

    def _flush(self) -> None:
        kept: list[tuple[str, Call]] = []
        for sender, arrive in self._held_up:
            if self.network.is_open(sender, NAME):
                self._carry(sender, arrive, self._chance.uniform(0.0, 1.0))
            else:
                kept.append((sender, arrive))
        self._held_up = kept

    def _arrive(self, caller: Caller, request: Request[Any], reply: _Reply) -> None:
        name = caller.host.name
        try:
            value, error = self.server.handle(request, name, caller.actor), None
        except (Refused, DcsUnavailable) as failure:
            value, error = None, failure
        if self._chance.random() < self.trouble.lost_answer:
            return

        def answer() -> None:
            if self.network.is_open(NAME, name) and not reply.is_there:
                reply.value, reply.error, reply.is_there = value, error, True
                reply.signal.fire()

        self.engine.soon(caller.place, answer, self._delay_s())


class Watch:
    """One agent's stream of snapshots: in order, several changes may be one; it may fall silent before it breaks."""

    FIRST_PAUSE_S = 0.1
    LONGEST_PAUSE_S = 2.0
    CONNECT_S = 5.0

    def __init__(self, link: StoreLink, host: Host, place: Place, tell: Callable[[Snapshot | None], None]) -> None:
        """tell: takes each snapshot, or None when the stream has broken; called at the place."""
        self._link = link
        self._host = host
        self._place = place
        self._caller = Caller(host, place, "watch")
        self._tell = tell
        self._broken = Signal()
        self._is_open = False
        self._is_under_way = False
        self._left = 0  # snapshots that left the server
        self._arrived = 0  # number of the last one that arrived
        link.server.on_change.append(self._changed)
        link.network.on_change(self._way_changed)
        Task(place, self._run())

    def _run(self) -> Acts[None]:
        pause_s = self.FIRST_PAUSE_S
        while True:
            began = self._host.now()
            try:
                first = yield from self._link.call(self._caller, ReadPrefix(PREFIX, True), self.CONNECT_S)
            except (DcsUnavailable, Refused):
                self._tell(None)
                yield self._host.lasts_s(pause_s)
                pause_s = min(pause_s * 2, self.LONGEST_PAUSE_S)
                continue
            pause_s = self.FIRST_PAUSE_S
            assert isinstance(first, Snapshot)
            self._tell(replace(first, began=began))
            self._is_open = True
            self._changed()  # what happened between the read and now
            yield Wait(self._broken, None)
            self._is_open = False
            self._tell(None)

    def _changed(self) -> None:
        """Something changed in the store: send it, unless something is on its way already and will take it along."""
        link = self._link
        if self._place.is_dead:
            link.server.on_change = [call for call in link.server.on_change if call != self._changed]
        if not self._is_open or self._is_under_way or self._place.is_dead:
            return
        self._is_under_way = True
        link.engine.soon(link.server.place, self._leave, link.network.delay_s())

    def _leave(self) -> None:
        """Leave the server, with what it has by now."""
        link = self._link
        if not link.network.is_open(NAME, self._host.name):
            return  # TCP repeats it when the way is mended
        snapshot = link.server.snapshot(self._host.name)
        self._is_under_way = False
        if snapshot is not None:
            self._left += 1
            number = self._left
            link.engine.soon(self._place, lambda: self._arrive(number, snapshot), link.network.delay_s())

    def _arrive(self, number: int, snapshot: Snapshot) -> None:
        """Take one snapshot; a stream keeps its order, so an older one that comes later is part of the newer."""
        if self._is_open and number > self._arrived:
            self._arrived = number
            self._tell(snapshot)

    def _way_changed(self) -> None:
        """A cut stream goes on when the way is mended in time; else it breaks."""
        if self._place.is_dead or not self._is_open:
            return
        if self._link.network.is_open_both(self._host.name, NAME):
            self._is_under_way = False
            self._changed()
        else:
            self._link.engine.timer(self._place, self._break, self._link._chance.uniform(2.0, 20.0))

    def _break(self) -> None:
        if not self._link.network.is_open_both(self._host.name, NAME):
            self._broken.fire()
