"""decide: the view of one moment to the decision for it. Pure; reading the lists top to bottom is reading the rules.

Promised: a decision for every view, the same for the same one, and no exception whatever is missing. Mechanism: the memory
is brought up to date (`notice`), the situation chooses a list, its first rule that applies wins, and what was ordered just
now is not ordered again before it can have had an effect. Not promised: that an order is carried out; the executor checks
its preconditions again (safety_rules.md §6), and the outcome is a fact of a later view.
"""

from __future__ import annotations

from dataclasses import replace

from patroni.decision import (
    bootstrap,
    busy,
    demotion,
    leader,
    leader_race,
    pause,
    recovery,
    rewind,
    shutdown,
    standby,
    starting,
    store_silent,
    stuck,
    switchover,
    system_id,
    torn,
)
from patroni.decision.actions import (
    GIVES_UP_POWER,
    QUESTIONS,
    AcquireLock,
    AdoptLock,
    Promote,
    ReadFiles,
)
from patroni.decision.fact import DOWN, is_leading, is_other_leading, is_store_silent
from patroni.decision.node import DataDirectory
from patroni.decision.notice import noticed
from patroni.decision.reasons import Code, because
from patroni.decision.rule import Rule, act, first
from patroni.decision.view import Decision, GuardState, Memory, Repeated, View

FIRST_PAUSE_S = 0.1
AT_ONCE_S = 0.001  # nobody wakes more exactly than that
LONGEST_PAUSE_OF_POWER_S = 1.0
PROMPT = (*GIVES_UP_POWER, AcquireLock, AdoptLock, Promote)
REMEMBERED = 8


# --- the situations


def held(view: View) -> Decision:
    """Touch nothing while the guard holds Postgres: it answers no question, and is not dead (safety_rules.md §4.6)."""
    return act(view, because(Code.HELD), within_s=1.0)


def chain_running(view: View) -> Decision:
    """Wait for the effects of an earlier decision (design.md §3)."""
    running = view.chain.code if view.chain else ""
    return act(view, because(Code.CHAIN_RUNNING, decision=running))


def facts_unknown(view: View) -> Decision:
    """Wait until it is known what is on the data directory."""
    return act(view, because(Code.FACTS_UNKNOWN), ReadFiles(), within_s=1.0)


CHAIN: tuple[Rule, ...] = (demotion.lost_lock, stuck.let_lapse, chain_running)
UNANSWERED: tuple[Rule, ...] = (demotion.lost_lock, stuck.let_lapse)
UNKNOWN: tuple[Rule, ...] = (stuck.let_lapse, facts_unknown)
SHUTDOWN: tuple[Rule, ...] = (bootstrap.abort_at_shutdown, stuck.leave_hanging, shutdown.shut_down)
PAUSE: tuple[Rule, ...] = (
    demotion.hand_over,
    demotion.finish_stop,
    busy.in_progress,
    pause.store_down,
    pause.leader,
    pause.release_when_down,
    pause.primary_without_lock,
    standby.follower_ok,
    standby.no_action,
)
BUSY: tuple[Rule, ...] = (
    busy.lost_lock,
    stuck.let_lapse,
    demotion.hand_over,
    demotion.finish_stop,
    busy.crash_recovery_timeout,
    busy.in_progress,
)
OWN_BOOTSTRAP: tuple[Rule, ...] = (bootstrap.abort, bootstrap.publish, bootstrap.wait_for_recovery)
STORE_SILENT: tuple[Rule, ...] = (
    store_silent.unread,
    store_silent.demote,
    store_silent.lease_lasts,
    store_silent.start_read_only,
    store_silent.down,
)
NO_DATA: tuple[Rule, ...] = (
    bootstrap.stop_without_data,
    bootstrap.release_without_data,
    bootstrap.inaccessible,
    bootstrap.free_claim,
    bootstrap.make_cluster,
    bootstrap.clone,
    bootstrap.wait_for_leader,
)
DATA: tuple[Rule, ...] = (
    demotion.lost_lock,
    system_id.invalid,
    system_id.mismatch,
    system_id.replica_first,
    system_id.claim,
    demotion.release_again,
)
TORN: tuple[Rule, ...] = (
    demotion.lost_lock,
    system_id.mismatch,
    torn.stop,
    torn.give_up_lock,
    torn.clone_anew,
    torn.stay_down,
)
DOWN_RULES: tuple[Rule, ...] = (
    recovery.end_orphans,
    recovery.release_after_demotion,
    recovery.give_up_lock,
    recovery.give_up_crash_recovery,
    recovery.fail_over,
    recovery.start_in_place,
    recovery.recover_in_single_user_mode,
    recovery.start_with_lock,
    rewind.compare_while_down,
    rewind.repair,
    recovery.start_as_standby,
)
STARTING_LEADER: tuple[Rule, ...] = (
    starting.start_timeout,
    switchover.requested,
    starting.wait_for_start,
)
LEADER: tuple[Rule, ...] = (
    leader.view_old,
    leader.promotion_stuck,
    leader.no_good_read,
    leader.promoting,
    leader.stay_standby,
    leader.promote,
    switchover.requested,
    leader_race.unreachable,
    leader.keep_up,
)
RACE: tuple[Rule, ...] = (
    leader_race.starting,
    leader_race.unreachable,
    standby.resume_replay,
    leader_race.back_off,
    leader_race.race,
)
FOLLOWER: tuple[Rule, ...] = (
    rewind.repair,
    standby.resume_replay,
    standby.follow,
    rewind.compare_while_running,
    standby.keep_slots,
    standby.ask_ahead,
    standby.restream,
    leader_race.unreachable,
    standby.follower_ok,
    standby.no_action,
)


def situation(view: View) -> tuple[Rule, ...]:
    """Return the rules for this situation, in their order."""
    node = view.node
    if view.guard is GuardState.HELD:
        return (held,)
    if view.is_stopping:
        return SHUTDOWN
    if view.chain is not None:
        return (chain_running,) if view.settings.is_paused else CHAIN
    if view.settings.is_paused:
        return PAUSE
    if node.job is not None:
        return BUSY
    if view.memory.is_aborting:
        return (bootstrap.exit_after_abort,)
    return _idle(view)


def _idle(view: View) -> tuple[Rule, ...]:
    """Return the rules where neither chain nor job runs."""
    node = view.node
    if stuck.is_unknown(node):
        return UNKNOWN
    if view.memory.unanswered_since_s is not None:
        return (*UNANSWERED, *_known(view))
    return _known(view)


def _known(view: View) -> tuple[Rule, ...]:
    """Return the rules for what is on the data directory."""
    node = view.node
    if view.memory.is_own_bootstrap:
        return OWN_BOOTSTRAP
    if is_store_silent(view):
        return STORE_SILENT
    if node.data_directory in (DataDirectory.EMPTY, DataDirectory.INACCESSIBLE):
        return NO_DATA
    if node.is_torn:
        return TORN
    return (*DATA, *_with_data(view))


def _with_data(view: View) -> tuple[Rule, ...]:
    """Return the rules for a data directory of this cluster."""
    if view.node.process in DOWN:
        return DOWN_RULES
    if is_leading(view):
        return STARTING_LEADER if view.node.is_starting else LEADER
    return FOLLOWER if is_other_leading(view) else RACE


# --- decide


def decide(view: View) -> Decision:
    """Return what to do now, why, what to remember, and when to ask again if nothing happens."""
    seen = replace(view, memory=noticed(view))
    decision = first(seen, situation(seen)) or standby.no_action(seen)
    return _paced(seen, decision) if decision.actions else decision


def _paced(view: View, decision: Decision) -> Decision:
    """Hold back a decision that was made just now: repeated after 0.1 s, doubling to loop_wait (safety_rules.md §7.5).

    Whatever takes or gives up power is repeated within 1 s, a question every 0.1 s: its answer is what changes the facts.
    """
    for known in view.memory.repeated:
        if known.because == decision.because and known.actions == decision.actions:
            left_s = known.at_s + _pause_s(view, known) - view.now_s
            if left_s > AT_ONCE_S:
                return replace(decision, actions=(), memory=view.memory, wake_at_s=view.now_s + left_s)
            return replace(decision, memory=_noted(view, decision, known.count + 1))
    return replace(decision, memory=_noted(view, decision, 1))


def _noted(view: View, decision: Decision, count: int) -> Memory:
    """Remember this decision as the latest; older ones are forgotten after a while."""
    limit_s = 2 * view.settings.loop_wait_s
    made = Repeated(because=decision.because, actions=decision.actions, at_s=view.now_s, count=count)
    others = tuple(
        known
        for known in view.memory.repeated
        if view.now_s - known.at_s < limit_s and (known.because, known.actions) != (made.because, made.actions)
    )
    return replace(decision.memory, repeated=(made, *others[: REMEMBERED - 1]))


def _pause_s(view: View, known: Repeated) -> float:
    if all(isinstance(action, QUESTIONS) for action in known.actions):
        return FIRST_PAUSE_S
    is_prompt = any(isinstance(action, PROMPT) for action in known.actions)
    longest_s = LONGEST_PAUSE_OF_POWER_S if is_prompt else view.settings.loop_wait_s
    return min(FIRST_PAUSE_S * 2.0 ** min(known.count - 1, 16), longest_s)
