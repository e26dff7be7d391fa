"""Keys that nobody knows: kept as they are (contract/configuration.md §3.1), but said in a line each, since most are misspelt.

Names that the user chooses are no unknown keys: parameters, tags, slots, and the sections of bootstrap and replica methods.
Neither are old forms and keys that the agent derives (§3.11, §3.13), nor what the environment's generic form brings (§5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from patroni.config.key import Kind
from patroni.config.keys import BY_PATH
from patroni.config.keys_dynamic import DYNAMIC
from patroni.config.keys_postgresql import POSTGRESQL
from patroni.config.keys_store import ORDER
from patroni.config.load import Local
from patroni.config.reader import section
from patroni.config.tree import leaves

_COPIED = ("namespace", "name", "scope", "loop_wait", "ttl", "retry_timeout")  # from the top level into the store's section
_OTHER_FORMS = frozenset(
    (
        *(
            f"postgresql.{name}"
            for name in ("name", "replication", "superuser", "pg_rewind", "scope", "retry_timeout", "citus")
        ),
        *(f"{store}.{name}" for store in ORDER for name in _COPIED),
        *("restapi.auth", "ctl.auth", "zookeeper.exhibitor"),
        *(key.path for key in DYNAMIC if "." not in key.path),  # without effect in the file, as in the reference
    )
)
_OF_METHODS = ("command", "no_params", "no_leader", "keep_data", "keep_existing_recovery_conf", "recovery_conf")
_IN_DYNAMIC = frozenset(key.path for key in (*DYNAMIC, *POSTGRESQL) if not key.path.startswith("bootstrap."))
_SEED = "bootstrap.dcs"
_NEAR = 0.6


def unknown_keys(local: Local, seen: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each unknown key of the local layer and of the config key. seen: the latter's object."""
    given = [path for path, _ in leaves(local.environment.values)]
    for path in _unknown(local.values, "", frozenset(BY_PATH), _methods(local.values)):
        if not any(each == path or each.startswith(f"{path}.") for each in given):
            yield _line(path, path, frozenset(BY_PATH))
    seed = section(section(local.values, "bootstrap"), "dcs")
    of_seed = set(_unknown(seed, "", _IN_DYNAMIC, _methods(seed)))
    yield from (_line(f"{_SEED}.{path}", path, _IN_DYNAMIC, f"{_SEED}.") for path in sorted(of_seed))
    of_key = _unknown(seen, "", _IN_DYNAMIC, _methods(seen))
    yield from (_line(f"the config key in the store: {path}", path, _IN_DYNAMIC) for path in of_key if path not in of_seed)


def _unknown(tree: Mapping[str, object], prefix: str, known: frozenset[str], methods: frozenset[str]) -> Iterator[str]:
    """Yield the paths below `prefix`; a section that is unknown as a whole is named alone."""
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if path == _SEED or path in _OTHER_FORMS or f"{path}.*" in known:
            continue
        is_section = any(each.startswith(f"{path}.") for each in known)
        if path not in known and not is_section:
            if not _is_method(prefix, str(name), value, methods):
                yield path
        elif is_section and isinstance(value, Mapping) and not _is_free(path):
            yield from _unknown(value, f"{path}.", known, methods)


def _is_free(path: str) -> bool:
    """Return whether a known key is judged by whoever reads it."""
    return path in BY_PATH and BY_PATH[path].kind is not Kind.MAPPING


def _is_method(prefix: str, name: str, value: object, methods: frozenset[str]) -> bool:
    """Return whether this is the section of a method: one that is listed, or that looks like one."""
    if prefix not in ("bootstrap.", "postgresql."):
        return False
    return name in methods or (isinstance(value, Mapping) and any(word in value for word in _OF_METHODS))


def _methods(tree: Mapping[str, object]) -> frozenset[str]:
    """Return the names of the methods that a layer lists."""
    bootstrap, postgresql = section(tree, "bootstrap"), section(tree, "postgresql")
    listed = [bootstrap.get("method"), postgresql.get("create_replica_methods"), postgresql.get("create_replica_method")]
    for dynamic in (section(bootstrap, "dcs"), tree):
        listed.append(section(dynamic, "standby_cluster").get("create_replica_methods"))
        listed.append(section(dynamic, "postgresql").get("create_replica_methods"))
    return frozenset(str(name) for each in listed for name in (each if isinstance(each, list) else [each]) if name)


def _line(shown: str, path: str, known: frozenset[str], prefix: str = "") -> str:
    near = _near(path, known)
    hint = f"; did you mean {prefix}{near}?" if near else ""
    return f"{shown}: unknown key, it has no effect{hint}"


def _near(path: str, known: frozenset[str]) -> str | None:
    """Return the known key that may be meant: a similar name beside it, else the only one of this name elsewhere."""
    from difflib import get_close_matches  # noqa: PLC0415  # memory that an agent without unknown keys does without

    parent, _, name = path.rpartition(".")
    start = f"{parent}." if parent else ""
    beside = {each[len(start) :].split(".")[0] for each in known if each.startswith(start)} - {"*"}
    close = get_close_matches(name, sorted(beside), n=1, cutoff=_NEAR)
    if close:
        return f"{start}{close[0]}"
    same = [each for each in known if each.rpartition(".")[2] == name]
    return same[0] if len(same) == 1 else None
