"""Layout: all keys under a cluster's prefix to one `Cluster`; pure.

Paths are in `path.py`, values in `codec.py` and `member.py`; here is which key is which part. Promise: whatever the keys
hold, this returns; unknown keys are ignored, every direct child of `members/` is a member (contract/dcs.md §1.2).
"""

from __future__ import annotations

from collections.abc import Mapping

from patroni.dcs import path
from patroni.dcs.codec import (
    failover_from,
    failsafe_from,
    history_from,
    initialize_from,
    object_from,
    status_from,
    sync_from,
)
from patroni.dcs.member import member_from
from patroni.dcs.store import Entry, Snapshot
from patroni.decision.cluster import (
    Cluster,
    DynamicConfig,
    FailoverRequest,
    History,
    Initialize,
    Leader,
    Member,
    Status,
    SyncState,
    SystemId,
)


def cluster_from(snapshot: Snapshot, prefix: str) -> Cluster:
    """Return what the snapshot says about the cluster under this prefix."""
    keys = {key.removeprefix(prefix): entry for key, entry in snapshot.entries.items() if key.startswith(prefix)}
    initialize = keys.get(path.INITIALIZE)
    failover = keys.get(path.FAILOVER)
    failsafe = keys.get(path.FAILSAFE)
    return Cluster(
        initialize=_initialize(initialize),
        initialize_token=initialize.token if initialize else None,
        config=_config(keys.get(path.CONFIG)),
        leader=leader_of(keys.get(path.LEADER)),
        status=_status(keys.get(path.STATUS) or keys.get(path.OLD_STATUS)),
        members=_members(keys),
        failover=_failover(failover),
        failover_token=failover.token if failover else None,
        sync=_sync(keys.get(path.SYNC)),
        history=_history(keys.get(path.HISTORY)),
        failsafe=failsafe_from(failsafe.value) if failsafe else None,
        revision=snapshot.revision,
        store_id=snapshot.store_id,
    )


def leader_of(entry: Entry | None) -> Leader | None:
    """Return the holder of the leader key; an empty value is nobody (§1.3)."""
    if entry is None or not entry.value:
        return None
    return Leader(
        name=entry.value,
        incarnation=entry.incarnation,
        token=entry.token,
        revision=entry.revision,
        session=entry.session,
    )


def _members(keys: Mapping[str, Entry]) -> dict[str, Member]:
    children = ((key.removeprefix(path.MEMBERS), entry) for key, entry in keys.items() if key.startswith(path.MEMBERS))
    return {name: member_from(name, entry.value, entry.session) for name, entry in children if name and "/" not in name}


def _initialize(entry: Entry | None) -> SystemId | Initialize:
    return initialize_from(entry.value) if entry else Initialize.ABSENT


def _config(entry: Entry | None) -> DynamicConfig | None:
    return DynamicConfig(values=object_from(entry.value), token=entry.token) if entry else None


def _status(entry: Entry | None) -> Status:
    return status_from(entry.value) if entry else Status()


def _failover(entry: Entry | None) -> FailoverRequest | None:
    return failover_from(entry.value, entry.token) if entry else None


def _sync(entry: Entry | None) -> SyncState:
    return sync_from(entry.value, entry.token) if entry else SyncState()


def _history(entry: Entry | None) -> History:
    return history_from(entry.value) if entry else History()
