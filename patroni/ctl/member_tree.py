"""Who replicates from whom: the order and the indentation of `topology`; pure (contract/cli.md §3.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from patroni.decision.cluster import Cluster, Member

Children = Mapping[str | None, list[Member]]  # by name of the upstream, in name order; None: the root's


def labels(cluster: Cluster) -> list[tuple[Member, str]]:
    """Return the members depth-first, each with the text of its cell. Without a leader nobody is the root."""
    members = cluster.members
    root = members.get(cluster.leader_name or "")
    children = _children(cluster, root)
    seen: set[str] = set()
    found = [(root, root.name)] if root else []
    seen.update(member.name for member, _ in found)
    found.extend(_below(None, 1, children, seen))
    # What is left hangs in a ring: the first of them is shown below the root.
    for name in sorted(members):
        if name not in seen:
            seen.add(name)
            found.append((members[name], _label(name, 1)))
            found.extend(_below(name, 2, children, seen))
    return found


def _children(cluster: Cluster, root: Member | None) -> Children:
    members = cluster.members
    children: dict[str | None, list[Member]] = {}
    for name in sorted(members):
        upstream = members[name].tags.replicatefrom
        is_below_other = upstream in members and upstream not in (name, cluster.leader_name)
        if root is None or name != root.name:
            children.setdefault(upstream if is_below_other else None, []).append(members[name])
    return children


def _below(upstream: str | None, depth: int, children: Children, seen: set[str]) -> Iterator[tuple[Member, str]]:
    for member in children.get(upstream, []):
        if member.name not in seen:
            seen.add(member.name)
            yield member, _label(member.name, depth)
            yield from _below(member.name, depth + 1, children, seen)


def _label(name: str, depth: int) -> str:
    return f"{'  ' * (depth - 1)}+ {name}"
