"""A job is running (contract/ha_behaviour.md §2.3): nothing new is begun; only power is given up."""

from __future__ import annotations

from patroni.decision.actions import CancelJob
from patroni.decision.candidate import ask, failover_possible
from patroni.decision.node import JobKind
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.view import Decision, View


def crash_recovery_timeout(view: View) -> Decision | None:
    """End a leader's crash recovery that takes too long, if somebody else can lead (B1)."""
    job, since_s = view.node.job, view.memory.crash_recovery_at_s
    if job is None or job.kind is not JobKind.CRASH_RECOVERY or job.is_cancelled or not view.lease.is_held:
        return None
    if since_s is None or view.now_s - since_s < view.settings.primary_start_timeout_s:
        return None
    possible = failover_possible(view)
    if possible.is_unknown:
        return ask(view, possible.consulted, because(Code.BUSY_LOCK_RENEWED, task=job.title))
    return act(view, because(Code.BUSY_CRASH_RECOVERY_TIMEOUT), CancelJob()) if possible.good else None


def lost_lock(view: View) -> Decision | None:
    """End the start of a primary whose lock is lost; a postmaster that it started is ended with it (B4)."""
    job = view.node.job
    if job is None or job.kind is not JobKind.START_AS_PRIMARY or job.is_cancelled or view.lease.is_held:
        return None
    return act(view, because(Code.BUSY_LOST_LOCK, task=job.title), CancelJob())


def in_progress(view: View) -> Decision | None:
    """Say what is in progress (B2, B5)."""
    if view.node.job is None:
        return None
    code = Code.BUSY_LOCK_RENEWED if view.lease.is_held else Code.BUSY
    return act(view, because(code, task=view.node.job.title))
