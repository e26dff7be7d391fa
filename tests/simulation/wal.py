"""WAL: histories as branches. One branch is one timeline as one server wrote it; what lies before it is its parent's.

Real timelines have numbers, and two servers that were promoted without knowing of each other take the same one; branches
tell them apart, which only the checkers may do. A position is a branch and a byte position on its history.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from patroni.decision.cluster import HistoryRow, Lsn, Timeline

FIRST_LSN = 0x1000000
CHECKPOINT_BYTES = 120


@dataclass(eq=False, slots=True)
class Branch:
    """One timeline, written by one server."""

    timeline: int
    writer: str
    parent: Branch | None = None
    switch_lsn: int = FIRST_LSN  # where it left its parent
    end_lsn: int = FIRST_LSN
    writes: list[tuple[int, int]] = field(default_factory=list)  # (end of the commit record, number of the statement)

    def append(self, size_bytes: int, write: int | None = None) -> int:
        """Add a record, a statement's commit if `write` names one; return where it ends."""
        self.end_lsn += size_bytes
        if write is not None:
            self.writes.append((self.end_lsn, write))
        return self.end_lsn

    def cut(self, lsn: int) -> None:
        """Forget what was written beyond this position: it was not flushed when the host died."""
        self.end_lsn = max(self.switch_lsn, min(self.end_lsn, lsn))
        while self.writes and self.writes[-1][0] > self.end_lsn:
            self.writes.pop()

    def fork(self, lsn: int, writer: str, timeline: int) -> Branch:
        """Return a new branch that leaves this one here."""
        return Branch(timeline=timeline, writer=writer, parent=self, switch_lsn=lsn, end_lsn=lsn)

    def rows(self) -> tuple[HistoryRow, ...]:
        """Return the ended timelines of this history, oldest first, as the history file has them."""
        rows: list[HistoryRow] = []
        branch = self
        while branch.parent is not None:
            if branch.parent.timeline != branch.timeline:
                row = HistoryRow(
                    timeline=Timeline(branch.parent.timeline), lsn=Lsn(branch.switch_lsn), reason="no recovery target specified"
                )
                rows.append(row)
            branch = branch.parent
        return tuple(reversed(rows))

    def line(self) -> Iterator[Branch]:
        """Yield this branch and those before it."""
        branch: Branch | None = self
        while branch is not None:
            yield branch
            branch = branch.parent

    def left_at(self, old: Branch) -> int | None:
        """Return where this history left an older branch: up to there both are the same. None: it never was on it."""
        lsn: int | None = None
        branch: Branch | None = self
        while branch is not None and branch is not old:
            lsn = branch.switch_lsn if lsn is None else min(lsn, branch.switch_lsn)
            branch = branch.parent
        if branch is None:
            return None
        return 1 << 62 if lsn is None else lsn

    def common_lsn(self, other: Branch) -> int:
        """Return up to where two histories are the same."""
        branch: Branch | None = other
        lsn = other.end_lsn
        while branch is not None:
            left = self.left_at(branch)
            if left is not None:
                return min(lsn, left, self.end_lsn if branch is self else left)
            lsn = min(lsn, branch.switch_lsn)
            branch = branch.parent
        return FIRST_LSN

    def holds(self, write_branch: Branch, lsn: int, until_lsn: int) -> bool:
        """Whether a record that ends here on another branch is part of this history up to `until_lsn`."""
        left = self.left_at(write_branch)
        return left is not None and lsn <= min(left, until_lsn)

    def statements(self, until_lsn: int) -> set[int]:
        """Return the numbers of all statements of this history up to a position."""
        found: set[int] = set()
        branch: Branch | None = self
        while branch is not None:
            ends = [end for end, _ in branch.writes]
            found.update(number for _, number in branch.writes[: bisect_right(ends, until_lsn)])
            until_lsn = min(until_lsn, branch.switch_lsn)
            branch = branch.parent
        return found
