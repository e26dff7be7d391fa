"""What a reload changed, and what each change needs to take effect (contract/configuration.md §0, §1.9)."""

from __future__ import annotations

from dataclasses import dataclass

from patroni.config.key import Apply
from patroni.config.keys import apply_of
from patroni.config.settings import Configuration
from patroni.config.tree import differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key that changed."""

    path: str
    apply: Apply

    def __str__(self) -> str:
        return f"{self.path}: changed{_NEEDS[self.apply]}"


_NEEDS = {
    Apply.LIVE: "",
    Apply.RELOAD: "; Postgres is reloaded",
    Apply.PENDING: "; Postgres must be restarted",
    Apply.AGENT: "; the agent must be restarted",
    Apply.BOOT: "; it counts for a new cluster only",
}


def changes(old: Configuration, new: Configuration) -> tuple[Change, ...]:
    """Return the known keys whose effective value differs as text; keys that nobody reads are left out."""
    found = ((path, apply_of(path)) for path in differences(old.effective, new.effective))
    return tuple(Change(path=path, apply=apply) for path, apply in found if apply is not None)
