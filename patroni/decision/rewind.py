"""Has our history left the leader's, and what then (contract/ha_behaviour.md §5.1-5.4, 5.6).

`Memory.rewind` says what is known. Facts move it (`settled`, called before any rule): a comparison with what the leader said
on a replication connection, or the end of a rewind. Rules ask what is missing and act on NEEDED. Nothing is removed, and
nothing stopped, unless the leader has just answered as a running primary; a missing fact means that nothing happens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from patroni.decision.actions import AskHistory, CrashRecovery, Reinitialize, Rewind
from patroni.decision.cluster import Lsn, Member, Role, Timeline
from patroni.decision.fact import DOWN, leader_member, leader_name
from patroni.decision.node import ClusterState, ControlData, JobKind
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.standby import follower_ok, wanted_upstream
from patroni.decision.view import Decision, LeaderHistory, Memory, RewindState, View

ANSWER_S = 3.0  # so long what the leader said is taken as its present state
ASK_AGAIN_S = 1.0  # after an answer that did not help
COPIES = (JobKind.REINITIALIZE, JobKind.CLONE_FROM_LEADER, JobKind.CLONE_FROM_REPLICA)  # they leave another history
VERDICT_S = 5.0  # a leader that answers so soon after a failed rewind was not its cause; later it may have come back
LONGEST_ASKING_S = 10.0  # a down server waits so long for an answer, then starts as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Where the own history ends."""

    timeline: Timeline
    lsn: Lsn
    was_in_recovery: bool
    end_lsn: Lsn | None = None  # of a primary: end of its shutdown checkpoint record; None: not read


# --- what is known (not rules: called before them)


def triggered(view: View, memory: Memory) -> Memory:
    """Note that the history must be compared, where anything could be done about it (`trigger_rewind_check`, §5.1)."""
    settings, control = view.settings, view.node.control
    is_possible = settings.use_pg_rewind and (control is None or control.can_rewind)
    is_allowed = is_possible or settings.remove_data_directory_on_diverged_timelines
    if not is_allowed or memory.rewind is RewindState.NEEDED:
        return memory
    return replace(memory, rewind=RewindState.CHECK)


def settled(view: View, memory: Memory) -> Memory:
    """Let the facts decide: the outcome of a rewind, else the comparison with the leader (§5.3, 5.6)."""
    if memory.rewind in (RewindState.NEEDED, RewindState.FAILED):
        return _moved_to(view, memory, _after_job(view, memory))
    if memory.rewind is not RewindState.CHECK:
        return memory
    leader, local, history = leader_member(view), _local(view), _leader_says(view)
    if leader is None or leader.role is not Role.PRIMARY or local is None or history is None:
        return memory
    is_needed = has_diverged(local, history)
    return _moved_to(view, memory, RewindState.NEEDED if is_needed else RewindState.NOT_NEEDED)


def has_diverged(local: Local, history: LeaderHistory) -> bool:
    """Compare where the own history ends with the leader's (§5.3 rows 6-12)."""
    if history.timeline is None:
        return False
    if local.timeline >= history.timeline:
        return local.timeline > history.timeline
    row = next((row for row in history.rows if row.timeline >= local.timeline), None)
    if not history.rows:
        return False
    if row is None or row.timeline > local.timeline:
        return True
    if local.was_in_recovery:
        return local.lsn > row.lsn
    return local.lsn >= row.lsn or local.end_lsn != row.lsn


# --- rules


def compare_while_down(view: View) -> Decision | None:
    """Ask the leader for its history before a dead server is started (R13)."""
    if view.memory.rewind is not RewindState.CHECK:
        return None
    return _ask_leader(view, Code.REWIND_CHECKING)


def compare_while_running(view: View) -> Decision | None:
    """Ask the leader for its history beside the normal work (F9)."""
    leader, fine = leader_member(view), follower_ok(view)
    if view.memory.rewind is not RewindState.CHECK or leader is None or fine is None:
        return None
    if leader.role is not Role.PRIMARY or not _wants_answer(view, leader):
        return None
    return act(view, fine.because, _question(leader), within_s=ASK_AGAIN_S)


def repair(view: View) -> Decision | None:
    """Rewind, or clone anew where the configuration allows it (§5.4, 5.6 row 4)."""
    leader, control = leader_member(view), view.node.control
    if leader is None or leader.conn_url is None or control is None:
        return None
    if view.memory.rewind is RewindState.FAILED:
        return reinitialize(view, leader) if may_remove_after_failure(view) else None
    if view.memory.rewind is not RewindState.NEEDED:
        return None
    if view.settings.use_pg_rewind and control.can_rewind:
        return _rewind(view, leader, leader.conn_url)
    return reinitialize(view, leader) if view.settings.remove_data_directory_on_diverged_timelines else None


def _rewind(view: View, leader: Member, conn_url: str) -> Decision:
    """Rewind when the leader is a primary that has made its checkpoint; wait for that otherwise (§5.5 step 3)."""
    if _needs_single_user(view):
        memory = replace(view.memory, crash_recovery_at_s=view.now_s)
        return act(view, because(Code.REWIND_SINGLE_USER), CrashRecovery(), memory=memory)
    if leader.role is not Role.PRIMARY or leader.checkpoint_after_promote is False or _leader_says(view) is None:
        return _wait_for_leader(view, leader)
    return act(view, because(Code.REWIND, member=leader.name), Rewind(member=leader.name, conn_url=conn_url))


def reinitialize(view: View, leader: Member) -> Decision:
    """Remove the data directory and clone from this leader, when it has just answered as a running primary."""
    said, last = _leader_says(view), view.node.last_job
    is_before_job = said is not None and last is not None and last.age_s <= said.age_s  # a rewind fails when its source dies
    if leader.role is not Role.PRIMARY or said is None or is_before_job or leader.conn_url is None:
        return _wait_for_leader(view, leader)
    action = Reinitialize(member=leader.name, conn_url=leader.conn_url, upstream=wanted_upstream(view))
    return act(view, because(Code.REINITIALIZE), action)


def _wait_for_leader(view: View, leader: Member) -> Decision:
    questions = (_question(leader),) if _wants_answer(view, leader) else ()
    return act(view, because(Code.REWIND_WAITING, member=leader.name), *questions, within_s=ASK_AGAIN_S)


def may_remove_after_failure(view: View) -> bool:
    """Return whether the configuration lets a data directory be removed whose rewind has failed (§5.6 row 4)."""
    settings = view.settings
    return settings.remove_data_directory_on_rewind_failure or settings.remove_data_directory_on_diverged_timelines


def _needs_single_user(view: View) -> bool:
    """§5.4 row 2: a replica that died leaves no clean end."""
    node = view.node
    is_unclean = node.control is not None and node.control.cluster_state is ClusterState.IN_ARCHIVE_RECOVERY
    is_first = view.memory.crash_recovery_at_s is None and not node.has_backup_label
    return node.process in DOWN and is_unclean and is_first


# --- facts


def _moved_to(view: View, memory: Memory, state: RewindState) -> Memory:
    return memory if state is memory.rewind else replace(memory, rewind=state, rewind_at_s=view.now_s)


def _after_job(view: View, memory: Memory) -> RewindState:
    """Return what a job that ended after the finding made of it (§5.5 step 5, §5.6); without one it stands."""
    last = view.node.last_job
    if last is None or view.node.job is not None or view.chain is not None:
        return memory.rewind
    if memory.rewind_at_s is not None and view.now_s - last.age_s <= memory.rewind_at_s:
        return memory.rewind
    if last.kind in COPIES:
        return RewindState.CHECK
    if last.kind is not JobKind.REWIND or memory.rewind is RewindState.FAILED:
        return memory.rewind
    return RewindState.SUCCESS if last.is_ok else _after_failed_rewind(view, last.age_s)


def _after_failed_rewind(view: View, age_s: float) -> RewindState:
    """§5.6 rows 1-3: a healthy leader was not its cause; one that is away may have been."""
    control, history = view.node.control, _leader_says(view)
    is_damaged = control is not None and not control.can_rewind
    is_leader_well = history is not None and history.age_s < age_s <= VERDICT_S
    return RewindState.FAILED if is_damaged or is_leader_well else RewindState.NEEDED


def _leader_says(view: View) -> LeaderHistory | None:
    """Return what the leader of this view said of its history lately, as a running primary; None: it did not."""
    history = view.leader_history
    if history is None or history.member != leader_name(view) or history.age_s > ANSWER_S:
        return None
    return history if history.is_primary else None


def _ask_leader(view: View, code: Code) -> Decision | None:
    """Ask and wait; None: the leader can't say, or was asked in vain for too long (then the server starts as it is)."""
    leader, history = leader_member(view), view.leader_history
    if leader is None or leader.role is not Role.PRIMARY or leader.conn_url is None or _local(view) is None:
        return None
    is_in_vain = history is not None and history.member == leader.name and history.age_s <= ANSWER_S
    since_s = view.memory.history_asked_at_s
    if is_in_vain or (since_s is not None and view.now_s - since_s > LONGEST_ASKING_S):
        return None
    memory = replace(view.memory, history_asked_at_s=view.now_s if since_s is None else since_s)
    return act(view, because(code, member=leader.name), _question(leader), memory=memory, within_s=ASK_AGAIN_S)


def _wants_answer(view: View, leader: Member) -> bool:
    history = view.leader_history
    if leader.conn_url is None:
        return False
    return history is None or history.member != leader.name or history.age_s >= ASK_AGAIN_S


def _question(leader: Member) -> AskHistory:
    return AskHistory(member=leader.name, conn_url=leader.conn_url or "")


def _local(view: View) -> Local | None:
    """Return where the own history ends (§5.3, second table); None: unknown."""
    node = view.node
    if node.process in DOWN or node.is_starting:
        return _controlled(node.control) if node.control else None
    if node.is_in_recovery is not True or node.timeline is None or node.replay_lsn is None:
        return None
    return Local(timeline=node.timeline, lsn=node.replay_lsn, was_in_recovery=True)


def _controlled(control: ControlData) -> Local | None:
    recovering = (ClusterState.SHUT_DOWN_IN_RECOVERY, ClusterState.IN_ARCHIVE_RECOVERY)
    minimum, timeline = control.minimum_recovery_lsn, control.minimum_recovery_timeline
    if control.cluster_state in recovering and minimum is not None and timeline is not None:
        return Local(timeline=timeline, lsn=minimum, was_in_recovery=True)
    if control.cluster_state in (*recovering, ClusterState.SHUT_DOWN):
        end_lsn = control.checkpoint_end_lsn
        return Local(timeline=control.timeline, lsn=control.checkpoint_lsn, was_in_recovery=False, end_lsn=end_lsn)
    return None
