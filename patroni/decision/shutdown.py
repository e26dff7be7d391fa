"""The agent ends: stop Postgres, hand over, leave (contract/ha_behaviour.md §2.25).

While paused nothing is touched. A stop that fails keeps the leader key, because the server may still write.
"""

from __future__ import annotations

from patroni.decision.actions import CancelJob, Exit, ReadFiles, ReleaseLock, StopPostgres
from patroni.decision.demotion import finish_stop, hand_over, release
from patroni.decision.fact import STOPPING_JOBS, is_store_silent, last_failed
from patroni.decision.node import JobKind, Process
from patroni.decision.reasons import Code, Reason, because
from patroni.decision.rule import act, first
from patroni.decision.view import Decision, View


def shut_down(view: View) -> Decision:
    """Leave because a signal said so; paused, leave everything alone (U1-U8)."""
    if view.settings.is_paused:
        return act(view, because(Code.SHUTDOWN_PAUSED), Exit(0))
    return leave(view, because(Code.SHUTDOWN_DONE), 0)


def leave(view: View, why: Reason, status: int) -> Decision:
    """Stop Postgres, release the lock and end with this status; each call is one step of it."""
    steps = (_await_release, _job, _stop_failed, _stop, _look, _release)
    return first(view, steps) or act(view, why, Exit(status))


def _await_release(view: View) -> Decision | None:
    """Wait for a release that is under way."""
    if view.chain is None or not any(isinstance(action, ReleaseLock) for action in view.chain.actions):
        return None
    return act(view, because(Code.SHUTDOWN_RELEASED), within_s=1.0)


def _job(view: View) -> Decision | None:
    """Cancel the running job and wait for its end; a stop goes on (U1)."""
    job = view.node.job
    if job is None:
        return None
    stopping = first(view, (hand_over, finish_stop))
    if stopping is not None:
        return stopping
    why = because(Code.BUSY, task=job.title)
    if job.kind in STOPPING_JOBS or job.is_cancelled:
        return act(view, why)
    return act(view, why, CancelJob())


def _stop_failed(view: View) -> Decision | None:
    """Leave a Postgres that can't be stopped, and its leader key (U8)."""
    if view.node.process is Process.DOWN or not last_failed(view, JobKind.STOP):
        return None
    return act(view, because(Code.SHUTDOWN_STOP_FAILED), Exit(1))


def _stop(view: View) -> Decision | None:
    """Stop Postgres (U5)."""
    if view.node.process not in (Process.ALIVE, Process.ORPHANS):
        return None
    return act(view, because(Code.SHUTDOWN_STOPPING), StopPostgres(is_fast=view.node.process is Process.ALIVE))


def _look(view: View) -> Decision | None:
    """Look whether anything runs, where that is not known."""
    if view.node.process is not Process.UNKNOWN:
        return None
    return act(view, because(Code.FACTS_UNKNOWN), ReadFiles(), within_s=1.0)


def _release(view: View) -> Decision | None:
    """Release the lock of a server that is down (U6); once: a key that stays expires."""
    has_failed = view.last_chain is not None and isinstance(view.last_chain.failed, ReleaseLock)
    if not view.lease.is_held or has_failed or is_store_silent(view):
        return None
    return release(view, because(Code.SHUTDOWN_RELEASED))
