"""Tags: what the words under `tags` mean, in the own configuration and in another member's key alike.

Rules and their order: contract/ha_behaviour.md §2.29. In a pair of flag and priority the flag decides where it is given.
"""

from __future__ import annotations

from collections.abc import Mapping

from patroni.decision.cluster import Tags
from patroni.decision.scalar import boolean, integer

_LEFT_OUT_WHEN_FALSE = ("clonefrom", "nofailover", "noloadbalance", "nosync", "nostream")
_KEPT_BESIDE = {"nofailover": "failover_priority", "nosync": "sync_priority"}  # a false flag is shown beside its priority


def tags_from(values: Mapping[str, object]) -> Tags:
    """Return the meaning of these tags; a value of the wrong kind counts as its default, never as an error."""
    nofailover, failover_priority = _flag_and_priority(values, "nofailover", "failover_priority")
    nosync, sync_priority = _flag_and_priority(values, "nosync", "sync_priority")
    replicatefrom = values.get("replicatefrom")
    return Tags(
        nofailover=nofailover,
        failover_priority=failover_priority,
        nosync=nosync,
        sync_priority=sync_priority,
        noloadbalance=bool(values.get("noloadbalance")),
        clonefrom=bool(values.get("clonefrom")),
        nostream=boolean(values.get("nostream")) or False,
        replicatefrom=replicatefrom if isinstance(replicatefrom, str) and replicatefrom else None,
        published=published_tags(values),
    )


def published_tags(values: Mapping[str, object]) -> dict[str, object]:
    """Return the tags as the member key shows them, in their order."""
    return {name: value for name, value in values.items() if value or _is_shown_when_false(name, values)}


def _is_shown_when_false(name: str, values: Mapping[str, object]) -> bool:
    return name not in _LEFT_OUT_WHEN_FALSE or _KEPT_BESIDE.get(name) in values


def _flag_and_priority(values: Mapping[str, object], flag: str, priority: str) -> tuple[bool, int]:
    number = integer(values.get(priority))
    given = values.get(flag)
    is_set = bool(given) if given is not None else number is not None and number <= 0
    return is_set, 0 if is_set else number if number is not None else 1
