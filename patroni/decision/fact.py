"""Questions that several rules ask of one view. No rule here: each answers yes or no, or names somebody.

A fact that is missing answers "no" wherever a "yes" would let something happen (contract/ha_behaviour.md §9, PR10).
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from patroni.decision.cluster import Member, Role, SlotName, SystemId, Timeline
from patroni.decision.node import ClusterState, JobKind, Node, Process
from patroni.decision.view import View

LONGEST_SLOT_NAME = 63
DOWN = (Process.DOWN, Process.ORPHANS)  # no postmaster; a start ends orphans first
STOPPING_JOBS = (JobKind.DEMOTE, JobKind.STOP)
START_JOBS = (JobKind.START_AS_PRIMARY, JobKind.START_AS_STANDBY, JobKind.START_AFTER_DEMOTION)


def is_store_silent(view: View) -> bool:
    """Return whether the store has not answered for so long that what it said is not acted upon (§2.22)."""
    return view.cluster is None or view.store_silent_s > view.settings.retry_timeout_s


def leader_name(view: View) -> str | None:
    """Return who holds the leader key in this view; None: nobody, or no view."""
    return view.cluster.leader_name if view.cluster else None


def leader_member(view: View) -> Member | None:
    """Return the leader's member key if the leader is another node; None: nobody leads, we do, or it has no key."""
    name = leader_name(view)
    if view.cluster is None or name is None or name == view.node.name:
        return None
    return view.cluster.members.get(name)


def is_other_leading(view: View) -> bool:
    """Return whether another node holds the leader key, on a view that is not older than a lock of ours."""
    name = leader_name(view)
    return name is not None and name != view.node.name and (view.is_fresh or not view.lease.is_held)


def is_leading(view: View) -> bool:
    """Return whether the lock is ours: proved, and not contradicted by a view newer than it."""
    if not view.lease.is_held or view.lease.is_gone:
        return False
    return not view.is_fresh or view.is_lock_ours


def may_write(node: Node) -> bool:
    """Return whether this Postgres may take writes, or may begin to: a signalled promotion can't be called back."""
    return node.is_running_primary or (node.process is Process.ALIVE and node.role is Role.PROMOTED)


def is_crashed_primary(node: Node) -> bool:
    """Return whether the control data say that the server died, or was stopped, as a primary."""
    return node.control is not None and node.control.cluster_state in (
        ClusterState.IN_PRODUCTION,
        ClusterState.IN_CRASH_RECOVERY,
        ClusterState.SHUTTING_DOWN,
        ClusterState.SHUT_DOWN,
    )


def last_failed(view: View, *kinds: JobKind) -> bool:
    """Return whether the last job was of one of these kinds and did not reach its end."""
    last = view.node.last_job
    return last is not None and last.kind in kinds and not last.is_ok


def is_valid_system_id(system_id: SystemId | None) -> bool:
    """Return whether this is a system identifier: at least 10 digits and nothing else (§1.1)."""
    return system_id is not None and system_id.isascii() and system_id.isdigit() and len(system_id) >= 10


def cluster_timeline(view: View) -> Timeline | None:
    """Return the timeline that the history key says is current; None: it does not say."""
    return view.cluster.history.cluster_timeline if view.cluster else None


def lease_enough_s(view: View) -> float:
    """Return how many seconds of lease an act needs that makes Postgres writable (safety_rules.md §6)."""
    ttl_s = view.lease.proof.ttl_s if view.lease.proof else view.settings.ttl_s
    return max(2.0, ttl_s / 4)


@lru_cache(maxsize=64)  # asked for each member in each turn
def address_of(conn_url: str | None) -> tuple[str, int] | None:
    """Return host and port of a `postgres://HOST:PORT/DB`; None: it has no usable ones."""
    try:
        parts = urlsplit(conn_url or "")
        return (parts.hostname, parts.port or 5432) if parts.hostname else None
    except ValueError:
        return None


@lru_cache(maxsize=64)
def slot_name(member: str) -> SlotName:
    """Return the name of a member's physical slot (contract/ha_behaviour.md §4.1)."""
    return SlotName("".join(_slot_letters(letter) for letter in member.lower())[:LONGEST_SLOT_NAME])


def _slot_letters(letter: str) -> str:
    if letter in "-.":
        return "_"
    is_plain = letter == "_" or (letter.isascii() and (letter.islower() or letter.isdigit()))
    return letter if is_plain else f"u{ord(letter):04d}"
