"""The model holds where the design is kept, and fails, with a trace, wherever one of its rules is broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model import guard
from tests.model.explore import Search, check
from tests.model.node import Breach, Bug, Fault, Node, Page, Postgres, Rule, Scope, World
from tests.model.rules import RULES, moves
from tests.model.scopes import BUGS, DELETED, SMALL


@pytest.mark.parametrize("scope", SMALL, ids=lambda scope: scope.name)
def test_no_reachable_state_breaks_an_invariant(scope: Scope) -> None:
    verdict = check(scope)
    assert verdict.breach is None, "\n".join([verdict.breach, *verdict.trace])
    assert verdict.is_complete == (scope.depth is None)
    assert verdict.states > 20_000  # it has gone beyond the first election


@pytest.mark.parametrize("scope", BUGS, ids=lambda scope: scope.name)
def test_each_deliberate_bug_is_found_with_a_trace(scope: Scope) -> None:
    verdict = check(scope)
    assert verdict.breach in scope.watch
    assert verdict.trace


def test_every_bug_is_tried() -> None:
    assert {scope.bug for scope in BUGS if scope.bug} == set(Bug)


def test_a_lock_deleted_by_an_operator_allows_two_writers() -> None:
    assert check(DELETED).breach in {Breach.TWO, Breach.HISTORY}


def test_a_trace_reads_in_plain_words_and_keeps_the_names() -> None:
    [scope] = [scope for scope in BUGS if scope.bug is Bug.PROMOTE_UNARMED]
    assert check(scope).trace == (
        "A finds no lock, renews its session and sends a create; its clock will lag by 1",
        "the store gives the lock to A",
        "A has the lock",
        "A orders the promotion",
        "Postgres of A becomes writable",
        "a tick passes",
        "a tick passes",
        "a tick passes",
        "the store ends the session of A, and its lock",
        "B finds no lock, renews its session and sends a create; its clock will lag by 1",
        "the store gives the lock to B",
        "B has the lock",
        "B orders the promotion",
        "Postgres of B becomes writable",
    )


def test_every_rule_of_the_model_is_used() -> None:
    unused = set(RULES)
    for fault in Fault:
        search = Search(replace(SMALL[0], faults=frozenset({fault}), lags=(1,), depth=17))
        search.run()
        unused = {rule for rule in unused if not _is_used(rule, search)}
    assert unused == {guard.trusts_deadline}  # a bug


def _is_used(rule: Rule, search: Search) -> bool:
    worlds = [World(search.cluster.scope, is_free, can_follow) for is_free in (True, False) for can_follow in (True, False)]
    return any(True for kind in search.cluster.kinds for world in worlds for _ in rule(kind.node, world))


def test_no_fault_happens_that_the_scope_does_not_name() -> None:
    world = World(Scope(name="none"), is_free=True, can_follow=False)
    node = Node(postgres=Postgres.PRIMARY, page=Page.ARMED, left=4)
    assert not [move.text for move in moves(node, world) if move.is_fault]
    world = world._replace(scope=Scope(name="one", faults=frozenset({Fault.AGENT_DIES})))
    assert [move.text for move in moves(node, world) if move.is_fault] == ["the agent of {n} dies"]
