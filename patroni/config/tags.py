"""The tags of the member (contract/configuration.md §3.9, contract/ha_behaviour.md §2.29)."""

from __future__ import annotations

from collections.abc import Mapping

from patroni.config.reader import Notes, Values
from patroni.config.value import parse_boolean, parse_integer
from patroni.decision.cluster import Tags

_HIDDEN_IF_FALSE = ("clonefrom", "nofailover", "noloadbalance", "nosync", "nostream")


def read_tags(written: Mapping[str, object], values: Values, notes: Notes) -> Tags:
    """Build the tags; `written` is the section as it stands, for what is published."""
    nofailover, failover_priority = _pair(written, values, ("nofailover", "failover_priority"), notes)
    nosync, sync_priority = _pair(written, values, ("nosync", "sync_priority"), notes)
    known = {
        "nofailover": values.find("tags.nofailover", bool),
        "nosync": values.find("tags.nosync", bool),
        "noloadbalance": values.get("tags.noloadbalance", bool),
        "clonefrom": values.get("tags.clonefrom", bool),
        "nostream": values.get("tags.nostream", bool),
    }
    return Tags(
        nofailover=nofailover,
        failover_priority=failover_priority,
        nosync=nosync,
        sync_priority=sync_priority,
        noloadbalance=values.get("tags.noloadbalance", bool),
        clonefrom=values.get("tags.clonefrom", bool),
        nostream=values.get("tags.nostream", bool),
        replicatefrom=values.find("tags.replicatefrom", str) or None,
        published=_published(written, known),
    )


def _pair(written: Mapping[str, object], values: Values, names: tuple[str, str], notes: Notes) -> tuple[bool, int]:
    """Return a boolean tag and the priority that goes with it: the boolean wins, and implies priority 0 where it is true."""
    flag_name, priority_name = names
    flag = values.find(f"tags.{flag_name}", bool)
    priority = values.get(f"tags.{priority_name}", int)
    if flag is None:
        return priority <= 0, max(priority, 0)
    if parse_integer(written.get(priority_name)) is not None and flag != (priority <= 0):
        notes.warnings.append(f"tags.{flag_name} and tags.{priority_name} contradict each other; {flag_name} counts")
    return flag, 0 if flag else priority


def _published(written: Mapping[str, object], known: Mapping[str, bool | None]) -> dict[str, object]:
    """Return what the member key shows: all as written, less what is false, unless a priority stands beside it."""
    beside = {"nofailover": "failover_priority", "nosync": "sync_priority"}
    published: dict[str, object] = {}
    for name, value in written.items():
        if name not in _HIDDEN_IF_FALSE or known[name]:
            published[name] = value
        elif beside.get(name) in written:
            published[name] = False if parse_boolean(value) is False else value
    return published
