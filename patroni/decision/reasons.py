"""Why: every decision carries one reason, a code plus the facts that decided it. Its text is rendered here and nowhere else.

Tests compare codes; people, REST, log and patronictl read the same words. The heartbeat lines are kept to the letter:
contract/logs_and_metrics.md §4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Code(StrEnum):
    """Short code of a reason: `<subject>.<verdict>`; the values appear in the journal and in metrics."""

    LEADER_OK = "leader.ok"
    FOLLOWER_OK = "follower.ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason: `facts` are the values that decided, by name, for text and for the journal."""

    code: Code
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return _TEXTS[self.code].format_map(dict(self.facts))


def because(code: Code, /, **facts: object) -> Reason:
    """Return the reason with this code and these facts."""
    return Reason(code=code, facts=facts)


_TEXTS: Mapping[Code, str] = {
    Code.LEADER_OK: "no action. I am ({name}), the leader with the lock",
    Code.FOLLOWER_OK: "no action. I am ({name}), a secondary, and following a leader ({leader})",
}
