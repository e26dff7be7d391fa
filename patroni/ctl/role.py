"""`--role`: which members are meant; pure, by what the store says (contract/cli.md §2.7)."""

from __future__ import annotations

from enum import StrEnum

from patroni.ctl.cluster_view import ClusterView
from patroni.decision.cluster import Cluster, Member, Role


class RoleFilter(StrEnum):
    """The words of the option."""

    LEADER = "leader"
    PRIMARY = "primary"
    STANDBY_LEADER = "standby-leader"
    REPLICA = "replica"
    STANDBY = "standby"
    ANY = "any"


def selected(view: ClusterView, role: RoleFilter) -> list[Member]:
    """Return the members of that role, by group, then by name."""
    return [member for member, cluster in view.members() if _is_meant(member, cluster, role)]


def _is_meant(member: Member, cluster: Cluster, role: RoleFilter) -> bool:
    is_leader = member.name == cluster.leader_name
    match role:
        case RoleFilter.ANY:
            return True
        case RoleFilter.LEADER:
            return is_leader
        case RoleFilter.PRIMARY:
            return is_leader and member.role is not Role.STANDBY_LEADER
        case RoleFilter.STANDBY_LEADER:
            return is_leader and member.role is not Role.PRIMARY
        case RoleFilter.REPLICA | RoleFilter.STANDBY:
            return not is_leader
