"""Who may import whom: the architecture, as imports (design.md §1)."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.tidy.names import is_within, used
from tests.tidy.source import Source

# The rooms whose modules a room may import beside its own; `agent` wires all.
_ROOMS = {
    "decision": set[str](),
    "dcs": {"decision"},
    "postgres": {"decision"},
    "fence": {"decision"},
    "rest": {"decision"},
    "config": {"decision"},
    "ctl": {"decision", "dcs", "config"},  # and REST, over the network
    "agent": {"decision", "dcs", "postgres", "fence", "rest", "config"},
}
# What a room shows to others: records and protocols, no insides.
_FACES = {
    "rest": {"patroni.postgres.request"},  # the monitoring record that REST answers from
}

# Deterministic and without effects: all that decision/ may have of the standard library.
_PURE = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "re",
    "string",
    "types",
    "typing",
    "urllib.parse",
    "patroni.decision",
}
# Libraries without types of their own, and the driver: each is turned into our records in one module.
_ONE_MODULE_EACH = {"consul", "etcd", "kazoo", "psycopg2"}


def wrong_rooms(source: Source) -> Iterator[str]:
    """Yield the imports that leave a room through a wall."""
    room = _room(source.module)
    if room is None:
        return
    for node, name in used(source):
        other = _room(name)
        is_wall = other is not None and other != room and other not in _ROOMS[room]
        if is_wall and not any(is_within(name, face) or is_within(face, name) for face in _FACES.get(room, ())):
            yield source.at(node, f"{room} imports {name}")
        if is_within(name, "tests"):
            yield source.at(node, f"the program imports {name}")


def _room(module: str) -> str | None:
    """Return the room of a module or of a name in it; None: outside the rooms."""
    parts = module.split(".")
    return parts[1] if parts[0] == "patroni" and len(parts) > 1 and parts[1] in _ROOMS else None


def impure(source: Source) -> Iterator[str]:
    """Yield what decision/ imports beside itself and pure standard modules."""
    if _room(source.module) != "decision":
        return
    for node, name in used(source):
        if isinstance(node, ast.Import | ast.ImportFrom) and not any(is_within(name, pure) for pure in _PURE):
            yield source.at(node, f"decision imports {name}")


def shared_libraries(sources: Iterable[Source]) -> Iterator[str]:
    """Yield each library that should be imported in one module of the program, and is in several."""
    importers: defaultdict[str, set[str]] = defaultdict(set)
    for source in sources:
        if source.path.startswith("patroni/"):
            for _, name in used(source):
                importers[name.split(".")[0]].add(source.path)
    for library in sorted(_ONE_MODULE_EACH):
        if len(importers[library]) > 1:
            yield f"{library} is imported in several modules: {', '.join(sorted(importers[library]))}"
