"""docs/rules.md: the rules of patroni/decision, from the code. `script/rules` writes the page; a test says when it is old."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from patroni.decision import decide, reasons
from patroni.decision.rule import Rule

PAGE = Path(__file__).parents[1] / "docs" / "rules.md"
DISPATCH = ("situation", "_idle", "_known", "_with_data")  # the functions of decide.py that choose the situation

HEAD = """# The rules

Generated from `patroni/decision/` by `script/rules`; changes belong there.

An agent puts all that it knows at one moment into a view. The view's situation chooses a list of rules, the first rule of
the list that applies says what to do and why, and the agent does it. Whatever happens meanwhile makes a new view. A rule
never waits and never asks: a fact that is missing is asked for by an action, and met in a later view. Letters with numbers
and `§` name the place in the specification that a rule fulfils.

## Which situation it is

The first line that applies.

"""
REASONS_HEAD = """
## What an agent says

The reason of every decision, as it stands in the log, in the REST API and in `patronictl`.

| code | text |
|---|---|
"""


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


def page() -> str:
    """Return the page as it ought to be."""
    sections = [_section(name.replace("_", " ").capitalize(), rules) for name, rules in situations()]
    alone = _section("Situations with one rule", single_rules())
    texts = [f"| `{code}` | {_plain(text)} |\n" for code, text in reasons._TEXTS.items()]
    return HEAD + _dispatch() + "".join(sections) + alone + REASONS_HEAD + "".join(texts)


def situations() -> list[tuple[str, tuple[Rule, ...]]]:
    """Return the lists of rules by their names, in the order of the file."""
    found = vars(decide).items()
    return [(name, value) for name, value in found if name.isupper() and isinstance(value, tuple) and _are_rules(value)]


def single_rules() -> tuple[Rule, ...]:
    """Return the rules that are a situation of their own."""
    return tuple(_resolved(element) for returned in _returned_tuples() for element in returned if _is_name(element))


def _are_rules(values: tuple[object, ...]) -> bool:
    return all(inspect.isfunction(value) and value.__module__.startswith("patroni.decision.") for value in values)


def _returned_tuples() -> Iterator[list[ast.expr]]:
    """Yield what the dispatch returns as tuples written in place."""
    for name in DISPATCH:
        for node in ast.walk(ast.parse(inspect.getsource(getattr(decide, name)))):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from (part.elts for part in ast.walk(node.value) if isinstance(part, ast.Tuple))


def _is_name(element: ast.expr) -> bool:
    return isinstance(element, ast.Name | ast.Attribute)


def _resolved(element: ast.expr) -> Rule:
    """Return the rule that an expression like `held` or `bootstrap.exit_after_abort` names."""
    found: object = decide
    for part in ast.unparse(element).split("."):
        found = getattr(found, part)
    assert callable(found)
    return found


def _dispatch() -> str:
    """Show the choice as it is written, without its docstrings."""
    sources = [inspect.getsource(getattr(decide, name)).rstrip() for name in DISPATCH]
    return "```python\n" + "\n\n\n".join(re.sub(r'\n    """.*?"""', "", text, flags=re.DOTALL) for text in sources) + "\n```\n"


def _section(title: str, rules: tuple[Rule, ...]) -> str:
    rows = [f"| {number} | {_link(rule)} | {_what(rule)} |\n" for number, rule in enumerate(rules, start=1)]
    return f"\n## {title}\n\n| | rule | what it does |\n|---|---|---|\n" + "".join(rows)


def _link(rule: Rule) -> str:
    module = inspect.getmodule(rule)
    assert isinstance(module, ModuleType)
    room = module.__name__.rpartition(".")[2]
    return f"[{room}.{rule.__name__}](../patroni/decision/{room}.py)"


def _what(rule: Rule) -> str:
    return " ".join((inspect.getdoc(rule) or "").split()).replace("|", "\\|")


def _plain(text: str) -> str:
    """Return a template without the formats of its facts."""
    return re.sub(r"\{(\w+)[^}]*\}", r"*\1*", text)


if __name__ == "__main__":
    sys.exit(main())
