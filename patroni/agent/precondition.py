"""Preconditions of effects and jobs, asked for in the step of the effect (safety_rules.md §6).

Each raises `Void` where it does not hold: what was decided is then void, and the loop goes round. Who may lead is decided in
`decision/`; here it is only looked at whether what that was decided on still stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from patroni.agent.perform import FAILURES
from patroni.agent.request import ReadFactsAge, ReadLease, Void
from patroni.dcs.store import Create, Write
from patroni.decision.candidate import FACTS_S
from patroni.decision.lease import Lease, Proof
from patroni.decision.node import ClusterState, Process
from patroni.decision.request import Steps, ask
from patroni.postgres import request as pg

T = TypeVar("T")
WRITE_S = 2.0  # of lease to make Postgres writable, and what share of the ttl
WRITE_OF_TTL = 0.25


def require_facts() -> Steps[None]:
    """The facts of the election are those of the decision, and young enough."""
    age_s = yield from ask(ReadFactsAge())
    if age_s is None or age_s > FACTS_S:
        raise Void("the facts of the election have changed, or are too old")


def require_lease(at_least_s: float, of_ttl: float = 0.0) -> Steps[Proof]:
    """So much of the lease is left, and this share of the ttl that the store granted; returns its proof."""
    lease = yield from ask(ReadLease())
    if lease.proof is None or not _is_enough(lease, at_least_s, of_ttl):
        raise Void("too little of the lease is left")
    return lease.proof


def _is_enough(lease: Lease, at_least_s: float, of_ttl: float) -> bool:
    return lease.proof is not None and lease.is_held and lease.left_s >= max(at_least_s, of_ttl * lease.proof.ttl_s)


def may_write_under(lease: Lease) -> bool:
    """Return whether enough of the lease is left to make Postgres writable under it."""
    return _is_enough(lease, WRITE_S, WRITE_OF_TTL)


def require_lease_to_write() -> Steps[Proof]:
    """Enough of the lease is left to make Postgres writable under it; returns its proof."""
    return (yield from require_lease(WRITE_S, of_ttl=WRITE_OF_TTL))


def require_no_lock() -> Steps[None]:
    """The lock is not ours: nobody takes this data directory for the newest one."""
    lease = yield from ask(ReadLease())
    if lease.proof is not None:
        raise Void("the lock is ours")


def require_shut_down() -> Steps[None]:
    """No server is here that may write: it is down, has shut down, or has never left its recovery."""
    files = yield from ask(pg.ReadFiles())
    has_shut_down = files.control is not None and files.control.cluster_state is ClusterState.SHUT_DOWN
    is_standby = files.process is Process.ALIVE and files.has_recovery_signal
    if files.process is not Process.DOWN and not has_shut_down and not is_standby:
        raise Void("a server that may write is there")


def checked(steps: Steps[T], check: Callable[[], Steps[None]]) -> Steps[T]:
    """Carry out an operation of the store, and check again right before each write: the renewal before it takes time."""
    try:
        request = next(steps)
        while True:
            if isinstance(request, Create | Write):
                yield from check()
            try:
                answer = yield request
            except FAILURES as failure:
                request = steps.throw(failure)
            else:
                request = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()
