"""Play a generator of requests by hand: answer each from a table, let one fail, and see what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from patroni.agent import request as own
from patroni.agent.perform import FAILURES
from patroni.agent.request import Void
from patroni.dcs import store
from patroni.dcs.store import DcsUnavailable, Entry, Refusal, Refused, Session, Snapshot
from patroni.decision.cluster import Revision, Token
from patroni.decision.lease import Lease
from patroni.decision.node import DataDirectory, Process
from patroni.decision.request import ReadInstant, Request, Steps
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError, PostgresTimeout, Readiness
from tests.agent.builders import LOCK, SESSION, TTL_S, at, files, held

FAULTS = (
    DcsUnavailable("silence"),
    Refused(Refusal.CHANGED),
    PostgresError("failed"),
    PostgresTimeout("silence"),
    Void("void"),
)
Answer = object | Callable[[Request[Any]], object]  # an exception is thrown


def entry(request: Request[Any]) -> Entry:
    """Return the entry that a write makes."""
    assert isinstance(request, store.Create | store.Write)
    return Entry(
        key=request.key,
        value=request.value,
        token=Token("7"),
        incarnation=LOCK,
        revision=Revision(7),
        session=request.session,
    )


ANSWERS: Mapping[type[Request[Any]], Answer] = {
    ReadInstant: at(1000.0),
    store.RenewSession: Session(id=SESSION, ttl_s=TTL_S),
    store.ReadPrefix: Snapshot(entries={}, revision=Revision(6), is_linearizable=True),
    store.ProveLock: Snapshot(entries={}, revision=Revision(7), is_linearizable=True),
    store.Create: entry,
    store.Write: entry,
    own.ReadLease: held(),
    own.ReadFactsAge: 0.1,
    own.ReadSession: Session(id=SESSION, ttl_s=TTL_S),
    own.ArmFence: True,
    own.IsHurried: False,
    pg.ReadFiles: files(Process.DOWN),
    pg.AskRemoteHistory: pg.RemoteHistory(is_primary=True, system_id=None, timeline=None),
    pg.Launch: 4711,
    pg.AwaitReady: Readiness.ACCEPTING,
    pg.AwaitDown: True,
}
EMPTY = files(Process.DOWN, data_directory=DataDirectory.EMPTY, control=None)
FREE = Lease()  # no lock is ours


@dataclass(slots=True)
class Played:
    """What came of it."""

    asked: list[Request[Any]] = field(default_factory=list)
    fault: Exception | None = None

    @property
    def kinds(self) -> list[str]:
        """Return what was asked, in order, by name; notes are left out."""
        return [type(request).__name__ for request in self.asked if not isinstance(request, own.Note)]

    def count(self, kind: type[Request[Any]]) -> int:
        return sum(isinstance(request, kind) for request in self.asked)


def play(
    steps: Steps[None],
    answers: Mapping[type[Request[Any]], Answer] | None = None,
    failing: tuple[int, Exception] | None = None,
) -> Played:
    """Play it to its end. answers: what differs from ANSWERS. failing: the index of a request that fails, and how.

    A list among the answers is taken one by one, its last one for the rest.
    """
    table = {**ANSWERS, **(answers or {})}
    queues = {kind: list(answer) for kind, answer in table.items() if isinstance(answer, list)}
    played = Played()
    try:
        request = next(steps)
        while True:
            index = len(played.asked)
            played.asked.append(request)
            answer = answer_of(request, table, queues)
            if failing is not None and failing[0] == index:
                answer = failing[1]
            request = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
    except StopIteration:
        pass
    except FAILURES as fault:
        played.fault = fault
    return played


def answer_of(
    request: Request[Any], table: Mapping[type[Request[Any]], Answer], queues: Mapping[type[Request[Any]], list[object]]
) -> object:
    queue = queues.get(type(request))
    answer = table.get(type(request)) if queue is None else queue.pop(0) if len(queue) > 1 else queue[0]
    return answer(request) if callable(answer) else answer
