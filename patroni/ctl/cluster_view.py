"""A cluster as patronictl shows it: one group of members, or all groups of a Citus cluster; pure (contract/cli.md §2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from patroni.config.settings import is_standby_cluster, read_switches, synchronous_mode
from patroni.dcs.layout import cluster_from
from patroni.dcs.store import Entry, Snapshot
from patroni.decision.cluster import Cluster, Member
from patroni.decision.settings import SynchronousMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The members that share a leader key."""

    number: int | None = None  # None: not a Citus cluster
    cluster: Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """All that was read under one cluster name."""

    name: str
    is_citus: bool = False
    asked_group: int | None = None  # None: all groups
    groups: tuple[Group, ...]  # by ascending number

    @property
    def main(self) -> Cluster:
        """Return the group asked for, else the coordinator's (number 0); an empty cluster where it is not there."""
        numbers = (self.asked_group, 0) if self.is_citus else (None,)
        found = (group.cluster for number in numbers for group in self.groups if group.number == number)
        return next(found, Cluster())

    def members(self) -> list[tuple[Member, Cluster]]:
        """Return all members with the group's cluster: by group, then by name."""
        return [(group.cluster.members[name], group.cluster) for group in self.groups for name in sorted(group.cluster.members)]


def view_from(name: str, snapshot: Snapshot, prefix: str, *, is_citus: bool, group: int | None) -> ClusterView:
    """Return what a snapshot of the prefix says; where all groups are wanted the prefix is above them."""
    if not is_citus or group is not None:
        groups: tuple[Group, ...] = (Group(number=group, cluster=cluster_from(snapshot, prefix)),)
    else:
        numbers = sorted({number for key in snapshot.entries if (number := _number(key, prefix)) is not None})
        groups = tuple(Group(number=number, cluster=_of_group(snapshot, f"{prefix}{number}/")) for number in numbers)
    return ClusterView(name=name, is_citus=is_citus, asked_group=group, groups=groups)


def _of_group(snapshot: Snapshot, prefix: str) -> Cluster:
    entries: Mapping[str, Entry] = {key: entry for key, entry in snapshot.entries.items() if key.startswith(prefix)}
    part = Snapshot(entries=entries, revision=snapshot.revision, store_id=snapshot.store_id)
    return cluster_from(part, prefix)


def _number(key: str, prefix: str) -> int | None:
    word, slash, _ = key.removeprefix(prefix).partition("/")
    return int(word) if slash and word.isascii() and word.isdigit() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What patronictl asks of the config key."""

    is_paused: bool
    is_standby_cluster: bool
    synchronous_mode: SynchronousMode
    loop_wait_s: float
    maximum_lag_on_failover_bytes: int


def switches_of(cluster: Cluster) -> Switches:
    """Read the config key; one that is missing or holds no object means the defaults."""
    values = read_switches((cluster.config.values if cluster.config else None) or {})
    return Switches(
        is_paused=values.get("pause", bool),
        is_standby_cluster=is_standby_cluster(values),
        synchronous_mode=synchronous_mode(values),
        loop_wait_s=float(values.get("loop_wait", int)),
        maximum_lag_on_failover_bytes=values.get("maximum_lag_on_failover", int),
    )


def is_voter(name: str, cluster: Cluster) -> bool:
    """Return whether the sync key lists this member, in any case."""
    return name.lower() in {voter.lower() for voter in cluster.sync.voters}
