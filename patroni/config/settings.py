"""Everything that is configured, as one immutable record: built from the local and the dynamic layer, replaced whole.

Who wins (contract/configuration.md §1.4): in `postgresql` the local layer beats the dynamic one, key by key; `use_slots`, the
timings and all switches of the cluster count in the dynamic layer only; everything else counts in the local layer only.
What concerns Postgres' parameters is left in its two layers: which of them count is judged by the room that drives Postgres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from patroni.config.dynamic import Dynamic, Timing, accept, bootstrap_dcs
from patroni.config.fault import ConfigError
from patroni.config.keys_dynamic import DYNAMIC
from patroni.config.keys_node import NODE
from patroni.config.keys_postgresql import POSTGRESQL
from patroni.config.legacy import modern_switches, modernised
from patroni.config.load import Local
from patroni.config.reader import Notes, Values, read_values, section
from patroni.config.sections import (
    AVAILABLE,
    ClientSection,
    LogSection,
    StoreSection,
    WatchdogSection,
    client_section,
    log_section,
    store_kind,
    store_section,
    watchdog_section,
)
from patroni.config.tags import read_tags
from patroni.config.tree import differences
from patroni.config.unknown import unknown_keys
from patroni.config.unsupported import STANDBY_CLUSTER_IGNORED, unsupported
from patroni.config.value import parse_boolean
from patroni.decision.settings import Settings, SynchronousMode

RESERVED_NAME = "__patroni_strict_sync_replica_placeholder__"
# Keys of `postgresql` that the dynamic layer may hold but never sets (contract/configuration.md §3.12).
NODE_LOCAL = ("connect_address", "proxy_address", "listen", "config_dir", "data_dir", "pgpass", "authentication")
_ONLY_DYNAMIC = frozenset(key.path for key in DYNAMIC if "." not in key.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All settings of one agent at one moment."""

    scope: str
    name: str
    namespace: str
    settings: Settings  # what rules may know
    log: LogSection
    store: StoreSection
    client: ClientSection
    watchdog: WatchdogSection
    values: Values  # every key of the node's and Postgres' tables, parsed, by path
    switches: Values  # every dynamic key, parsed, by path
    effective: Mapping[str, object] = field(repr=False)  # the merged tree, unknown keys included
    local: Local = field(repr=False)
    dynamic: Dynamic = field(repr=False)  # in force; what is cached and what this node would write to the config key
    seen: Mapping[str, object] = field(
        repr=False
    )  # the config key as last seen; its switches act even while it is refused (§1.5)
    warnings: tuple[str, ...] = ()  # lines to be logged once


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layers:
    """What a configuration is built from."""

    local: Local
    dynamic: Dynamic
    seen: Mapping[str, object]
    available: Sequence[str]


def build(local: Local, cached: Mapping[str, object] | None, available: Sequence[str] = AVAILABLE) -> Configuration:
    """Build the configuration of a starting agent (§1.6): the cached dynamic layer, else `bootstrap.dcs`, else none.

    cached: `load.read_cache`; one that cannot be used is as if absent. Raise ConfigError with all faults.
    """
    notes = Notes()
    store = store_kind(local.values, available) or ""
    dynamic, seen = _cached(cached, store, notes)
    if not seen:
        seen = bootstrap_dcs(local.values)
        try:
            dynamic = accept(seen, store)
        except ConfigError as error:
            notes.faults.extend(f"bootstrap.dcs.{fault}" for fault in error.faults)
    return _build(_Layers(local=local, dynamic=dynamic, seen=seen, available=available), notes)


def with_local(previous: Configuration, local: Local, available: Sequence[str] = AVAILABLE) -> Configuration:
    """Return the configuration with another local layer; raise ConfigError, then the previous one stays in force."""
    return _build(_Layers(local=local, dynamic=previous.dynamic, seen=previous.seen, available=available), Notes())


def with_dynamic(previous: Configuration, seen: Mapping[str, object], available: Sequence[str] = AVAILABLE) -> Configuration:
    """Return the configuration with what the config key holds now; `previous` itself where nothing differs as text.

    An object that cannot be used leaves everything as it was, but for the switches of the cluster, which act (§4.1, §9 row 7).
    """
    if not differences(previous.seen, seen):
        return previous
    local = previous.local
    try:
        dynamic = accept(seen, previous.store.kind)
        return _build(_Layers(local=local, dynamic=dynamic, seen=seen, available=available), Notes())
    except ConfigError as error:
        notes = Notes(warnings=[f"the config key is not used, but for its switches: {fault}" for fault in error.faults])
        return _build(_Layers(local=local, dynamic=previous.dynamic, seen=seen, available=available), notes)


def effective_tree(local: Mapping[str, object], dynamic: Mapping[str, object]) -> dict[str, object]:
    """Merge the layers (contract/configuration.md §1.4); unknown keys stay where they are."""
    tree = {name: value for name, value in local.items() if name not in _ONLY_DYNAMIC}
    tree.update({name: value for name, value in dynamic.items() if name in _ONLY_DYNAMIC})
    mine = tree.get("postgresql") or {}
    if isinstance(mine, Mapping):
        theirs = {name: value for name, value in section(dynamic, "postgresql").items() if name not in NODE_LOCAL}
        merged = {**theirs, **{name: value for name, value in mine.items() if name != "use_slots"}}
        if isinstance(merged.get("parameters"), Mapping):
            merged["parameters"] = {**section(theirs, "parameters"), **section(merged, "parameters")}
        tree["postgresql"] = merged
    return tree


def _cached(cached: Mapping[str, object] | None, store: str, notes: Notes) -> tuple[Dynamic, Mapping[str, object]]:
    try:
        return accept(cached or {}, store), cached or {}
    except ConfigError as error:
        notes.warnings.extend(f"the cached dynamic configuration is not used: {fault}" for fault in error.faults)
        return accept({}, store), {}


def _build(layers: _Layers, notes: Notes) -> Configuration:
    """Read both layers; raise ConfigError with every fault found, those in `notes` included."""
    local = modernised(layers.local.values)
    tree = effective_tree(local, layers.dynamic.values)
    values = read_values(tree, NODE + POSTGRESQL, notes)
    switches = read_switches(layers.seen)
    store = store_section(local, layers.available, notes)
    log, client, watchdog = log_section(values, notes), client_section(values, notes), watchdog_section(values, notes)
    tags = read_tags(section(local, "tags"), values, notes)
    _check(local, values, notes)
    notes.warnings.extend([STANDBY_CLUSTER_IGNORED] if is_standby_cluster(switches) else [])
    notes.warnings.extend(unsupported(tree, values, switches))
    notes.warnings.extend(unknown_keys(layers.local, layers.seen))
    if notes.faults or store is None:
        raise ConfigError(notes.faults)
    settings = _settings(values, switches, layers.dynamic.timing)
    return Configuration(
        scope=values.get("scope", str),
        name=values.get("name", str),
        namespace=values.get("namespace", str),
        settings=replace(settings, tags=tags, has_bootstrap_section="bootstrap" in local),
        log=log,
        store=store,
        client=client,
        watchdog=watchdog,
        values=values,
        switches=switches,
        effective=tree,
        local=layers.local,
        dynamic=layers.dynamic,
        seen=layers.seen,
        warnings=(*layers.local.environment.warnings, *layers.dynamic.warnings, *notes.warnings),
    )


def _check(local: Mapping[str, object], values: Values, notes: Notes) -> None:
    """Add the faults that concern no single key's type."""
    name = values.find("name", str)
    if name == RESERVED_NAME:
        notes.faults.append(f"name: {RESERVED_NAME} is reserved")
    if name is not None and "/" in name:  # only direct children of `members/` are members (contract/dcs.md §1)
        notes.faults.append(f"name: {name!r} has a slash; nobody would find such a key in the store")
    citus = section(local, "citus")
    if isinstance(citus.get("group"), int) and isinstance(citus.get("database"), str):
        notes.faults.append("citus: not supported yet; remove this section")
    if section(local, "bootstrap").get("users"):
        notes.warnings.append("bootstrap.users: removed in version 4; no user is created by it")


def _settings(values: Values, switches: Values, timing: Timing) -> Settings:
    """Build what rules may know (contract/configuration.md §4)."""
    return Settings(
        ttl_s=float(timing.ttl_s),
        loop_wait_s=float(timing.loop_wait_s),
        retry_timeout_s=float(timing.retry_timeout_s),
        primary_start_timeout_s=float(switches.get("primary_start_timeout", int)),
        primary_stop_timeout_s=max(float(switches.get("primary_stop_timeout", int)), 0.0),
        primary_race_backoff_s=max(float(switches.get("primary_race_backoff", int)), 0.0),
        maximum_lag_on_failover_bytes=switches.get("maximum_lag_on_failover", int),
        check_timeline=switches.get("check_timeline", bool),
        max_timelines_history=switches.get("max_timelines_history", int),
        member_slots_ttl_s=float(switches.get("member_slots_ttl", int)),
        use_slots=values.get("postgresql.use_slots", bool),
        is_paused=switches.get("pause", bool),
        failsafe_mode=switches.get("failsafe_mode", bool),
        is_standby_cluster=is_standby_cluster(switches),
        synchronous_mode=synchronous_mode(switches),
        synchronous_mode_strict=switches.get("synchronous_mode_strict", bool),
        use_pg_rewind=values.get("postgresql.use_pg_rewind", bool),
        remove_data_directory_on_rewind_failure=values.get("postgresql.remove_data_directory_on_rewind_failure", bool),
        remove_data_directory_on_diverged_timelines=values.get("postgresql.remove_data_directory_on_diverged_timelines", bool),
    )


def read_switches(seen: Mapping[str, object]) -> Values:
    """Read the config key's object; what cannot be read there is its default, silently (contract/configuration.md §4.2)."""
    return read_values(modern_switches(seen), DYNAMIC, Notes())


def is_standby_cluster(switches: Values) -> bool:
    """Return whether the cluster follows a remote server (contract/ha_behaviour.md §1.2)."""
    standby = switches.get("standby_cluster", Mapping)  # type: ignore[type-abstract]  # any mapping will do
    return any(standby.get(name) for name in ("host", "port", "restore_command"))


def synchronous_mode(switches: Values) -> SynchronousMode:
    """Return the mode; always off in a standby cluster (contract/ha_behaviour.md §1.2)."""
    if is_standby_cluster(switches):
        return SynchronousMode.OFF
    word = switches.get("synchronous_mode", object)
    if str(word).lower() == "quorum":
        return SynchronousMode.QUORUM
    return SynchronousMode.PRIORITY if parse_boolean(word) else SynchronousMode.OFF
