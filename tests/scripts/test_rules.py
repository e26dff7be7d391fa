"""docs/rules.md shows the rules as they are, all of them."""

from __future__ import annotations

import inspect

from patroni.decision import decide
from patroni.decision.reasons import Code
from tests.rules_page import PAGE, page, single_rules, situations


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run script/rules"


def test_it_has_every_list_and_every_rule_with_a_text() -> None:
    assert {name for name, _ in situations()} >= {"LEADER", "RACE", "FOLLOWER", "NO_DATA", "STORE_SILENT", "SHUTDOWN"}
    rules = {*single_rules(), *(rule for _, listed in situations() for rule in listed)}
    assert decide.held in rules
    assert [rule for rule in rules if not inspect.getdoc(rule)] == []


def test_it_has_every_reason() -> None:
    text = page()
    assert [code for code in Code if f"| `{code}` |" not in text] == []
