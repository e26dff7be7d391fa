"""The one table of keys: everything that the configuration may hold, joined from its parts by subject.

Unknown keys are accepted everywhere and kept (contract/configuration.md §3.1); `unknown.py` says which they are.
"""

from __future__ import annotations

from patroni.config.key import Apply, Key
from patroni.config.keys_dynamic import DYNAMIC
from patroni.config.keys_node import NODE
from patroni.config.keys_postgresql import POSTGRESQL
from patroni.config.keys_store import STORE

KEYS: tuple[Key, ...] = NODE + STORE + POSTGRESQL + DYNAMIC
BY_PATH = {key.path: key for key in KEYS}


def find(path: str) -> Key | None:
    """Return the key that governs a dotted path: itself, its pattern with `*`, or the nearest section; None: unknown."""
    words = path.split(".")
    for length in range(len(words), 0, -1):
        known = BY_PATH.get(".".join(words[:length])) or _pattern(words[:length])
        if known is not None:
            return known
    return None


def apply_of(path: str) -> Apply | None:
    """Return what a change of this path needs; None: nobody reads it."""
    key = find(path)
    return key.apply if key else None


def _pattern(words: list[str]) -> Key | None:
    """Return the key of a name that the user chose: `bootstrap.<method>.command`, `tags.<tag>`."""
    for index in range(1, len(words)):
        known = BY_PATH.get(".".join((*words[:index], "*", *words[index + 1 :])))
        if known is not None:
            return known
    return None
