"""Has our history left the leader's, and what then (contract/ha_behaviour.md §5.1-5.4, 5.6).

`Memory.rewind` says what is known. Facts move it (`settled`, called before any rule): a comparison with what the leader said
on a replication connection, or the end of a rewind. Rules ask what is missing and act on NEEDED and TWIN. Nothing is removed,
and nothing stopped, unless the leader has just answered as a running primary; a missing fact means that nothing happens.

TWIN goes beyond the contract, whose §5.3 row 7 takes equal numbers for equal timelines: two servers that were promoted without
knowing of each other have the same. Postgres does not tell them apart and would stream one over the other; so such a node is
compared even where nothing may be rewound or removed, and then it is kept down until it is cloned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from patroni.decision.actions import AskHistory, CrashRecovery, Reinitialize, Rewind, StopPostgres
from patroni.decision.cluster import Lsn, Member, Role, Timeline, Twin
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
    is_certain: bool = True  # False: of a running server, whose WAL may be there in part only

    @property
    def known(self) -> tuple[Timeline, int]:
        """Return the timeline and the end of a record up to which its WAL is known to be whole."""
        return self.timeline, self.end_lsn or self.lsn


# --- what is known (not rules: called before them)


def triggered(view: View, memory: Memory) -> Memory:
    """Note that the history must be compared (`trigger_rewind_check`, §5.1), even where nothing is allowed: see TWIN."""
    settings, control = view.settings, view.node.control
    is_possible = settings.use_pg_rewind and (control is None or control.can_rewind)
    is_allowed = is_possible or settings.remove_data_directory_on_diverged_timelines
    stands = memory.rewind is RewindState.TWIN or (memory.rewind is RewindState.NEEDED and is_allowed)
    return memory if stands else replace(memory, rewind=RewindState.CHECK)


def settled(view: View, memory: Memory) -> Memory:
    """Let the facts decide: the outcome of a rewind, else the comparison with the leader (§5.3, 5.6)."""
    if memory.rewind in (RewindState.NEEDED, RewindState.FAILED, RewindState.TWIN):
        memory = _moved_to(view, memory, _after_job(view, memory))
    verdict = _verdict(view)
    if memory.rewind is RewindState.NEEDED and verdict is not RewindState.TWIN:
        return memory
    if verdict is None or memory.rewind not in (RewindState.CHECK, RewindState.NEEDED, RewindState.TWIN):
        return memory
    return _moved_to(view, memory, verdict)


def _verdict(view: View) -> RewindState | None:
    """Compare with what the leader says; None: a fact is missing, or is older than what a job made of the data directory."""
    leader, local, history, last = leader_member(view), _local(view), _leader_says(view), view.node.last_job
    if leader is None or leader.role is not Role.PRIMARY or local is None or history is None:
        return None
    is_before_job = last is not None and last.kind in (*COPIES, JobKind.REWIND) and last.age_s <= history.age_s
    if is_before_job or (local.timeline == history.timeline and history.compared != local.timeline):
        return None
    if _is_twin(local, history):
        return RewindState.TWIN
    return RewindState.NEEDED if has_diverged(local, history) else RewindState.NOT_NEEDED


def _is_twin(local: Local, history: LeaderHistory) -> bool:
    """Return whether pg_rewind would find nothing: the same number, and another begin or other WAL.

    A running server is never judged by its WAL: nothing is stopped or removed because of bytes that may be still to come.
    """
    if history.compared != local.timeline or local.timeline != history.timeline:
        return False
    return history.twin is Twin.BY_BEGIN or (history.twin is Twin.BY_WAL and local.is_certain)


def has_diverged(local: Local, history: LeaderHistory) -> bool:
    """Compare where the own history ends with the leader's (§5.3 rows 6-12)."""
    if history.timeline is None:
        return False
    if history.compared == local.timeline and history.twin is Twin.BY_BEGIN:
        return True
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
    asked_s = view.memory.compared_at_s
    is_under_way = asked_s is not None and view.now_s - asked_s < ASK_AGAIN_S
    if leader.role is not Role.PRIMARY or is_under_way or not _wants_answer(view, leader):
        return None
    memory = replace(view.memory, compared_at_s=view.now_s)
    return act(view, fine.because, _question(view, leader), memory=memory, within_s=ASK_AGAIN_S)


def repair(view: View) -> Decision | None:
    """Rewind, or clone anew where the configuration allows it (§5.4, 5.6 row 4)."""
    leader, control = leader_member(view), view.node.control
    if leader is not None and view.memory.rewind is RewindState.TWIN:
        return reinitialize(view, leader) if may_remove_after_failure(view) else _keep_down(view, leader)
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


def _keep_down(view: View, leader: Member) -> Decision:
    """Stop a twin, and wait for a person; the leader is asked again once in a while, for it may be another one now."""
    if view.node.process not in DOWN:
        return act(view, because(Code.TWIN_STOP, member=leader.name), StopPostgres(is_fast=True))
    history = view.leader_history
    is_due = history is None or history.member != leader.name or history.age_s >= view.settings.loop_wait_s
    questions = (_question(view, leader),) if is_due and leader.conn_url is not None else ()
    return act(view, because(Code.TWIN, member=leader.name), *questions)


def reinitialize(view: View, leader: Member) -> Decision:
    """Remove the data directory and clone from this leader, when it has just answered as a running primary."""
    said, last = _leader_says(view), view.node.last_job
    is_before_job = said is not None and last is not None and last.age_s <= said.age_s  # a rewind fails when its source dies
    if leader.role is not Role.PRIMARY or said is None or is_before_job or leader.conn_url is None:
        return _wait_for_leader(view, leader)
    action = Reinitialize(
        member=leader.name,
        conn_url=leader.conn_url,
        upstream=wanted_upstream(view),
        is_twin=view.memory.rewind is RewindState.TWIN,
    )
    return act(view, because(Code.REINITIALIZE), action)


def _wait_for_leader(view: View, leader: Member) -> Decision:
    questions = (_question(view, leader),) if _wants_answer(view, leader) else ()
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
    leader, history, local = leader_member(view), view.leader_history, _local(view)
    if leader is None or leader.role is not Role.PRIMARY or leader.conn_url is None or local is None:
        return None
    is_answered = history is not None and history.member == leader.name and history.age_s <= ANSWER_S
    is_in_vain = is_answered and history is not None and not history.is_primary
    since_s = view.memory.history_asked_at_s
    if is_in_vain or (since_s is not None and view.now_s - since_s > LONGEST_ASKING_S):
        return None
    memory = replace(view.memory, history_asked_at_s=view.now_s if since_s is None else since_s)
    return act(view, because(code, member=leader.name), _question(view, leader), memory=memory, within_s=ASK_AGAIN_S)


def _wants_answer(view: View, leader: Member) -> bool:
    history = view.leader_history
    if leader.conn_url is None:
        return False
    return history is None or history.member != leader.name or history.age_s >= ASK_AGAIN_S


def _question(view: View, leader: Member) -> AskHistory:
    local = _local(view)
    return AskHistory(member=leader.name, conn_url=leader.conn_url or "", ours=local.known if local else None)


def _local(view: View) -> Local | None:
    """Return where the own history ends (§5.3, second table); None: unknown."""
    node = view.node
    if node.process in DOWN or node.is_starting:
        return controlled(node.control) if node.control else None
    if node.is_in_recovery is not True or node.timeline is None or node.replay_lsn is None:
        return None
    return Local(timeline=node.timeline, lsn=node.replay_lsn, was_in_recovery=True, is_certain=False)


def controlled(control: ControlData) -> Local | None:
    """Return where the history of a server ends that is down; None: unknown."""
    recovering = (ClusterState.SHUT_DOWN_IN_RECOVERY, ClusterState.IN_ARCHIVE_RECOVERY)
    minimum, timeline = control.minimum_recovery_lsn, control.minimum_recovery_timeline
    if control.cluster_state in recovering and minimum is not None and timeline is not None:
        return Local(timeline=timeline, lsn=minimum, was_in_recovery=True)
    if control.cluster_state in (*recovering, ClusterState.SHUT_DOWN):
        end_lsn = control.checkpoint_end_lsn
        return Local(timeline=control.timeline, lsn=control.checkpoint_lsn, was_in_recovery=False, end_lsn=end_lsn)
    return None
