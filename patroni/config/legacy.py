"""Old forms of the local file that are still read (contract/configuration.md §3.13)."""

from __future__ import annotations

from collections.abc import Mapping


def modernised(tree: Mapping[str, object]) -> dict[str, object]:
    """Return the tree with old forms in their present places; what is written in the present form wins."""
    result = dict(tree)
    postgresql = tree.get("postgresql")
    if isinstance(postgresql, Mapping):
        if "name" not in tree and "name" in postgresql:
            result["name"] = postgresql["name"]
        result["postgresql"] = _users(postgresql)
    zookeeper = tree.get("zookeeper")
    if isinstance(zookeeper, Mapping) and "exhibitor" in zookeeper:
        result["exhibitor"] = zookeeper["exhibitor"]
        del result["zookeeper"]
    return result


def _users(postgresql: Mapping[str, object]) -> dict[str, object]:
    """Gather `replication`, `superuser` and `pg_rewind` under `authentication`."""
    result = dict(postgresql)
    users: dict[str, object] = {}
    if "authentication" in result:
        found = result["authentication"]
        if not isinstance(found, Mapping):
            return result
        users.update(found)
    elif "replication" in result or "superuser" in result:
        users = {name: result[name] for name in ("replication", "superuser") if name in result}
        result["use_pg_rewind"] = "pg_rewind" in result
    if "pg_rewind" in result and "superuser" not in users:
        users["superuser"] = result["pg_rewind"]
    if users:
        result["authentication"] = users
    return result


def modern_switches(seen: Mapping[str, object]) -> dict[str, object]:
    """Return the dynamic object with old names under their present ones, where those are absent."""
    result = dict(seen)
    for old, new in (("master_start_timeout", "primary_start_timeout"), ("master_stop_timeout", "primary_stop_timeout")):
        if old in seen and new not in seen:
            result[new] = seen[old]
    slots = next((seen[name] for name in ("permanent_replication_slots", "permanent_slots") if seen.get(name)), None)
    return result if slots is None else {**result, "slots": slots}
