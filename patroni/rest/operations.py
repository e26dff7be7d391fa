"""Operators' and peers' requests that do something: what a handler may ask for, and the port that the agent implements.

Handlers are generators of these requests (design.md §3), so that tables test them without a thread; the server's worker
threads run them against `Operations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, assert_never

from patroni.decision.cluster import Cluster, FailoverRequest, Lsn, Member, SlotName, Token
from patroni.decision.lease import elapsed_s
from patroni.decision.request import Request, Steps
from patroni.decision.view import Answer, Silent
from patroni.rest.message import Response
from patroni.rest.snapshot import Clock


@dataclass(frozen=True, slots=True)
class ReadCluster(Request[Cluster | None]):
    """Read the cluster anew, linearizable; None: the store did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """What a wait ended with."""

    cluster: Cluster | None  # None: the store did not answer
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class AwaitCluster(Request[Waited]):
    """Wait for a change in the store, at most `within_s`; then read the cluster, linearizable."""

    within_s: float


@dataclass(frozen=True, slots=True)
class WriteFailover(Request[bool]):
    """Write the failover key, `{}` for None, over that version if there is a token; False: refused, or no answer."""

    failover: FailoverRequest | None
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class AskMembers(Request[Mapping[str, Answer | Silent]]):
    """Ask these members for their status, in parallel, 2 s each; the answer is by member name."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Wake(Request[None]):
    """Make the loop look again now."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailsafeCall:
    """What a primary that lost the store says of itself (contract/rest_api.md §13.1)."""

    name: str
    conn_url: str
    api_url: str
    slots: Mapping[SlotName, Lsn] = field(default_factory=dict)  # by slot name


class FailsafeVerdict(Enum):
    """Whether the caller may go on as leader, as far as this node is concerned."""

    ACCEPTED = "accepted"
    LEADER = "leader"  # this node holds, is acquiring, or has used the lock in this epoch (safety_rules.md §8)
    OFF = "off"  # failsafe mode is off


@dataclass(frozen=True, slots=True, kw_only=True)
class FailsafeAnswer:
    """The verdict and, if accepted and known, this node's position as the loop remembers it."""

    verdict: FailsafeVerdict
    lsn: Lsn | None = None


@dataclass(frozen=True, slots=True)
class AcceptFailsafe(Request[FailsafeAnswer]):
    """Judge the call and remember it if accepted, excluding AcquireLock meanwhile; no store, no SQL."""

    call: FailsafeCall


class Operations(Protocol):
    """What the agent does for handlers. Called from worker threads, several at once; each call is bounded in time."""

    def read_cluster(self) -> Cluster | None:
        """See `ReadCluster`; at most `retry_timeout`."""

    def await_cluster(self, within_s: float) -> Cluster | None:
        """See `AwaitCluster`."""

    def write_failover(self, failover: FailoverRequest | None, token: Token | None) -> bool:
        """See `WriteFailover`."""

    def ask_members(self, members: Sequence[Member]) -> Mapping[str, Answer | Silent]:
        """See `AskMembers`."""

    def wake(self, why: str) -> None:
        """See `Wake`."""

    def accept_failsafe(self, call: FailsafeCall) -> FailsafeAnswer:
        """See `AcceptFailsafe`."""


Operation = ReadCluster | AwaitCluster | WriteFailover | AskMembers | Wake | AcceptFailsafe


def run(steps: Steps[Response | None], operations: Operations, clock: Clock) -> Response | None:
    """Carry out a handler's requests one after the other; None: the connection closes without an answer (§2.7)."""
    try:
        request = next(steps)
        while True:
            request = steps.send(_perform(request, operations, clock))  # type: ignore[arg-type]  # handlers yield nothing else
    except StopIteration as end:
        response: Response | None = end.value
        return response


def _perform(request: Operation, operations: Operations, clock: Clock) -> object:
    match request:
        case ReadCluster():
            return operations.read_cluster()
        case AwaitCluster(within_s):
            began = clock.now()
            cluster = operations.await_cluster(within_s)
            return Waited(cluster=cluster, elapsed_s=elapsed_s(began, clock.now()))
        case WriteFailover(failover, token):
            return operations.write_failover(failover, token)
        case AskMembers(members):
            return operations.ask_members(members)
        case Wake(why):
            operations.wake(why)
            return None
        case AcceptFailsafe(call):
            return operations.accept_failsafe(call)
        case _:
            assert_never(request)
