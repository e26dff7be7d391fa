"""What is checked: by CI, by script/model, by it at large; and for each deliberate bug, where it must show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tests.model.node import SYMPTOMS, Breach, Bug, Fault, Scope

TTL = 3  # the least that leaves a lease something beyond the margin
WORST_LAG = (1,)  # a clock that always lags by the drift; both is for the larger scopes


def _scope(*faults: Fault, has_handover: bool = False) -> Scope:
    name = "+".join([*faults, *(["handover"] if has_handover else [])]) or "no faults"
    return Scope(name=name, ttl=TTL, lags=WORST_LAG, faults=frozenset(faults), has_handover=has_handover)


def _three(depth: int, faults: Collection[Fault]) -> Scope:
    return replace(
        _scope(has_handover=True),
        name=f"3 nodes, {'all faults' if faults else 'no faults'}, {depth} steps",
        nodes=3,
        depth=depth,
        faults=frozenset(faults),
    )


def _bounded(scope: Scope, depth: int) -> Scope:
    return replace(scope, name=f"{scope.name}, {depth} steps", depth=depth)


_COMPLETE_IN_CI = (Fault.MESSAGE, Fault.CRASH)  # the others are complete in FULL
_HANDOVER = replace(_scope(has_handover=True), lags=(0, 1))
SMALL = (
    _HANDOVER,
    *(_scope(fault) if fault in _COMPLETE_IN_CI else _bounded(_scope(fault), 24) for fault in Fault),
    _three(8, tuple(Fault)),
    _three(17, ()),
)
FULL = (_HANDOVER, *(_scope(fault) for fault in Fault), _three(9, tuple(Fault)), _three(20, ()))
_PAIRS = [(a, b) for a in Fault for b in Fault if a < b]
LARGE = (
    *(
        replace(_scope(fault, has_handover=True), name=f"{fault}+handover, ttl {ttl}", ttl=ttl, lags=(0, 1))
        for fault in Fault
        for ttl in (3, 4)
    ),
    *(_scope(*pair) for pair in _PAIRS),
    _three(11, tuple(Fault)),
    _three(26, ()),
)

_WHERE: dict[Bug, Fault | None] = {
    Bug.ANSWER_COUNTS: None,
    Bug.CREATE_COUNTS: None,
    Bug.RELEASE_BY_NAME: Fault.MESSAGE,
    Bug.ADOPT_BY_NAME: Fault.AGENT_DIES,
    Bug.ADOPT_IN_PLACE: Fault.MESSAGE,
    Bug.KEEPER_CREATES: None,
    Bug.PROMOTE_UNARMED: Fault.AGENT_DIES,
    Bug.DISARM_EARLY: None,
    Bug.DISARM_PENDING: Fault.AGENT_DIES,
    Bug.THAW_NEWER_DEADLINE: None,
    Bug.THAW_WITH_GAP: None,
    Bug.PROMOTE_ON_OLD_VIEW: None,
    Bug.RELEASE_WITH_ORPHAN: Fault.CRASH,
    Bug.GUARD_ALONE: Fault.GUARD_DIES,
    Bug.FAST_START: Fault.AGENT_FREEZES,
    Bug.RETAKEN_UNCHECKED: Fault.DELETE,
}


def _with_bug(bug: Bug, fault: Fault | None) -> Scope:
    return replace(_scope(*([fault] if fault else []), has_handover=True), name=bug, bug=bug, watch=SYMPTOMS)


def _dead_end(bug: Bug, fault: Fault, nodes: int) -> Scope:
    return replace(_scope(fault), name=bug, bug=bug, nodes=nodes, has_repairs=False, watch=frozenset({Breach.DEAD_END}))


BUGS = (
    *(_with_bug(bug, fault) for bug, fault in _WHERE.items()),
    _dead_end(Bug.HUNG_LOOP_RENEWS, Fault.LOOP_HANGS, 2),
    _dead_end(Bug.HALF_THAW_FORGOTTEN, Fault.GUARD_DIES, 1),
    *(replace(_scope(has_handover=True), name=f"margin of {margin}", margin=margin, watch=SYMPTOMS) for margin in (0, 1)),
)
# No bug of the design, but the reason for what docs/safety.md says of an operator who deletes the lock.
DELETED = replace(_scope(Fault.DELETE), name="a deleted lock, not excused", excuses_delete=False, watch=SYMPTOMS)
