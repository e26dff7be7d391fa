"""Actions in the field's words, for the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from patroni.agent.job import kind_of
from patroni.decision import actions as act
from patroni.decision.actions import JOBS, Action, JobAction

_TEXTS: Mapping[type[object], str] = {
    act.AcquireLock: "acquiring the leader lock",
    act.AdoptLock: "adopting the leader lock",
    act.ReleaseLock: "releasing the leader lock",
    act.ClaimInitialize: "claiming the initialize key",
    act.WriteInitialize: "writing the initialize key",
    act.CancelInitialize: "removing the initialize key",
    act.WriteConfig: "writing the config key",
    act.WriteStatus: "writing the status key",
    act.WriteHistory: "writing the history key",
    act.ClearFailover: "removing the request for a failover",
    act.Promote: "promoting Postgres",
    act.Follow: "pointing Postgres at its upstream",
    act.ResumeReplay: "resuming replay",
    act.Checkpoint: "the checkpoint after the promotion",
    act.SyncSlots: "creating and dropping replication slots",
    act.FinishStop: "ending the stop of Postgres",
    act.CancelJob: "cancelling the running job",
    act.AskPeers: "asking the other members",
    act.AskHistory: "asking for the timeline history",
    act.ReadCluster: "reading the cluster",
    act.ReadFiles: "looking at the data directory",
    act.Exit: "ending the agent",
}


def text_of(action: Action) -> str:
    """Return what is done, in the words that operators use."""
    if not isinstance(action, JOBS):
        return _TEXTS[type(action)]
    kind, subject = kind_of(cast(JobAction, action))
    return f"{kind.value} {subject}" if subject else kind.value
