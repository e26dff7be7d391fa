"""Clusters as they stand in a store: keys written by hand, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from patroni.ctl.cluster_view import ClusterView, view_from
from patroni.dcs.store import Entry, Snapshot
from patroni.decision.cluster import Incarnation, Revision, Token

PREFIX = "/service/demo/"
SYSTEM_ID = "7421398765432109876"
LSN = 0x5000148  # the leader's last published position
OTHER_LSNS = {"receive_lsn": LSN, "replay_lsn": LSN}


def keys(**values: object) -> dict[str, str]:
    """Build keys of a cluster below its prefix: text stays, everything else becomes JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def a_member(host: str = "10.0.0.11", port: int = 5432, /, **fields: object) -> str:
    """Build a member key's value; a field that is None is left out."""
    url = {"conn_url": f"postgres://{host}:{port}/postgres", "api_url": f"http://{host}:8008/patroni"}
    values = {**url, "state": "running", "role": "replica", "timeline": 4, **fields}
    return json.dumps({name: value for name, value in values.items() if value is not None})


def a_standby(host: str = "10.0.0.12", port: int = 5432, /, **fields: object) -> str:
    """Build a streaming standby's value."""
    return a_member(host, port, **{"replication_state": "streaming", **OTHER_LSNS, **fields})


def a_cluster(members: Mapping[str, str], /, **more: object) -> dict[str, str]:
    """Build the keys of an initialised cluster, led by pg-a; a key that is None is left out."""
    found = {"initialize": SYSTEM_ID, "status": {"optime": LSN}, "leader": "pg-a", **more}
    values = keys(**{name: value for name, value in found.items() if value is not None})
    return {**values, **{f"members/{name}": value for name, value in members.items()}}


def snapshot(values: Mapping[str, str], prefix: str = PREFIX) -> Snapshot:
    """Build what a store answers."""
    entries = {
        f"{prefix}{name}": Entry(
            key=f"{prefix}{name}",
            value=value,
            token=Token("1"),
            incarnation=Incarnation("1"),
            revision=Revision(1),
        )
        for name, value in values.items()
    }
    return Snapshot(entries=entries, revision=Revision(1), is_linearizable=True)


def a_view(values: Mapping[str, str], *, is_citus: bool = False, group: int | None = None) -> ClusterView:
    """Build the view of the cluster `demo`; of a Citus cluster the keys begin with their group."""
    below = "" if group is None else f"{group}/"
    return view_from("demo", snapshot(values), f"{PREFIX}{below}", is_citus=is_citus, group=group)
