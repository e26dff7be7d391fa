"""An edit of the dynamic configuration, judged before it is written: each changed value by the one table of keys.

What stands there unchanged is not judged again, so that an old mistake keeps nobody from mending another; unknown keys are
the operator's own. The agents defend themselves all the same (contract/configuration.md §4): others write that key, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from patroni.config.dynamic import accept
from patroni.config.fault import ConfigError
from patroni.config.keys_dynamic import DYNAMIC
from patroni.config.keys_postgresql import POSTGRESQL
from patroni.config.reader import fault_of

_TIMINGS = ("ttl", "loop_wait", "retry_timeout")  # an agent takes any number there and clamps it (§4.1)
_KEYS = tuple(
    replace(key, minimum=1) if key.path in _TIMINGS else key
    for key in (*DYNAMIC, *POSTGRESQL)
    if "D" in key.layers and "*" not in key.path
)


def edit_faults(old: Mapping[str, object], new: Mapping[str, object]) -> Sequence[str]:
    """Return what speaks against writing `new` in the place of `old`, a line each with key, value and what is expected."""
    found = {path: line for path, line in _unusable(new) if str(_value(old, path)) != str(_value(new, path))}
    for key in _KEYS:
        before, value = _value(old, key.path), _value(new, key.path)
        if value is None or key.path in found or str(before) == str(value):
            continue
        fault = fault_of(key, value)
        if fault is not None:
            found[key.path] = f"{key.path}: {fault}"
    return tuple(found.values())


def _unusable(new: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return what makes every agent refuse the object as a whole, each with the path that is to blame."""
    try:
        accept(new, "")
    except ConfigError as error:
        return [(path, _with_value(new, path, said)) for path, _, said in (line.partition(": ") for line in error.faults)]
    return []


def _with_value(new: Mapping[str, object], path: str, said: str) -> str:
    value = repr(_value(new, path))
    return f"{path}: {said}" if value in said else f"{path}: {value} {said}"


def _value(tree: Mapping[str, object], path: str) -> object:
    """Return the value at a dotted path; None: absent, or below something that is no mapping."""
    value: object = tree
    for word in path.split("."):
        value = value.get(word) if isinstance(value, Mapping) else None
    return value
