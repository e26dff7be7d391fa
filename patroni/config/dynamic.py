"""The dynamic layer, and its three timings that every node clamps alike (contract/configuration.md §1.6, §4.1).

The object in the store keeps the operator's numbers; what is clamped here is what this node uses, caches, and would write
itself after a bootstrap or a wipe of the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from patroni.config.fault import ConfigError
from patroni.config.keys import BY_PATH

STOCK_TTL_S = 20  # the smallest ttl of the reference
# Where the store permits less than the reference (design.md §8).
_MINIMUM_TTL_S = {"etcd": 5, "etcd3": 5, "local": 5, "zookeeper": 10, "exhibitor": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The timing trio; `loop_wait + 2 * retry_timeout <= ttl` holds."""

    ttl_s: int
    loop_wait_s: int
    retry_timeout_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic:
    """A dynamic configuration that this node can use."""

    values: Mapping[str, object]  # as given, unknown keys included, the timings clamped
    timing: Timing
    warnings: tuple[str, ...] = ()


def bootstrap_dcs(local: Mapping[str, object]) -> Mapping[str, object]:
    """Return `bootstrap.dcs`, the first dynamic configuration of a new cluster; empty where there is none."""
    bootstrap = local.get("bootstrap")
    seed = bootstrap.get("dcs") if isinstance(bootstrap, Mapping) else None
    return seed if isinstance(seed, Mapping) else {}


def accept(values: Mapping[str, object], store: str) -> Dynamic:
    """Clamp the timings; raise ConfigError where the object cannot be used at all (then the former one stays in force)."""
    faults = [*_shape_faults(values)]
    asked: dict[str, int] = {}
    for name in ("ttl", "loop_wait", "retry_timeout"):
        try:
            asked[name] = int(values.get(name, BY_PATH[name].default))  # type: ignore[call-overload]  # anything may stand in JSON
        except (TypeError, ValueError, OverflowError):
            faults.append(f"{name}: {values[name]!r} is not a whole number of seconds")
    if faults:
        raise ConfigError(faults)
    clamped, warnings = _clamped(asked, _MINIMUM_TTL_S.get(store, STOCK_TTL_S))
    changed = {name: number for name, number in clamped.items() if name in values or number != BY_PATH[name].default}
    timing = Timing(ttl_s=clamped["ttl"], loop_wait_s=clamped["loop_wait"], retry_timeout_s=clamped["retry_timeout"])
    return Dynamic(values={**values, **changed}, timing=timing, warnings=tuple(warnings))


def _shape_faults(values: Mapping[str, object]) -> list[str]:
    """Return what makes an object unusable besides its timings (§8)."""
    postgresql = values.get("postgresql") or {}
    if not isinstance(postgresql, Mapping):
        return ["postgresql: is not a mapping"]
    return ["postgresql.parameters: is not a mapping"] if not isinstance(postgresql.get("parameters") or {}, Mapping) else []


def _clamped(asked: Mapping[str, int], minimum_ttl_s: int) -> tuple[dict[str, int], list[str]]:
    """Return the timings that are used, and a warning for each step that changed one (§4.1)."""
    warnings: list[str] = []
    timing = dict(asked)
    for name, minimum in (("ttl", minimum_ttl_s), ("loop_wait", 1), ("retry_timeout", 1)):
        if timing[name] < minimum:
            warnings.append(f"{name}: {timing[name]} s is too short; {minimum} s is used")
            timing[name] = minimum
    ttl_s, retry_timeout_s = timing["ttl"], timing["retry_timeout"]
    if 1 + 2 * retry_timeout_s > ttl_s:
        timing.update(loop_wait=1, retry_timeout=(ttl_s - 1) // 2)
    elif timing["loop_wait"] + 2 * retry_timeout_s > ttl_s:
        timing.update(loop_wait=ttl_s - 2 * retry_timeout_s)
    if (timing["loop_wait"], timing["retry_timeout"]) != (max(asked["loop_wait"], 1), retry_timeout_s):
        warnings.append(
            f"loop_wait + 2 * retry_timeout must not exceed ttl ({ttl_s} s); loop_wait {timing['loop_wait']} s and"
            f" retry_timeout {timing['retry_timeout']} s are used"
        )
    if ttl_s < STOCK_TTL_S:
        warnings.append(f"ttl: {ttl_s} s; members of this cluster that run the stock agent use {STOCK_TTL_S} s")
    return timing, warnings
