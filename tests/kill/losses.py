"""What was acknowledged and is missing, and what the elections say of it.

Replication is asynchronous here, so a failover may lose what no standby had received. Promised is: each lost row lies beyond
the winner's position at its election, and the winner was at most `maximum_lag_on_failover` behind the last published one.
A row that its own server lost, without an election, is never explained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.support.writer import Acknowledged

MAXIMUM_LAG_BYTES = 1048576
_RACE = re.compile(r"INFO: (?:acquiring|adopting) the leader lock .*\(lsn=(\d+), last published=(\d+|None)\)")
_NEW_TIMELINE = re.compile(r"LOG:  selected new timeline ID: (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """A node that won the lock and was promoted, from its log: where it was, and what had been published last."""

    node: str
    timeline: int  # that it began
    lsn: int
    published: int

    @property
    def lag_bytes(self) -> int:
        """Return how far it was behind the last published position; 0: not at all."""
        return max(0, self.published - self.lsn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A lost row: how old it was when something was killed, and the election that went on without it, if there was one."""

    row: Acknowledged
    age_s: float
    election: Election | None

    @property
    def is_explained(self) -> bool:
        """Return whether the row may lie beyond the winner's position: one that surely ends before it was there to be kept."""
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
            f" {election.node} won timeline {election.timeline} at {election.lsn}, last published {election.published}"
        )


def elections(logs: Sequence[tuple[str, str]]) -> list[Election]:
    """Return the elections that led to a promotion, by the timeline that each began. logs: node and what its agent wrote."""
    return sorted((each for node, log in logs for each in _won(node, log)), key=lambda each: each.timeline)


def _won(node: str, log: str) -> Iterator[Election]:
    """Yield a node's promotions, each with its last attempt at the lock; who came too late was not promoted after it."""
    race: tuple[int, int] | None = None
    for line in log.splitlines():
        if found := _RACE.search(line):
            race = int(found[1]), 0 if found[2] == "None" else int(found[2])
        elif (found := _NEW_TIMELINE.search(line)) and race is not None:
            yield Election(node=node, timeline=int(found[1]), lsn=race[0], published=race[1])
            race = None


def explained(rows: Sequence[Acknowledged], kills_s: Sequence[float], held: Sequence[Election]) -> list[Loss]:
    """Pair each lost row with the kill after it and with the election that ended its timeline.

    kills_s: monotonic times, ascending. held: by timeline.
    """
    losses = []
    for row in rows:
        kill_s = next((at_s for at_s in kills_s if at_s >= row.invoked_s), row.acknowledged_s)
        election = next((each for each in held if each.timeline > row.timeline), None)
        losses.append(Loss(row=row, age_s=kill_s - row.acknowledged_s, election=election))
    return losses
