"""What was acknowledged and is missing, and what the elections say of it.

Replication is asynchronous here, so a failover may lose what no standby had received. Promised is: each lost row lies beyond
the winner's position at its election, and the winner was at most `maximum_lag_on_failover` behind the last published one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.support.node import Node
from tests.support.writer import Acknowledged

MAXIMUM_LAG_BYTES = 1048576
_ELECTION = re.compile(
    r"^([-\d]+ [\d:]+),(\d+) INFO: acquiring the leader lock \(lsn=(\d+), last published=(\d+)\)", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """A node that went for the lock, from its log: when (epoch seconds), where it was, what had been published last."""

    at_s: float
    node: str
    lsn: int
    published: int

    @property
    def lag_bytes(self) -> int:
        """Return how far it was behind the last published position; 0: not at all."""
        return max(0, self.published - self.lsn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A lost row: how old it was when its server was killed, and the election that went on without it, if one was found."""

    row: Acknowledged
    age_s: float
    election: Election | None

    @property
    def is_explained(self) -> bool:
        """Return whether the row lies beyond the winner's position."""
        if self.election is None:
            return False
        return self.row.end_lsn is None or self.row.end_lsn > self.election.lsn

    def __str__(self) -> str:
        """Describe it in a line."""
        at = "its position is unknown" if self.row.end_lsn is None else f"it ends at {self.row.end_lsn}"
        election = self.election
        if election is None:
            return f"row {self.row.number} of timeline {self.row.timeline}: no election is known that went on without it"
        return (
            f"row {self.row.number} of timeline {self.row.timeline}: acknowledged {self.age_s:.3f} s before the kill, {at};"
            f" {election.node} won at {election.lsn}, last published {election.published}"
        )


def elections(nodes: Sequence[Node]) -> list[Election]:
    """Return all elections that the nodes' logs tell of, in the order of their time."""
    return sorted((each for node in nodes for each in _elections_of(node.name, node.log())), key=lambda each: each.at_s)


def _elections_of(node: str, log: str) -> list[Election]:
    return [
        Election(
            at_s=datetime.strptime(when, "%Y-%m-%d %H:%M:%S").astimezone().timestamp() + int(thousandths) / 1000,
            node=node,
            lsn=int(lsn),
            published=int(published),
        )
        for when, thousandths, lsn, published in _ELECTION.findall(log)
    ]


def explained(rows: Sequence[Acknowledged], kills_s: Sequence[float], held: Sequence[Election], offset_s: float) -> list[Loss]:
    """Pair each lost row with the kill and the election after it.

    kills_s: monotonic times, ascending. held: in the order of time. offset_s: what makes a monotonic time an epoch one.
    """
    losses = []
    for row in rows:
        kill_s = next((at_s for at_s in kills_s if at_s >= row.invoked_s), row.acknowledged_s)
        election = next((each for each in held if each.at_s >= row.invoked_s + offset_s), None)
        losses.append(Loss(row=row, age_s=kill_s - row.acknowledged_s, election=election))
    return losses
