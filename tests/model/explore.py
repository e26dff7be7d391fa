"""The checker: every reachable state, breadth first, so that the first trace to a breach is a shortest one.

A state is the sorted tuple of its nodes, so clusters that differ only in which node is which are one state. Nodes are
numbered as they appear, and what a node can do in a world is worked out once.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from tests.model import rules
from tests.model.node import Breach, Effect, Host, Move, Node, Page, Postgres, Scope, World, normal

State = tuple[int, ...]  # numbers of nodes, sorted
NAMES = "ABCDEFG"


# A step of the whole cluster: the position of the node that moves, its move (None: time passes), the nodes as they stand after
# it, not sorted yet, and whether it is calm: no fault or repair, and no healthy keeper misses its renewal. Millions are made.
Step = tuple[int, Move | None, State, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check found."""

    states: int
    steps: int
    node_states: int
    depth: int
    is_complete: bool  # all states that there are, not only those within the bound
    breach: Breach | None = None
    trace: tuple[str, ...] = ()


class _Kind(NamedTuple):
    """What is known of a node by its number."""

    node: Node
    has_key: bool
    writes: bool
    is_primary: bool
    is_leader: bool
    is_fit: bool
    breach: Breach | None


class Cluster:
    """The nodes that were met, by number, and what they can do."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._world = World(scope, is_free=True, can_follow=False)
        self._numbers: dict[Node, int] = {}
        self.kinds: list[_Kind] = []
        self._moves: dict[tuple[int, bool, bool], list[tuple[Move, int]]] = {}
        self._ticks: dict[int, tuple[int, bool]] = {}
        self._hit: dict[tuple[int, Effect], int] = {}

    def number(self, node: Node) -> int:
        """Return the number of a node."""
        found = self._numbers.get(node)
        if found is None:
            found = self._numbers[node] = len(self.kinds)
            is_primary = node.postgres is Postgres.PRIMARY and not node.is_stopped and node.host is not Host.FROZEN
            self.kinds.append(
                _Kind(
                    node=node,
                    has_key=node.key,
                    writes=rules.writes(node, self.scope),
                    is_primary=is_primary,
                    is_leader=rules.is_leader(node),
                    is_fit=rules.is_fit(node),
                    breach=rules.breach(node, self.scope),
                )
            )
        return found

    def steps(self, state: State) -> list[Step]:
        """Return every step from a state."""
        kinds = [self.kinds[each] for each in state]
        is_free = not any(each.has_key for each in kinds)
        primaries = [each.is_primary for each in kinds]
        found: list[Step] = []
        for at, number in enumerate(state):
            can_follow = sum(primaries) > primaries[at]
            before, behind = state[:at], state[at + 1 :]
            for move, after in self._possible(number, is_free, can_follow):
                is_alone = move.effect is Effect.NONE
                nodes = (*before, after, *behind) if is_alone else self._applied(state, at, after, move.effect)
                found.append((at, move, nodes, not move.is_fault))
        ticked = [self._ticked(each) for each in state]
        if all(after >= 0 for after, _ in ticked):
            found.append((-1, None, tuple(after for after, _ in ticked), all(is_calm for _, is_calm in ticked)))
        return found

    def breach(self, state: State) -> Breach | None:
        """Return the invariant that a state breaks."""
        writers = 0
        for each in state:
            kind = self.kinds[each]
            if kind.breach is not None:
                return kind.breach
            writers += kind.writes
        return Breach.TWO if writers > 1 and Breach.TWO in self.scope.watch else None

    def is_led(self, state: State) -> bool:
        """Return whether the cluster has a leader."""
        return any(self.kinds[each].is_leader for each in state)

    def can_be_led(self, state: State) -> bool:
        """Return whether a node is there that could lead."""
        return any(self.kinds[each].is_fit for each in state)

    def _possible(self, number: int, is_free: bool, can_follow: bool) -> list[tuple[Move, int]]:
        key = (number, is_free, can_follow)
        found = self._moves.get(key)
        if found is None:
            world = self._world._replace(is_free=is_free, can_follow=can_follow)
            found = [(move, self.number(move.node)) for move in rules.moves(self.kinds[number].node, world)]
            self._moves[key] = found
        return found

    def _applied(self, state: State, position: int, after: int, effect: Effect) -> State:
        return tuple(after if at == position else self._affected(each, effect) for at, each in enumerate(state))

    def _affected(self, number: int, effect: Effect) -> int:
        key = (number, effect)
        if key not in self._hit:
            node = self.kinds[number].node
            node = (
                node._replace(is_old=True) if effect is Effect.PROMOTED else node._replace(has_gap=node.page is not Page.IDLE)
            )
            self._hit[key] = self.number(normal(node, self._world))
        return self._hit[key]

    def _ticked(self, number: int) -> tuple[int, bool]:
        if number not in self._ticks:
            node = self.kinds[number].node
            after = rules.after_tick(node, self._world)
            is_calm = not rules.is_renewal_due(node, self._world)
            self._ticks[number] = (-1 if after is None else self.number(after), is_calm)
        return self._ticks[number]


class Search:
    """One check of a scope."""

    def __init__(self, scope: Scope) -> None:
        self.cluster = Cluster(scope)
        self._scope = scope
        first = tuple(sorted([self.cluster.number(Node())] * scope.nodes))
        self._states: list[State] = [first]
        self._index: dict[State, int] = {first: 0}
        self._parents = array("i", [-1])
        self._calm_from = array("i")  # the calm steps, as pairs of states
        self._calm_to = array("i")
        self._seeks_dead_ends = Breach.DEAD_END in scope.watch and scope.depth is None
        self._steps = 0
        self._depth = 0

    def run(self) -> Verdict:
        """Search until a breach, the bound or the end; then look for dead ends, if all states were seen."""
        begin = 0
        while begin < len(self._states) and (self._scope.depth is None or self._depth < self._scope.depth):
            end = len(self._states)
            for at in range(begin, end):
                found = self._expand(at)
                if found is not None:
                    return found
            begin = end
            self._depth += 1
        is_complete = begin == len(self._states)
        if self._seeks_dead_ends:
            stuck = self._dead_end()
            if stuck is not None:
                return replace(self._verdict(True), breach=Breach.DEAD_END, trace=self._trace(stuck, None))
        return self._verdict(is_complete)

    def _expand(self, at: int) -> Verdict | None:
        watch = self._scope.watch
        index, states = self._index, self._states
        steps = self.cluster.steps(states[at])
        self._steps += len(steps)
        for step in steps:
            _, move, nodes, is_calm = step
            if move is not None and move.breach is not None and move.breach in watch:
                return replace(self._verdict(False), breach=move.breach, trace=self._trace(at, step))
            state = tuple(sorted(nodes))
            there = index.get(state)
            if there is None:
                there = index[state] = len(states)
                states.append(state)
                self._parents.append(at)
                breach = self.cluster.breach(state)
                if breach is not None:
                    return replace(self._verdict(False), breach=breach, trace=self._trace(at, step))
            if is_calm and there != at and self._seeks_dead_ends:
                self._calm_from.append(at)
                self._calm_to.append(there)
        return None

    def _verdict(self, is_complete: bool) -> Verdict:
        return Verdict(
            states=len(self._states),
            steps=self._steps,
            node_states=len(self.cluster.kinds),
            depth=self._depth,
            is_complete=is_complete,
        )

    # --- dead ends

    def _dead_end(self) -> int | None:
        """Return a state, of the first that were met, from which no calm steps lead to a leader; None: there is none."""
        is_good = bytearray(self.cluster.is_led(state) for state in self._states)
        is_changing = True
        while is_changing:  # backwards: most steps lead to states that were met later
            is_changing = False
            for edge in range(len(self._calm_from) - 1, -1, -1):
                if is_good[self._calm_to[edge]] and not is_good[self._calm_from[edge]]:
                    is_good[self._calm_from[edge]] = is_changing = True
        for at, state in enumerate(self._states):
            if not is_good[at] and self.cluster.can_be_led(state):
                return at
        return None

    # --- the trace

    def _trace(self, at: int, last: Step | None) -> tuple[str, ...]:
        """Return the way to a state, and one step more, in words; nodes keep their names throughout."""
        way = [at]
        while self._parents[way[-1]] >= 0:
            way.append(self._parents[way[-1]])
        way.reverse()
        names = NAMES[: self._scope.nodes]
        lines: list[str] = []
        for here, there in pairwise(way):
            wanted = self._states[there]
            step = next(each for each in self.cluster.steps(self._states[here]) if tuple(sorted(each[2])) == wanted)
            lines.append(_words(step, names))
            names = "".join(name for _, name in sorted(zip(step[2], names, strict=True)))
        if last is not None:
            lines.append(_words(last, names))
        return tuple(lines)


def _words(step: Step, names: str) -> str:
    mover, move, _, _ = step
    return "a tick passes" if move is None else move.text.format(n=names[mover])


def check(scope: Scope) -> Verdict:
    """Check a scope."""
    return Search(scope).run()
