"""Observe: what has arrived, kept until it is replaced, and the View that a turn makes of it.

One `Observed` belongs to the loop. `take` files an event away; `view` builds the immutable View. Bookkeeping of state and
role follows contract/ha_behaviour.md §7.2-7.3: a job says what it leaves Postgres in, an observation corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from patroni.agent import event
from patroni.agent.event import Event
from patroni.agent.job import kind_of
from patroni.decision.actions import JobAction
from patroni.decision.candidate import FACTS_S
from patroni.decision.cluster import Cluster, HistoryRow, Incarnation, PostgresState, Revision, Role, SystemId, Timeline
from patroni.decision.fact import address_of
from patroni.decision.lease import Instant, Lease, elapsed_s
from patroni.decision.node import DataDirectory, Job, JobOutcome, Node, Process, Upstream
from patroni.decision.settings import Settings
from patroni.decision.view import Answer, Asked, Chain, ChainOutcome, GuardState, LeaderHistory, Memory, Peer, Silent, View
from patroni.postgres.request import Files, Monitoring


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a view is built, and the chance that goes with it."""

    now: Instant
    wall: datetime  # with its zone
    seed: int


@dataclass(slots=True, kw_only=True)
class RunningJob:
    """The job in the background slot."""

    action: JobAction
    began: Instant
    phase: str = ""
    cancelled: Instant | None = None  # None: it is not


@dataclass(slots=True, kw_only=True)
class RunningChain:
    """The chain of the effect worker."""

    number: int
    chain: Chain
    began: Instant


@dataclass(slots=True, kw_only=True)
class Observed:
    """All that is known, with the instant of each."""

    name: str
    started: Instant
    cluster: Cluster | None = None
    cluster_began: Instant | None = None  # before the read (or the event, or the proof) was sent
    is_cluster_linearizable: bool = False
    store_silent_since: Instant | None = None
    behind_since: Instant | None = None  # since when renewals show a newer store than our view; None: they do not
    store_answered_at: Instant | None = None  # of the last answer or silence of a read
    files: Files | None = None
    postmaster_pid: int | None = None  # of the last server that was seen alive
    files_at: Instant | None = None  # None: look again at once
    files_answered_at: Instant | None = None  # of the last look's end, whatever came of it
    monitoring: Monitoring | None = None  # None: the last query got no answer
    monitoring_at: Instant | None = None  # of the last query, answered or not; None: query at once
    monitoring_answered_at: Instant | None = None  # of the last query's end, whatever came of it
    monitoring_good_at: Instant | None = None
    changed_at: Instant | None = None  # when a job, an effect or an end last changed what Postgres is
    local_timeline: Timeline | None = None
    local_history: tuple[HistoryRow, ...] = ()
    history_timeline: Timeline | None = None  # whose history file was read
    peers: dict[str, tuple[Instant, Answer | Silent]] = field(default_factory=dict)  # by member name
    asked: dict[str, Instant] = field(default_factory=dict)  # questions under way, by member name
    leader_history: tuple[Instant, LeaderHistory] | None = None
    walreceiver_pid: int | None = None  # the last one seen
    is_walreceiver_gone: bool = False  # it has ended, and no other one streams yet
    state: PostgresState = PostgresState.STOPPED
    state_since: Instant | None = None
    role: Role = Role.UNINITIALIZED
    system_id: SystemId | None = None
    job: RunningJob | None = None
    last_job: tuple[Instant, JobOutcome] | None = None
    chain: RunningChain | None = None
    last_chain: tuple[Instant, ChainOutcome] | None = None
    guard: GuardState = GuardState.IDLE
    lock: Incarnation | None = None  # the lock that was told of last; None: none
    lock_taken: Instant | None = None  # when it was first told of, so not before it was won or adopted; None: no lock
    is_stopping: bool = False
    facts: int = 0  # version of the election's facts: peers, leader key, /sync

    # --- filing events away

    def take(self, happened: Event, now: Instant) -> None:
        """File one event away."""
        match happened.payload:
            case event.ClusterSeen() as seen:
                self.store_answered_at = now
                self._take_cluster(seen)
            case event.StoreSilent():
                self.store_answered_at = now
                self.store_silent_since = self.store_silent_since or happened.sent
            case event.LeaseSeen() as seen:
                self._take_lease(seen, now)
            case event.FilesSeen(files=files):
                self._take_files(files, now)
            case event.MonitoringSeen() as seen:
                self._take_monitoring(seen, seen.began or happened.sent, now)
            case event.PeerSeen(name=name, peer=peer):
                self._take_peer(name, peer, happened.sent)
            case event.HistorySeen(history=history):
                self.leader_history = (happened.sent, history)
            case event.PostmasterExited(pid=pid):
                self._take_exit(pid, now)
            case event.Signalled():
                self.is_stopping = True
            case _:
                self._take_work(happened, now)

    def _take_work(self, happened: Event, now: Instant) -> None:
        match happened.payload:
            case event.Noted() as noted:
                self._take_note(noted, now)
            case event.JobBegan(action=action):
                self.job = RunningJob(action=action, began=now)
            case event.JobEnded() as ended:
                self._take_job_end(ended, now)
            case event.ChainStepped(number=number, step=step):
                if self.chain is not None and self.chain.number == number:
                    self.chain.chain = replace(self.chain.chain, step=step)
            case event.ChainEnded() as ended:
                self._take_chain_end(ended, now)
            case _:
                pass  # TurnWanted, Woken and the like: the turn itself is the answer.

    def _take_cluster(self, seen: event.ClusterSeen) -> None:
        """Keep the newer of two views; a revision that went back in a linearizable answer is another store (§1.6)."""
        self.store_silent_since = None
        if self.cluster is not None and self.cluster_began is not None and self._is_older(seen):
            return
        old = self.cluster
        if old is None or old.leader != seen.cluster.leader or old.sync != seen.cluster.sync:
            self.facts += 1
        if old is None or old.leader_name != seen.cluster.leader_name:
            self.is_walreceiver_gone = False
            self._forget_reign(old)
            if seen.cluster.leader_name == self.name:
                self._forget_race()
        same = old is not None and old.revision is not None and old.revision == seen.cluster.revision
        self.is_cluster_linearizable = seen.is_linearizable or (same and self.is_cluster_linearizable)
        self.cluster, self.cluster_began = seen.cluster, seen.began
        self.behind_since = None

    def _forget_reign(self, old: Cluster | None) -> None:
        """Drop what the leader before said as a primary: it gave the lock up, so it has to be asked again.

        Its silence is kept: that costs a candidate 2 s to find out.
        """
        name = old.leader_name if old is not None else None
        known = self.peers.get(name) if name is not None else None
        if name is not None and known is not None and isinstance(known[1], Answer) and not known[1].is_in_recovery:
            del self.peers[name]

    def _forget_race(self) -> None:
        """Drop what the others said in the race that we won: whoever has come along to our timeline said the one before."""
        for name in [name for name, (_, peer) in self.peers.items() if isinstance(peer, Answer)]:
            del self.peers[name]

    def _is_older(self, seen: event.ClusterSeen) -> bool:
        assert self.cluster is not None
        assert self.cluster_began is not None
        mine, theirs = self.cluster.revision, seen.cluster.revision
        is_earlier = elapsed_s(self.cluster_began, seen.began) < 0
        if mine is None or theirs is None or self.cluster.store_id != seen.cluster.store_id:
            return is_earlier
        if theirs == mine:
            return is_earlier
        return theirs < mine and (is_earlier or not seen.is_linearizable)

    def _take_lease(self, seen: event.LeaseSeen, now: Instant) -> None:
        lock = seen.proof.incarnation if seen.proof else None
        if lock is None:
            self.lock_taken = None
        elif self.lock_taken is None or lock != self.lock:
            self.lock_taken = now
        self.lock = lock
        self._compare_revision(seen.store_revision, now)

    def _compare_revision(self, revision: Revision | None, now: Instant) -> None:
        """Take note whether the store has moved on beyond our view: its watch may be cut without a word (§2)."""
        mine = self.cluster.revision if self.cluster else None
        if revision is None or mine is None or revision <= mine:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now

    def _take_files(self, files: Files | None, now: Instant) -> None:
        is_first = self.files is None
        self._compare_life(files)
        self.files, self.files_at, self.files_answered_at = files or self.files, now, now
        if files is None:
            return
        if files.control is not None:
            self.system_id = files.control.system_id
        if self.job is not None:
            return
        if files.data_directory is DataDirectory.EMPTY:
            self._enter(PostgresState.STOPPED, Role.UNINITIALIZED, now)
        elif is_first:
            self._first_look(files, now)
        elif files.process in (Process.DOWN, Process.ORPHANS):
            if self.state in (PostgresState.RUNNING, PostgresState.STARTING):
                self._enter(PostgresState.CRASHED, None, now)
            self._forget_monitoring()

    def _compare_life(self, files: Files | None) -> None:
        """Forget a pending promotion with the server that was told: another one that starts in recovery knows nothing of it."""
        pid = files.postmaster_pid if files is not None else None
        if files is None or pid in (None, self.postmaster_pid):
            return
        if self.role is Role.PROMOTED and files.has_recovery_signal:
            self.role = Role.REPLICA
        self.postmaster_pid = pid

    def _first_look(self, files: Files, now: Instant) -> None:
        """Say what was found at the agent's start (contract/ha_behaviour.md §2.26)."""
        role = Role.REPLICA if files.has_recovery_signal else Role.DEMOTED
        if files.process is Process.ALIVE:
            self._enter(PostgresState.STARTING, Role.REPLICA if files.has_recovery_signal else Role.PRIMARY, now)
        else:
            self._enter(PostgresState.STOPPED, role, now)

    def _take_monitoring(self, seen: event.MonitoringSeen, began: Instant, now: Instant) -> None:
        """Keep what Postgres said, unless that may be from before a step that changed what it is: then ask again."""
        self.monitoring_answered_at = now
        if self.changed_at is not None and elapsed_s(self.changed_at, began) < 0:
            return
        self.monitoring_at = now
        self.monitoring = seen.monitoring
        if seen.local_history is not None and seen.monitoring is not None:
            self.local_history, self.history_timeline = seen.local_history, seen.monitoring.timeline
        if seen.monitoring is None:
            return
        self.monitoring_good_at = now
        if seen.monitoring.walreceiver_pid not in (None, self.walreceiver_pid):
            self.walreceiver_pid, self.is_walreceiver_gone = seen.monitoring.walreceiver_pid, False
        self.local_timeline = seen.timeline or seen.monitoring.timeline or self.local_timeline
        if self.job is None or self.state is PostgresState.STARTING:
            self._enter(PostgresState.RUNNING, self._role_of(seen.monitoring), now)

    def _role_of(self, monitoring: Monitoring) -> Role:
        """Return the role; a signalled promotion may take effect as long as this server lives, however long it replays."""
        if not monitoring.is_in_recovery:
            return Role.PRIMARY
        return Role.PROMOTED if self.role is Role.PROMOTED else Role.REPLICA

    def _take_peer(self, name: str, peer: Answer | Silent, sent: Instant) -> None:
        """Keep a peer's answer; what it changes in the election's facts begins a new version of them."""
        self.asked.pop(name, None)
        old = self.peers.get(name)
        if old is None or ageless(old[1]) != ageless(peer):
            self.facts += 1
        self.peers[name] = (sent, peer)

    def _take_exit(self, pid: int, now: Instant) -> None:
        """The postmaster is gone: what lives on is for the file worker to say. The walreceiver: so may be the leader (§9)."""
        if pid == self.walreceiver_pid:
            self.is_walreceiver_gone, self.monitoring_at = True, None
            return
        if self.files is not None and self.files.postmaster_pid == pid:
            self.files = replace(self.files, process=Process.UNKNOWN, postmaster_pid=None)
        self._note_change(now)
        self._forget_monitoring()

    def _take_note(self, noted: event.Noted, now: Instant) -> None:
        if self.job is not None:
            self.job.phase = noted.phase
        self._enter(noted.state or self.state, noted.role, now)
        self._note_change(now)

    def _take_job_end(self, ended: event.JobEnded, now: Instant) -> None:
        if self.job is not None and self.job.action is not ended.action:
            return  # One that was cancelled for the job that runs now, or waits for its end.
        kind, subject = kind_of(ended.action)
        self.job = None
        outcome = JobOutcome(kind=kind, subject=subject, is_ok=ended.is_ok, detail=ended.detail)
        self.last_job = (now, outcome)
        self._note_change(now)
        if self.files is not None:
            self.files = replace(self.files, process=Process.UNKNOWN, control=None)
        self._forget_monitoring()

    def _take_chain_end(self, ended: event.ChainEnded, now: Instant) -> None:
        if self.chain is None or self.chain.number != ended.number:
            return  # An earlier chain, void already.
        code = self.chain.chain.code
        outcome = ChainOutcome(code=code, failed=ended.failed, is_refusal=ended.is_refusal, detail=ended.detail)
        self.last_chain = (now, outcome)
        self.chain = None
        self.monitoring_at = None

    def _forget_monitoring(self) -> None:
        self.monitoring = None

    def _note_change(self, now: Instant) -> None:
        """Look at files and server again at once; what was asked before says nothing of now."""
        self.changed_at, self.files_at, self.monitoring_at = now, None, None

    def _enter(self, state: PostgresState, role: Role | None, now: Instant) -> None:
        if state is not self.state or self.state_since is None:
            self.state, self.state_since = state, now
        if role is not None and role is not self.role:
            self.role = role

    # --- the view

    def view(self, moment: Moment, lease: Lease, settings: Settings, memory: Memory) -> View:
        """Build the View of this moment."""
        now = moment.now
        age_s = elapsed_s(self.cluster_began, now) if self.cluster_began else None
        return View(
            node=self.node(now, settings),
            now_s=now.boot_s,
            wall=moment.wall,
            seed=moment.seed,
            settings=settings,
            cluster=self.cluster,
            cluster_age_s=age_s,
            is_fresh=self._is_fresh(lease),
            store_silent_s=elapsed_s(self.store_silent_since, now) if self.store_silent_since else lease.silent_s,
            lease=lease,
            guard=self.guard,
            peers=self._peers(now),
            is_leader_silent=self._is_leader_silent(),
            leader_history=self._leader_history(now),
            is_stopping=self.is_stopping,
            chain=replace(self.chain.chain, age_s=elapsed_s(self.chain.began, now)) if self.chain else None,
            last_chain=replace(self.last_chain[1], age_s=elapsed_s(self.last_chain[0], now)) if self.last_chain else None,
            memory=memory,
        )

    def _is_fresh(self, lease: Lease) -> bool:
        """A view is fresh if it is not older than our lock (safety_rules.md §6); without a lock any view is."""
        if self.cluster is None:
            return False
        if lease.proof is None or self.lock_taken is None:
            return True
        if self.cluster.store_id != lease.proof.store_id:
            return False  # of a store that was there before this one, or after it (§1.6)
        if self.cluster.revision is not None and lease.proof.revision is not None:
            return self.cluster.revision >= lease.proof.revision
        if self.cluster.leader is not None and lease.proof.is_of(self.cluster.leader):
            return True  # what shows our lock is not from before it, event or not
        began = self.cluster_began
        return self.is_cluster_linearizable and began is not None and elapsed_s(self.lock_taken, began) >= 0

    def _is_leader_silent(self) -> bool:
        leader = self.cluster.leader_name if self.cluster else None
        if leader is None or leader == self.name:
            return False
        known = self.peers.get(leader)
        return self.is_walreceiver_gone or (known is not None and isinstance(known[1], Silent))

    def _peers(self, now: Instant) -> dict[str, Peer]:
        """Return every peer's last answer with its age; one that is being asked anew keeps its answer while it counts."""
        peers: dict[str, Peer] = {
            name: aged(peer, peer.age_s + elapsed_s(sent, now)) for name, (sent, peer) in self.peers.items()
        }
        for name, sent in self.asked.items():
            known = peers.get(name)
            if known is None or known.age_s > FACTS_S:
                peers[name] = Asked(age_s=elapsed_s(sent, now))
        return peers

    def facts_at(self, now: Instant) -> Instant:
        """Return when the oldest of the facts was learned that count in an election now."""
        ages_s = [peer.age_s for peer in self._peers(now).values() if not isinstance(peer, Asked)]
        oldest_s = max((age_s for age_s in ages_s if age_s <= FACTS_S), default=0.0)
        return Instant(boot_s=now.boot_s - oldest_s, raw_s=now.raw_s - oldest_s)

    def _leader_history(self, now: Instant) -> LeaderHistory | None:
        if self.leader_history is None:
            return None
        at, history = self.leader_history
        return replace(history, age_s=elapsed_s(at, now))

    def node(self, now: Instant, settings: Settings) -> Node:
        """Return the own node as a rule sees it."""
        files, monitoring = self.files, self.monitoring
        node = Node(
            name=self.name,
            state=self.state,
            state_age_s=elapsed_s(self.state_since, now) if self.state_since else 0.0,
            role=self.role,
            system_id=self.system_id,
            probe_age_s=elapsed_s(self.monitoring_good_at, now) if self.monitoring_good_at else None,
            local_history=self.local_history,
            job=self._job(now),
            last_job=replace(self.last_job[1], age_s=elapsed_s(self.last_job[0], now)) if self.last_job else None,
        )
        if files is not None:
            node = replace(
                node,
                process=files.process,
                data_directory=files.data_directory,
                has_recovery_signal=files.has_recovery_signal,
                has_backup_label=files.has_backup_label,
                control=files.control,
                major=files.major,
                is_torn=files.is_torn,
            )
        return self._with_monitoring(node, monitoring) if monitoring is not None else node

    def _with_monitoring(self, node: Node, monitoring: Monitoring) -> Node:
        timeline = monitoring.timeline or self.local_timeline
        control = node.control
        return replace(
            node,
            is_in_recovery=monitoring.is_in_recovery,
            timeline=timeline,
            lsn=monitoring.lsn,
            receive_lsn=monitoring.receive_lsn,
            replay_lsn=monitoring.replay_lsn,
            is_replay_paused=monitoring.is_replay_paused,
            replication_state=monitoring.replication_state,
            upstream=self._named(monitoring.upstream),
            slots=monitoring.slots,
            walsenders=monitoring.walsenders,
            is_checkpointed=not monitoring.is_in_recovery and control is not None and control.timeline == timeline,
        )

    def _named(self, upstream: Upstream | None) -> Upstream | None:
        """Say whose address this is."""
        if upstream is None or self.cluster is None:
            return upstream
        for member in self.cluster.members.values():
            if member.conn_url is not None and address_of(member.conn_url) == (upstream.host, upstream.port):
                return replace(upstream, member=member.name)
        return upstream

    def _job(self, now: Instant) -> Job | None:
        if self.job is None:
            return None
        kind, subject = kind_of(self.job.action)
        return Job(
            kind=kind,
            subject=subject,
            age_s=elapsed_s(self.job.began, now),
            phase=self.job.phase,
            is_cancelled=self.job.cancelled is not None,
        )


def aged(peer: Answer | Silent, age_s: float) -> Answer | Silent:
    """Return the same answer with its age now."""
    return replace(peer, age_s=age_s)


def ageless(peer: Answer | Silent) -> Answer | Silent:
    """Return the same answer without its age: for comparing two."""
    return replace(peer, age_s=0.0)
