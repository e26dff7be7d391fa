"""What hangs, on a dead disk say: who holds the lock and can do nothing under it lets it run out.

A release would need to know that Postgres is down, and nobody can say that (safety_rules.md §5). So the renewal is withheld
as a whole: the lease ends, the fence ends whatever still runs, and session and lock run out. Nothing here gives the lock
away by hand, and a primary that is known to run keeps it.
"""

from __future__ import annotations

from patroni.decision.actions import Exit, ReleaseLock
from patroni.decision.cluster import PostgresState
from patroni.decision.fact import START_JOBS, STOPPING_JOBS
from patroni.decision.node import DataDirectory, Job, JobKind, Node, Process
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.view import Decision, GuardState, View

SHORTEST_S = 30.0  # nothing that is done under the lock takes so long by itself, the works of `_own_limit_s` aside
STOP_S = 120.0  # all steps of a bounded stop one after the other: checkpoint, fast, immediate, kill
SOON_S = 1.0
LOOK = "the look at the data directory"


def let_lapse(view: View) -> Decision | None:
    """Let the lock run out where what it is held for hangs: no renewal goes out any more, of the session neither."""
    what = _hanging_chain(view) or _hanging_job(view) or _silence(view)
    is_at_work = view.node.job is None and view.node.is_running_primary
    if what is None or is_at_work or not is_lock_there(view):
        return None
    return act(view, because(Code.LOCK_LAPSING, what=what), within_s=SOON_S)


def leave_hanging(view: View) -> Decision | None:
    """Leave what hangs at a shutdown: once the lease is over and the fence has done its part; the lock runs out."""
    what = _hanging_job(view) or (_silence(view) if is_unknown(view.node) else None)
    since_s = view.memory.stopping_since_s
    if what is None or since_s is None or view.settings.is_paused:
        return None
    if view.lease.is_held or view.guard is GuardState.ARMED:
        return act(view, because(Code.LOCK_LAPSING, what=what), within_s=SOON_S)
    if view.now_s - since_s <= limit_s(view):
        return None
    return act(view, because(Code.SHUTDOWN_HANGING, what=what), Exit(1))


def is_unknown(node: Node) -> bool:
    """Return whether it is not known what is on the data directory."""
    is_blank = node.data_directory is DataDirectory.UNKNOWN and node.process is not Process.ALIVE
    return node.process is Process.UNKNOWN or is_blank


def is_unanswered(view: View) -> bool:
    """Return whether the data directory owes an answer: to a look, or to a release of the lock that had none."""
    if view.node.job is not None:
        return False
    last = view.last_chain
    has_no_answer = last is not None and isinstance(last.failed, ReleaseLock) and not last.is_refusal
    return is_unknown(view.node) or (has_no_answer and is_lock_there(view))


def is_lock_there(view: View) -> bool:
    """Return whether the lock is ours, or ran out just now and still stands."""
    return view.lease.is_held or view.is_lock_ours


def limit_s(view: View) -> float:
    """Return after how long something counts as hanging (safety_rules.md §7.6)."""
    return max(view.settings.ttl_s, SHORTEST_S)


def _silence(view: View) -> str | None:
    since_s = view.memory.unanswered_since_s
    return LOOK if since_s is not None and view.now_s - since_s > limit_s(view) else None


def _hanging_chain(view: View) -> str | None:
    chain = view.chain
    return f"an earlier decision ({chain.code})" if chain is not None and chain.age_s > limit_s(view) else None


def _hanging_job(view: View) -> str | None:
    job = view.node.job
    own_s = None if job is None else _own_limit_s(view, job)
    return job.title if job is not None and own_s is not None and job.age_s > own_s + limit_s(view) else None


def _own_limit_s(view: View, job: Job) -> float | None:
    """Return for how long a job may go on by its own rules; None: without limit."""
    if job.kind in STOPPING_JOBS:
        return STOP_S
    if job.kind in START_JOBS:
        return view.settings.primary_start_timeout_s if view.node.state is PostgresState.STARTING else 0.0
    if not job.is_cancelled:
        return None
    return view.settings.primary_start_timeout_s if job.kind is JobKind.CRASH_RECOVERY else 0.0
