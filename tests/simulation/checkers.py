"""Checkers: after every step, with a god's eye, the cause before the symptom (design.md §7; issue: invariants 1, 3, 4, 5, 6).

A violation by a node whose agent is dead or frozen is counted, not failed: only a guard outside the agent can prevent it.
Such a node is excused until its fence is armed anew or its Postgres takes no writes any more, and for a second after it goes
on again. So are locks that were ended by an act of the store's server or its operator, which no deadline foresees.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from patroni.agent.lease_keeper import LONGEST_TRY_S
from patroni.agent.loop import Turn
from patroni.agent.order import StartChain
from patroni.dcs.codec import history_from, status_from
from patroni.dcs.store import Create
from patroni.decision.actions import AcquireLock, AdoptLock, Promote
from patroni.decision.cluster import Cluster, Incarnation
from patroni.decision.leader_race import race_bar
from patroni.decision.lease import Instant, Proof, elapsed_s, fence_left_s, margin_s
from patroni.decision.node import ClusterState
from patroni.decision.notice import noticed
from patroni.decision.reasons import Code
from patroni.decision.request import Request
from patroni.decision.view import GuardState
from tests.simulation.agent_model import Agent
from tests.simulation.clients import Target
from tests.simulation.node import Node
from tests.simulation.postgres_model import Phase, Postgres, Statement
from tests.simulation.store_model import HISTORY, LEADER, MEMBERS, STATUS, Lock
from tests.simulation.wal import Branch

if TYPE_CHECKING:
    from tests.simulation.world import World

THAW_S = 1.0  # a thawed agent has so long to wake up and fence
RESUME_S = THAW_S + LONGEST_TRY_S  # a renewal that was under way at a suspend of the host holds the keeper up as well
LATE_S = 5.0  # what the store said before it was made anew may arrive so late
FACTS_S = 4.0  # what an election was judged on may be so old, and a little
TOLERANCE_S = 0.002
PATIENCE_S = 8.0  # after max(ttl, 10 s) those who were ahead and took no free key are ignored (safety_rules.md §9)
REQUESTED_S = 60.0  # an operator's candidate may lag: he asked for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """What must not happen, and did."""

    at_s: float
    invariant: str
    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.at_s:.3f} s: invariant {self.invariant}: {self.node}: {self.text}"


@dataclass(slots=True)
class Tally:
    """What is counted for the summary."""

    promotions: int = 0
    excused: int = 0  # statements acknowledged against another leader by a node whose agent was dead or frozen
    torn: int = 0  # data directories that were given up because their rewind was cut short
    by_act: int = 0  # the same where an act of the store had ended the lock
    orphaned_s: float = 0.0  # the longest time for which a running agent left an orphaned primary writable
    acknowledged: dict[int, tuple[Branch, int]] = field(default_factory=dict)  # by statement: branch, end of the record


@dataclass(frozen=True, slots=True)
class _Look:
    """What a node would have answered to a candidate."""

    at_s: float
    answers: bool  # it runs in recovery, its agent too
    lsn: int
    timeline: int


class Checkers:
    """All checks of one schedule."""

    def __init__(self, world: World) -> None:
        self.violations: list[Violation] = []
        self.tally = Tally()
        self.notes: list[str] | None = None  # a trace for people; None: not wanted
        self._world = world
        self._checked: dict[str, Proof | None] = {}  # the keeper's proof that was looked at last, by node
        self._covered: dict[str, tuple[Proof, float]] = {}  # a guard's proof that was found good, and the true end seen then
        self._given_up: dict[str, int] = {}  # the epoch in which the keeper was last seen without a lock, by node
        self._first: dict[tuple[str, Incarnation], float] = {}  # first acknowledgement under a lock
        self._looks: dict[str, deque[_Look]] = {name: deque(maxlen=60) for name in world.nodes}
        self._next_look_s = 0.0
        self._writable_since: dict[str, float] = {}
        self._orphaned_since: dict[str, float] = {}
        self._renamed: dict[str, tuple[Agent, Instant, int]] = {}  # who led when the store was made anew: when, epoch; by node
        world.store.on_lock.append(self._lock_changed)
        world.store.on_renamed.append(self._store_renamed)
        world.clients.on_primary = self._said_primary
        for node in world.nodes.values():
            node.postgres.on_acknowledged = self._acknowledged
            node.postgres.on_promoted = self._promoted

    # --- invariant 1, the cause

    def after_step(self) -> None:
        """Check what must hold at every moment."""
        if self._now_s >= self._next_look_s:
            self._next_look_s = self._now_s + 0.5
            self._look()
        for node in self._world.nodes.values():
            agent = node.agent
            if node.postgres.postmaster is not None and self._is_torn(node):
                self._found("7", node, "runs on a data directory whose rewind was cut short")
            if agent is not None:
                proof = agent.keeper._state.proof
                if proof is not self._checked.get(node.name):
                    self._checked[node.name] = proof
                    self._check_lease(node, agent, proof)
            if node.postgres.is_writable:
                self._check_writable(node, agent)
            else:
                self._writable_since.pop(node.name, None)
                if node.is_orphaned:
                    self._settle(node)

    def _check_lease(self, node: Node, agent: Agent, proof: Proof | None) -> None:
        """The lease that the keeper shows never outlives the lock, and no answer of an earlier epoch brings it back."""
        if proof is None:
            self._given_up[node.name] = agent.keeper.epoch
            return
        if self._given_up.pop(node.name, None) == agent.keeper.epoch:
            self._found("1", node, "the keeper believes an answer of an earlier epoch")
        if self._is_beyond(agent, proof):
            return
        left_s = _true_left_s(agent, proof)
        if left_s > 0 and self._now_s + left_s > self._world.store.true_expiry_s(node.name, proof.incarnation) + TOLERANCE_S:
            self._found("1", node, "the keeper's lease ends after the lock does")

    def _store_renamed(self) -> None:
        """The store was restored under another identity: note who led."""
        for node in self._world.nodes.values():
            agent = node.agent
            if agent is not None and agent.keeper._state.proof is not None:
                self._renamed[node.name] = (agent, agent.now(), agent.keeper.epoch)

    def viewed(self, agent: Agent, cluster: Cluster, began: Instant | None) -> None:
        """Once an agent was shown another store, by an answer to what it asked afterwards, no lock of before is held."""
        known = self._renamed.get(agent.name)
        if known is None or began is None or known[0] is not agent or elapsed_s(known[1], began) < LATE_S:
            return
        del self._renamed[agent.name]
        if agent.keeper.epoch == known[2] and agent.keeper._state.proof is not None:
            self._found("1", self._world.nodes[agent.name], "the keeper holds a lock of a store that was there before")

    def _check_writable(self, node: Node, agent: Agent | None) -> None:
        """Writable means: guard armed, its deadline not after the true end of the lock, and that end not come."""
        self._writable_since.setdefault(node.name, self._now_s)
        if not self._world.store.locks:
            node.is_orphaned = True  # a cluster in the making: nobody else has data
        if self._is_excused(node):
            self._note_orphaned(node, agent)
            return
        assert agent is not None
        self._orphaned_since.pop(node.name, None)
        proof = agent.fence._proof
        known = self._covered.get(node.name)
        if known is not None and known[0] is proof and self._now_s <= known[1] and agent.fence.state() is GuardState.ARMED:
            return
        if proof is None or agent.fence.state() not in (GuardState.ARMED, GuardState.KILLED):
            self._found("1", node, "writable, and the guard is not armed")
            return
        if self._is_beyond(agent, proof):
            return
        expiry_s = self._world.store.true_expiry_s(node.name, proof.incarnation)
        if self._now_s > expiry_s:
            self._found("1", node, f"writable {self._now_s - expiry_s:.3f} s after the true end of its lock")
        elif self._now_s + _true_left_s(agent, proof) > expiry_s + TOLERANCE_S:
            self._found("1", node, "the guard's deadline is after the true end of the lock")
        else:
            self._covered[node.name] = (proof, expiry_s)

    def _is_beyond(self, agent: Agent, proof: Proof) -> bool:
        """Whether no deadline could foresee this lock's end.

        An act of the store ended it; or a suspend left CLOCK_BOOTTIME alone, slewed slow, beside a store that is fast: the
        margin covers one of the two 8 % (safety_rules.md §3).
        """
        lock, host = self._world.store.lock_of(agent.name, proof.incarnation), agent.site.host
        is_alone = proof.sent.boot_s < host.resumed_boot_s and host.boot_rate < 1.0 < self._world.store.rate
        return is_alone or (lock is not None and lock.is_by_act)

    def _is_excused(self, node: Node) -> bool:
        agent = node.agent
        if agent is None or node.is_frozen or self._now_s < node.excused_until_s:
            return True
        if node.is_orphaned and agent.fence.state() is GuardState.ARMED:
            node.is_orphaned = False
        return node.is_orphaned

    def _note_orphaned(self, node: Node, agent: Agent | None) -> None:
        if agent is None or node.is_frozen:
            self._orphaned_since.pop(node.name, None)
        elif node.is_orphaned and self._world.store.locks:
            since_s = self._orphaned_since.setdefault(node.name, self._now_s)
            self.tally.orphaned_s = max(self.tally.orphaned_s, self._now_s - since_s)

    def _settle(self, node: Node) -> None:
        """An orphaned Postgres that can't take writes any more is nobody's business."""
        postgres = node.postgres
        is_starting = postgres.phase is Phase.STARTING and postgres.data is not None and not postgres.data.has_signal
        if node.agent is not None and not postgres.is_promotion_pending and not is_starting:
            node.is_orphaned = False

    def agent_died(self, node: Node) -> None:
        """From now on its Postgres is excused, if it can take writes or will."""
        node.is_orphaned = True
        self._checked.pop(node.name, None)
        self._given_up.pop(node.name, None)
        self.note(node, "agent died")

    # --- invariant 1, the symptom

    def _acknowledged(self, statement: Statement, postgres: Postgres) -> None:
        """No statement that began after another node's first acknowledgement is acknowledged."""
        node = self._world.nodes[postgres.name]
        assert postgres.data is not None
        self.tally.acknowledged[statement.number] = (postgres.data.branch, postgres.data.branch.end_lsn)
        lock = self._world.store.lock
        if lock is None:
            return
        if lock.name == node.name:
            self._first.setdefault((lock.name, lock.incarnation), self._now_s)
            return
        other_s = self._first.get((lock.name, lock.incarnation))
        if other_s is None or other_s >= statement.invoked_s:
            return
        if self._is_excused(node):
            self.tally.excused += 1
        elif any(known.is_by_act for known in self._world.store.locks):
            self.tally.by_act += 1
        else:
            self._found("1", node, f"acknowledged a statement that began after {lock.name} had acknowledged one")

    def _said_primary(self, target: Target) -> None:
        """`/primary` says 200 only while the lease lasts."""
        node = self._world.nodes[target.name]
        agent = node.agent
        assert agent is not None
        proof = agent.keeper._state.proof
        if proof is None or fence_left_s(proof, agent.now()) <= 0:
            self._found("1", node, "/primary says 200 without a lease")

    # --- elections: invariants 3 and 4

    def _promoted(self, postgres: Postgres) -> None:
        node, data = self._world.nodes[postgres.name], postgres.data
        self.tally.promotions += 1
        assert data is not None
        self.note(node, f"PROMOTED to timeline {data.branch.timeline} at {data.branch.switch_lsn}")
        lock = self._world.store.lock
        if self._is_excused(node) or lock is None or lock.name != node.name:
            return
        self._check_beside(node, lock)
        if self._now_s - self._world.faults.candidates.get(node.name, -1e9) > REQUESTED_S:
            self._check_position(node, data.branch, lock)
            self._check_rivals(node, data.branch, lock)
            self._check_timeline(node, data.branch, lock)

    def _check_position(self, node: Node, branch: Branch, lock: Lock) -> None:
        """3: the winner is not behind the last published position by more than is allowed."""
        published = [status_from(value).lsn or 0 for value in self._world.store.values_since(STATUS, lock.began_s - FACTS_S)]
        limit = self._world.plan.settings.maximum_lag_on_failover_bytes
        if published and branch.switch_lsn < min(published) - limit:
            self._found("3", node, f"promoted at {branch.switch_lsn}, published was {min(published)}, allowed lag {limit}")

    def _check_rivals(self, node: Node, branch: Branch, lock: Lock) -> None:
        """4: nobody is elected before a member that answered all the time and had more of the same history, or a newer one.

        A node whose member key has expired is none, to the candidates as in the contract (ha_behaviour.md §2.12).
        """
        if self._world.faults.may_hide or lock.free_s > PATIENCE_S:
            return
        mine = branch.parent.timeline if branch.parent is not None else branch.timeline
        for other in self._world.nodes.values():
            looks = [look for look in self._looks[other.name] if lock.taken_s - FACTS_S <= look.at_s <= lock.taken_s]
            is_known = len(looks) > 2 and all(look.answers for look in looks)
            if other is not node and is_known and looks[0].lsn > branch.switch_lsn and looks[0].timeline >= mine:
                self._found("4", node, f"promoted at {branch.switch_lsn}, {other.name} answered and had {looks[0].lsn}")

    def _look(self) -> None:
        """Note once in a while what each node would answer in an election."""
        for node in self._world.nodes.values():
            postgres, agent = node.postgres, node.agent
            answers = agent is not None and not node.is_frozen and postgres.is_accepting and postgres.is_in_recovery
            answers = answers and agent is not None and agent.loop._memory.released_at_s is None
            answers = answers and self._world.store.value(f"{MEMBERS}{node.name}") is not None
            timeline = postgres.data.branch.timeline if postgres.data is not None else 0
            self._looks[node.name].append(_Look(self._now_s, answers, postgres.position, timeline))

    def _check_timeline(self, node: Node, branch: Branch, lock: Lock) -> None:
        """4: with `check_timeline` the winner continues the newest published timeline."""
        values = self._world.store.values_since(HISTORY, lock.began_s - FACTS_S)
        timelines = [history_from(value).cluster_timeline or 0 for value in values]
        mine = branch.parent.timeline if branch.parent is not None else branch.timeline
        if self._world.plan.settings.check_timeline and timelines and mine < min(timelines):
            self._found("4", node, f"promoted from timeline {mine}, current was {min(timelines)}")

    def _check_beside(self, node: Node, lock: Lock) -> None:
        """1: nobody is elected beside a primary with a lease that could be asked (after an act of the store)."""
        for other in self._world.nodes.values():
            agent = other.agent
            if other is node or agent is None or self._is_excused(other) or not other.postgres.is_writable:
                continue
            since_s = self._writable_since.get(other.name, self._now_s)
            is_heard = not self._world.faults.may_hide
            if since_s < lock.taken_s - FACTS_S and is_heard and agent.keeper.lease(agent.now()).is_held:
                self._found("1", node, f"promoted beside {other.name}, which leads and answers")

    def turned(self, node: Node, turn: Turn) -> None:
        """6 of safety_rules.md: no promotion is decided on a view older than the lock."""
        if self.notes is not None:
            self._note_turn(node, turn)
        self._check_election(node, turn)
        if not any(isinstance(action, Promote) for action in turn.decision.actions):
            return
        view, agent = turn.view, node.agent
        proof = view.lease.proof
        cluster = agent.loop.observed.cluster if agent is not None else None
        leader = cluster.leader if cluster is not None else None
        if proof is None or leader is None or leader.incarnation != proof.incarnation:
            self._found("6", node, "a promotion was decided on a view from before the win")

    def _check_election(self, node: Node, turn: Turn) -> None:
        """1.4 of safety_rules.md: whoever takes a lock, or adopts one, has passed the election's checks in this view."""
        chains = [wanted for wanted in turn.orders if isinstance(wanted, StartChain)]
        takes = any(isinstance(action, AcquireLock | AdoptLock) for chain in chains for action in chain.actions)
        if takes and turn.decision.because.code is not Code.BOOTSTRAP_DONE:
            bar = race_bar(replace(turn.view, memory=noticed(turn.view)))
            if bar is not None:
                self._found("4", node, f"takes the lock without the election's checks: {bar}")

    # --- the lock

    def requested(self, agent: Agent, actor: str, request: Request[object]) -> None:
        """Only `AcquireLock` creates the lock (safety_rules.md §1.1)."""
        if isinstance(request, Create) and request.key == LEADER and actor != "chain":
            self._found("1", self._world.nodes[agent.name], f"the {actor} creates the lock")

    def _lock_changed(self, lock: Lock, sender: str) -> None:
        self._checked.clear()
        self._covered.clear()
        if lock.gone_s is None:
            self.note(None, f"LOCK {lock.incarnation} of {lock.name} began")
            return
        self.note(None, f"LOCK {lock.incarnation} of {lock.name} is gone, by {sender or 'its end'}")
        node = self._world.nodes.get(sender)
        if node is None:
            return
        if lock.name != sender:
            self._found("4", node, f"released the lock of {lock.name}")
        elif not self._may_release(node.postgres):
            self._found("4", node, f"released its lock while Postgres was {node.postgres.phase.value}, not down")

    def _may_release(self, postgres: Postgres) -> bool:
        """4: down, or shut down by its control data, or in recovery with no promotion pending (safety_rules.md §6)."""
        if postgres.is_writable or postgres.is_promotion_pending:
            return False
        is_shut_down = postgres.data is None or postgres.data.state is ClusterState.SHUT_DOWN
        return postgres.is_in_recovery or is_shut_down or postgres.phase in (Phase.DOWN, Phase.STARTING)

    # --- invariants 5 and 6

    def discarded(self, postgres: Postgres, how: str) -> None:
        """6: data is given up only where configuration allows it, and beside another good copy.

        What a rewind cut short has left is none; there a copy that is down is enough.
        """
        node, settings = self._world.nodes[postgres.name], self._world.plan.settings
        self.note(node, f"{how} of the data directory")
        is_torn = self._is_torn(node)
        self.tally.torn += is_torn
        may = settings.remove_data_directory_on_rewind_failure or settings.remove_data_directory_on_diverged_timelines
        others = [other for other in self._world.nodes.values() if other is not node and other.postgres.data is not None]
        is_first = how == "MoveDataDirectoryAway" and not any(other.postgres.is_primary for other in others)
        if not may and not is_first:
            self._found("6", node, "discarded its data directory, which the configuration does not allow")
        elif not is_first and not any(other.postgres.is_primary or is_torn > self._is_torn(other) for other in others):
            self._found("6", node, "discarded its data directory, and no primary has another copy")

    def unconverged(self) -> str | None:
        """5: say why the cluster is not well; None: one leader, and standbys that stream all of its WAL."""
        leader = self._world.leader()
        if leader is None:
            return "nobody holds the lock"
        primaries = [node.name for node in self._world.nodes.values() if node.postgres.is_primary]
        if primaries != [leader.name]:
            return f"{leader.name} holds the lock, primaries are {primaries}"
        for node in self._world.nodes.values():
            if node.agent is None:
                return f"no agent runs on {node.name}"
            is_left_behind = node is not leader and not self._is_streaming(node, leader)
            if is_left_behind:
                return f"{node.name} does not stream from {leader.name}"
        return None

    def _is_torn(self, node: Node) -> bool:
        """7: a rewind of this node was cut short: nothing is started on it until a clone has replaced it."""
        return node.postgres.data is not None and node.postgres.data.is_torn

    def _is_streaming(self, node: Node, leader: Node) -> bool:
        receiver, data = node.postgres.receiver, node.postgres.data
        stream = receiver.stream if receiver is not None else None
        if stream is None or stream.sender is not leader.postgres or data is None or leader.postgres.data is None:
            return False
        return data.branch is leader.postgres.data.branch

    def fail(self, invariant: str, text: str) -> None:
        """Write down a violation by nobody in particular."""
        self.violations.append(Violation(at_s=self._now_s, invariant=invariant, node="all", text=text))

    # --- inside

    @property
    def _now_s(self) -> float:
        return self._world.engine.now_s

    def _found(self, invariant: str, node: Node, text: str) -> None:
        self.violations.append(Violation(at_s=self._now_s, invariant=invariant, node=node.name, text=text))
        self.note(node, f"VIOLATION of {invariant}: {text}")

    def note(self, node: Node | None, text: str) -> None:
        """Add a line to the trace."""
        if self.notes is not None:
            self.notes.append(f"{self._now_s:10.4f} {node.name if node else '-'}  {text}")

    def _note_turn(self, node: Node, turn: Turn) -> None:
        decision, view = turn.decision, turn.view
        actions = ", ".join(str(action) for action in decision.actions)
        what = f"{view.node.state}/{view.node.role}/{view.node.process.name} tl={view.node.timeline} lsn={view.node.lsn}"
        lease = f"lease={view.lease.left_s:.2f}" if view.lease.proof else "no lease"
        self.note(node, f"{decision.because.code} {dict(decision.because.facts)} [{what} {lease}] {actions}")


def _true_left_s(agent: Agent, proof: Proof) -> float:
    """Return in how many true seconds the guard's deadline comes, by whichever clock is first there."""
    host, now = agent.site.host, agent.now()
    whole_s = proof.ttl_s - margin_s(proof.ttl_s)
    boot_s = (whole_s - (now.boot_s - proof.sent.boot_s)) / host.boot_rate
    raw_s = (whole_s - (now.raw_s - proof.sent.raw_s)) / host.raw_rate
    return min(boot_s, raw_s)
