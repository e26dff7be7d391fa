"""What other members say of themselves, and whether one of them could take over (contract/ha_behaviour.md §1.6, 2.20).

Facts that cost I/O are asked for and met in a later view: a question about peers is answered by those who are known, by
those still to be asked, or by both. An answer counts for 3 s (safety_rules.md §6); so does a silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from patroni.decision.actions import AskPeers
from patroni.decision.cluster import Lsn, Member, Timeline
from patroni.decision.fact import cluster_timeline
from patroni.decision.reasons import Reason
from patroni.decision.rule import act
from patroni.decision.view import Answer, Asked, Decision, Memory, Peer, View

FACTS_S = 3.0  # how old what an election is judged on may be (safety_rules.md §6)
LONGEST_ASKING_S = 5.0  # a race waits so long for answers: twice the limit of a question, and a little


@dataclass(frozen=True, slots=True, kw_only=True)
class Consulted:
    """What is known of some members now."""

    answers: Mapping[str, Answer]  # by member name; the silent ones are missing
    to_ask: tuple[str, ...] = ()  # nobody asked them, or too long ago
    is_complete: bool = True  # False: somebody is still to be asked, or to answer


def consult(view: View, names: Iterable[str]) -> Consulted:
    """Return what is known of these members, and who must be asked; nobody any more in a race that has waited long enough.

    Who was silent before he was wanted is asked again: his agent may be back.
    """
    answers: dict[str, Answer] = {}
    to_ask: list[str] = []
    is_pending = False
    for name in sorted(set(names)):
        match view.peers.get(name):
            case Asked(age_s=age_s):
                is_pending = is_pending or age_s <= FACTS_S
            case None:
                to_ask.append(name)
            case known if known.age_s > FACTS_S:
                to_ask.append(name)
            case Answer() as answer:
                answers[name] = answer
            case silent if _is_before_request(view, silent):
                to_ask.append(name)
            case _:
                pass  # Silent, and lately: it does not count.
    if _has_waited(view):
        return Consulted(answers=answers)
    return Consulted(answers=answers, to_ask=tuple(to_ask), is_complete=not to_ask and not is_pending)


def _is_before_request(view: View, known: Peer) -> bool:
    """Return whether a member was asked before the request for a switchover or failover was seen."""
    since_s = view.memory.request_since_s
    return since_s is not None and view.now_s - known.age_s < since_s


def _has_waited(view: View) -> bool:
    since_s = view.memory.asking_since_s
    return since_s is not None and view.now_s - since_s > LONGEST_ASKING_S


def ask(view: View, consulted: Consulted, why: Reason, memory: Memory | None = None) -> Decision:
    """Ask those who must be asked, and wait for them: the decision for a question that is not complete."""
    questions = (question(view, consulted.to_ask),) if consulted.to_ask else ()
    return act(view, why, *questions, memory=memory, within_s=1.0)


def question(view: View, names: tuple[str, ...]) -> AskPeers:
    """Return the question to these members, with the last known address of those whose member key is gone."""
    current = view.cluster.members if view.cluster else {}
    gone = (view.memory.healthy_members.get(name) for name in names if name not in current)
    return AskPeers(names, tuple((member.name, member.api_url) for member in gone if member and member.api_url))


def is_limited(answer: Answer) -> bool:
    """Return whether a peer says that it can't lead (limitation, §1.6)."""
    return answer.nofailover or answer.failover_priority <= 0 or answer.is_watchdog_failed


def may_be_asked(view: View, members: Iterable[Member]) -> tuple[str, ...]:
    """Return the names of those who could lead and have an address: others are not even asked."""
    return tuple(
        member.name
        for member in members
        if member.name != view.node.name and member.api_url is not None and not member.tags.nofailover
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Possible:
    """Whether a failover is possible: who is good for it, and how far that is known."""

    good: tuple[str, ...]
    consulted: Consulted

    @property
    def is_unknown(self) -> bool:
        """Return whether nobody good is known and somebody has not said."""
        return not self.good and not self.consulted.is_complete


def failover_possible(view: View, *, beyond_lsn: Lsn | None = None, except_candidate: bool = False) -> Possible:
    """Return who could take over (§2.20).

    beyond_lsn: a shutdown checkpoint that a good one must have received, its record included: the position is beyond its
    beginning. (The reference is content with the beginning itself; a stop that is then cut short would leave the last
    record on the old leader alone, as diverged history.) None: not behind the last published position by more than allowed.
    "Nobody" is not said of a request by answers older than it: just after a promotion they tell of the timeline before.
    Nobody could while `standby_cluster` is set: every race is barred then.
    """
    if view.settings.is_standby_cluster:
        return Possible(good=(), consulted=Consulted(answers={}))
    consulted = consult(view, _names(view, except_candidate))
    good = tuple(name for name, answer in consulted.answers.items() if _is_good(view, answer, beyond_lsn))
    return Possible(good=good, consulted=consulted if good else _afresh(view, consulted))


def _afresh(view: View, consulted: Consulted) -> Consulted:
    """Ask again who answered before the request was seen, unless a race has waited long enough."""
    old = tuple(name for name, answer in consulted.answers.items() if _is_before_request(view, answer))
    if not old or _has_waited(view):
        return consulted
    return replace(consulted, to_ask=tuple(sorted({*consulted.to_ask, *old})), is_complete=False)


def _names(view: View, except_candidate: bool) -> tuple[str, ...]:
    if view.cluster is None:
        return ()
    names = may_be_asked(view, view.cluster.members.values())
    candidate = view.cluster.failover.candidate if view.cluster.failover else None
    if candidate is None:
        return names
    return tuple(name for name in names if (name == candidate) is not except_candidate)


def _own_timeline(view: View) -> Timeline | None:
    node = view.node
    return node.control.timeline if node.timeline is None and node.control else node.timeline


def _is_good(view: View, answer: Answer, beyond_lsn: Lsn | None) -> bool:
    """X1-X5; a primary is never a candidate, nor is who is known to have stayed on a timeline that ended before ours."""
    mine = _own_timeline(view)
    has_stayed = mine is not None and answer.timeline is not None and answer.timeline < mine
    if is_limited(answer) or not answer.is_in_recovery or has_stayed:
        return False
    lsn = answer.lsn or 0
    if beyond_lsn is not None and lsn <= beyond_lsn:
        return False
    published = view.cluster.status.lsn if view.cluster else None
    if beyond_lsn is None and published is not None and published - lsn > view.settings.maximum_lag_on_failover_bytes:
        return False
    needed = cluster_timeline(view)
    return not view.settings.check_timeline or (answer.timeline is not None and (needed is None or answer.timeline >= needed))
