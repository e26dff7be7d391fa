"""Which physical slots this node keeps for members (contract/ha_behaviour.md §4.2, rows 3 and 4).

A slot exists where its member streams: on the leader for everybody without `replicatefrom`, elsewhere for the own cascade.
Rows 1 and 2 (slots of everybody on every node) need slots to be advanced and come with that. Slots that may be somebody
else's are not dropped: where the configuration speaks of permanent or ignored slots, nothing is.
"""

from __future__ import annotations

from patroni.decision.cluster import Member, SlotName
from patroni.decision.fact import slot_name
from patroni.decision.view import View

OTHERS_SLOTS = ("slots", "permanent_slots", "permanent_replication_slots", "ignore_slots")


def wanted_slots(view: View, *, will_lead: bool = False) -> frozenset[SlotName]:
    """Return the slots of members that stream from this node, or will when it leads."""
    if not view.settings.use_slots or view.cluster is None:
        return frozenset()
    is_leader = will_lead or view.node.is_running_primary
    return frozenset(
        slot_name(member.name) for member in view.cluster.members.values() if _streams_here(view, member, is_leader)
    )


def missing_slots(view: View, *, will_lead: bool = False) -> tuple[SlotName, ...]:
    """Return the wanted slots that do not exist, sorted."""
    return tuple(sorted(wanted_slots(view, will_lead=will_lead) - {slot.name for slot in view.node.slots}))


def superfluous_slots(view: View) -> tuple[SlotName, ...]:
    """Return the physical slots that nobody wants, uses or may want back, sorted."""
    values = view.cluster.config.values if view.cluster and view.cluster.config else None
    if values is None or not view.settings.use_slots or any(values.get(key) for key in OTHERS_SLOTS):
        return ()
    kept = wanted_slots(view) | _absent_slots(view)
    unused = (slot.name for slot in view.node.slots if slot.is_physical and not slot.is_active)
    return tuple(sorted(name for name in unused if name not in kept))


def retained_slots(view: View) -> tuple[str, ...]:
    """Return the slots of members seen within `member_slots_ttl`, sorted (§4.9)."""
    ttl_s = view.settings.member_slots_ttl_s
    seen = view.memory.slot_seen_at_s.items()
    return tuple(sorted(name for name, at_s in seen if ttl_s > 0 and view.now_s - at_s <= ttl_s))


def _absent_slots(view: View) -> frozenset[SlotName]:
    """Return the slots that the leader keeps for members that are away; elsewhere they would hold WAL for nobody."""
    if not view.node.is_running_primary or view.cluster is None:
        return frozenset()
    present = {slot_name(name) for name in view.cluster.members}
    return frozenset(SlotName(name) for name in retained_slots(view)) - present


def _streams_here(view: View, member: Member, is_leader: bool) -> bool:
    """Return whether this member streams from this node: from the leader, or by its `replicatefrom`."""
    me = view.node.name
    if member.name == me or member.tags.nostream:
        return False
    source = member.tags.replicatefrom
    members = view.cluster.members if view.cluster else {}
    if source == me:
        return is_leader or member.name != (view.cluster.leader_name if view.cluster else None)
    return is_leader and (source is None or source == member.name or source not in members)
