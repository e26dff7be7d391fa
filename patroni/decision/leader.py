"""The lock is ours and proved: be the primary (contract/ha_behaviour.md §2.14-2.16).

Nothing that needs the lock is decided on a view older than it. A promotion that does not begin is given back, so that a
cluster is never led by nobody for long (safety_rules.md §7.6). What a primary keeps up besides (status, history, slots, a
checkpoint after its promotion) is done under the heartbeat's reason; what failed lately waits for a loop_wait, so that no
failing upkeep keeps the others from their turn.
"""

from __future__ import annotations

from dataclasses import replace

from patroni.decision.actions import (
    Action,
    Checkpoint,
    ClearFailover,
    Demote,
    DemoteKind,
    Promote,
    ReadCluster,
    SyncSlots,
    WriteConfig,
    WriteHistory,
    WriteInitialize,
    WriteStatus,
)
from patroni.decision.candidate import ask, failover_possible
from patroni.decision.cluster import History, HistoryRow, Initialize, Lsn, Role, Status
from patroni.decision.demotion import release
from patroni.decision.fact import lease_enough_s, may_write, slot_name
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.slots import missing_slots, retained_slots, superfluous_slots
from patroni.decision.view import Decision, View

SHORTEST_TRY_S = 30.0  # for a promotion to begin
SOON_S = 0.5


def view_old(view: View) -> Decision | None:
    """Read the cluster again where the view is older than the lock (safety_rules.md §6)."""
    if view.is_fresh:
        return None
    return act(view, because(Code.LEADER_VIEW_OLD), ReadCluster(), within_s=SOON_S)


def no_good_read(view: View) -> Decision | None:
    """Say that the cluster can't be read although renewals are proved, and step down after 2 x ttl (safety_rules.md §7.4)."""
    age_s, ttl_s = view.cluster_age_s or 0.0, view.settings.ttl_s
    if age_s <= ttl_s:
        return None
    why = because(Code.LEADER_NO_GOOD_READ, limit_s=ttl_s)
    if age_s <= 2 * ttl_s or not view.node.is_running_primary:
        return act(view, why, ReadCluster())
    possible = failover_possible(view)
    if possible.is_unknown:
        return ask(view, possible.consulted, why)
    return act(view, why, Demote(DemoteKind.GRACEFUL) if possible.good else ReadCluster())


def promotion_stuck(view: View) -> Decision | None:
    """Give back a lock with which nothing happens (safety_rules.md §7.6); a signalled promotion is stopped first (PR6)."""
    since_s = view.memory.won_at_s
    if since_s is None or view.now_s - since_s < max(view.settings.ttl_s, SHORTEST_TRY_S):
        return None
    why = because(Code.LEADER_PROMOTION_STUCK)
    memory = replace(view.memory, released_at_s=view.now_s)
    if may_write(view.node) or _is_promote_unanswered(view):
        return act(view, why, Demote(DemoteKind.IMMEDIATE), memory=memory)
    return release(replace(view, memory=memory), why)


def promoting(view: View) -> Decision | None:
    """Wait for a promotion that was signalled (W5)."""
    if view.node.is_running_primary or view.node.role is not Role.PROMOTED:
        return None
    return act(view, because(Code.LEADER_PROMOTING), within_s=SOON_S)


def stay_standby(view: View) -> Decision | None:
    """Give back a lock that was won before `standby_cluster` was seen: a promotion would leave the cluster it follows."""
    if view.node.is_in_recovery is not True or not view.settings.is_standby_cluster:
        return None
    return release(view, because(Code.RACE_RELEASED, why=Code.RACE_STANDBY_CLUSTER))


def promote(view: View) -> Decision | None:
    """Promote; a request that this election has answered is cleared first (W7, L2).

    The others' slots are made before: a walreceiver that finds none comes back after wal_retrieve_retry_interval (5 s).
    If that fails it is left for later.
    """
    if view.node.is_in_recovery is not True:
        return None
    if view.lease.left_s < lease_enough_s(view):
        return act(view, because(Code.LEADER_LEASE_SHORT), within_s=SOON_S)
    cluster = view.cluster
    token = cluster.failover_token if cluster and cluster.failover else None
    clearing = (ClearFailover(token),) if token else ()
    return act(view, because(Code.LEADER_PROMOTING), *clearing, *_slots_of_followers(view), Promote(), within_s=SOON_S)


def keep_up(view: View) -> Decision:
    """Say that all is well, and do what a primary keeps up (C7, C8, W4, §2.16, §4.5)."""
    chores = (_slots(view), _initialize(view), _config(view), _status(view), _history(view), _checkpoint(view))
    actions = tuple(chore for chore in chores if chore is not None and not _has_failed_lately(view, chore))
    memory = view.memory
    if any(isinstance(action, WriteStatus) for action in actions):
        memory = replace(memory, status_at_s=view.now_s)
    if any(isinstance(action, Checkpoint) for action in actions):
        memory = replace(memory, checkpoint_at_s=view.now_s)
    return act(view, because(Code.LEADER_OK, name=view.node.name), *actions, memory=memory)


def history_rows(view: View) -> tuple[HistoryRow, ...] | None:
    """Return the rows that the history key ought to have; None: it is right, or the own history is not known (§2.16 step 7)."""
    if view.cluster is None or view.node.timeline is None:
        return None
    published, timeline = view.cluster.history, view.node.timeline
    if timeline == 1:
        return () if published.rows else None
    if _is_current(published, timeline - 1) or not view.node.local_history:
        return None
    known = {(row.timeline, row.lsn): row for row in published.rows}
    rows = [_with_origin(row, known.get((row.timeline, row.lsn)), view) for row in view.node.local_history]
    limit = view.settings.max_timelines_history
    kept = tuple(rows[-limit:] if limit > 0 else rows)
    return None if kept == published.rows else kept


def status(view: View) -> Status | None:
    """Return what the status key ought to say (§4.9); None: the own position is unknown."""
    lsn = view.node.lsn
    if not lsn:
        return None
    slots: dict[str, Lsn] = {}
    if view.settings.use_slots and view.settings.member_slots_ttl_s > 0:
        slots = {slot.name: slot.restart_lsn for slot in view.node.slots if slot.is_physical and slot.restart_lsn is not None}
        slots[slot_name(view.node.name)] = lsn
    retained = () if view.settings.tags.nofailover else retained_slots(view)
    return Status(lsn=lsn, slots=slots, retain_slots=retained)


# --- chores


def _initialize(view: View) -> Action | None:
    """C7."""
    if view.cluster is None or view.node.system_id is None or view.cluster.system_id is not None:
        return None
    return WriteInitialize(system_id=view.node.system_id, is_new=view.cluster.initialize is Initialize.ABSENT)


def _config(view: View) -> Action | None:
    """C8."""
    config = view.cluster.config if view.cluster else None
    return WriteConfig() if config is None or not config.values else None


def _status(view: View) -> Action | None:
    """Write the status at most once a loop_wait, and only if it changed (safety_rules.md §7.5)."""
    wanted, at_s = status(view), view.memory.status_at_s
    is_due = at_s is None or view.now_s - at_s >= view.settings.loop_wait_s
    is_new = view.cluster is not None and wanted != view.cluster.status
    return WriteStatus(wanted) if wanted is not None and is_due and is_new else None


def _history(view: View) -> Action | None:
    rows = history_rows(view)
    return None if rows is None else WriteHistory(tuple(_fields(row) for row in rows))


def _checkpoint(view: View) -> Action | None:
    """Make the checkpoint after a promotion, so that others may rewind from us (§2.16 step 6)."""
    control, at_s = view.node.control, view.memory.checkpoint_at_s
    is_due = at_s is None or view.now_s - at_s >= view.settings.loop_wait_s
    is_lacking = control is not None and view.node.timeline is not None and not view.node.is_checkpointed
    return Checkpoint() if is_lacking and is_due else None


def _slots(view: View) -> Action | None:
    create, drop = missing_slots(view), superfluous_slots(view)
    return SyncSlots(create=create, drop=drop) if create or drop else None


def _slots_of_followers(view: View) -> tuple[SyncSlots, ...]:
    create = missing_slots(view, will_lead=True)
    last = view.last_chain
    has_failed = last is not None and isinstance(last.failed, SyncSlots)
    return (SyncSlots(create=create, drop=()),) if create and not has_failed else ()


# --- helpers


def _has_failed_lately(view: View, action: Action) -> bool:
    last = view.last_chain
    is_late = last is not None and last.age_s < view.settings.loop_wait_s
    return is_late and last is not None and isinstance(last.failed, type(action))


def _is_promote_unanswered(view: View) -> bool:
    last = view.last_chain
    return last is not None and isinstance(last.failed, Promote) and not last.is_refusal


def _is_current(published: History, previous: int) -> bool:
    """Return whether the key's last row is that of the previous timeline, with all its fields."""
    last = published.rows[-1] if published.rows else None
    return last is not None and last.timeline == previous and last.timestamp is not None and last.leader is not None


def _with_origin(row: HistoryRow, known: HistoryRow | None, view: View) -> HistoryRow:
    """Add when and by whom: as the key says already; for the switch that made the current timeline, now and us."""
    if known is not None and known.timestamp is not None:
        return replace(row, timestamp=known.timestamp, leader=known.leader)
    is_last = view.node.timeline is not None and row.timeline == view.node.timeline - 1
    if is_last and row.timestamp is not None:
        return replace(row, leader=view.node.name)
    return replace(row, timestamp=None, leader=None)


def _fields(row: HistoryRow) -> tuple[object, ...]:
    """Return the row as it is written: without what nobody knows at its end."""
    fields = (row.timeline, row.lsn, row.reason)
    if row.timestamp is None:
        return fields
    return (*fields, row.timestamp) if row.leader is None else (*fields, row.timestamp, row.leader)
