"""What is configured and not done by this version: a line each for the operator, so that nobody relies on it in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from patroni.config.reader import Values, section
from patroni.config.sections import watchdog_mode
from patroni.config.value import parse_boolean

STANDBY_CLUSTER = "standby_cluster: not supported yet; the leader would be promoted, and leave the cluster that it follows"
STANDBY_CLUSTER_IGNORED = (
    "standby_cluster: not supported yet; the leader stays as it is, and until the section is removed no other node is promoted"
)
_PROGRAMS = ("callbacks", "pre_promote", "before_stop")
_USUAL_METHODS: tuple[object, ...] = (None, [], "basebackup", ["basebackup"])


def unsupported(effective: Mapping[str, object], values: Values, switches: Values) -> Iterator[str]:
    """Yield the lines. effective: the merged tree; switches: of the dynamic layer."""
    mode = switches.get("synchronous_mode", object)
    if str(mode).lower() == "quorum" or parse_boolean(mode):
        yield "synchronous_mode: not supported yet; replication is what `parameters` say, and a failover may lose commits"
    if switches.get("failsafe_mode", bool):
        yield "failsafe_mode: not supported yet; without the store a primary ends with its lease"
    if watchdog_mode(values.get("watchdog.mode", object)) == "required":
        yield "watchdog.mode: not supported yet; this node leads without a watchdog"
    postgresql, bootstrap = section(effective, "postgresql"), section(effective, "bootstrap")
    if bootstrap.get("method") not in (None, "initdb"):
        yield f"bootstrap.method: not supported yet; a new cluster is made by initdb, not by {bootstrap['method']}"
    yield from (f"postgresql.{name}: not supported yet; it is not run" for name in _PROGRAMS if postgresql.get(name))
    if postgresql.get("create_replica_methods") not in _USUAL_METHODS:
        yield "postgresql.create_replica_methods: not supported yet; replicas are made by pg_basebackup"
