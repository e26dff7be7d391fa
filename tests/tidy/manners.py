"""What the code must not do, and what each file must have (style.md §4, §7, §8, §11)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.tidy.names import is_within, used
from tests.tidy.source import Source

_CLOCKS = {
    *(f"time.{name}{unit}" for name in ("time", "monotonic", "clock_gettime", "perf_counter") for unit in ("", "_ns")),
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
}
_MAY_READ_CLOCKS = {
    "patroni/agent/clock.py",
    "patroni/agent/main.py",  # entry point of the agent
    "patroni/ctl/main.py",  # entry point of patronictl
    "patroni/fence/runner.py",  # the guard's runner, a process of its own
}
_PAUSES = {"time.sleep"}  # it hears no event; asyncio.sleep is a deadline like any other, and can be cancelled
_EVASIONS = {
    *("pytest.skip", "pytest.xfail", "pytest.importorskip"),
    *("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.mark.flaky"),
    *("unittest.skip", "unittest.skipIf", "unittest.skipUnless", "unittest.SkipTest", "unittest.expectedFailure"),
    *("unittest.mock", "mock", "pytest_mock", "pytest.MonkeyPatch"),
}
_SUBSTITUTING_FIXTURES = {"monkeypatch", "mocker"}
# Absolute places that only one machine has; a reader's own is written with `~` or a variable.
_PLACE = re.compile(r"(?<![\w.~$}])/(?:(?:work|root)/\w|(?:home|Users)/\w+/)\w*")


def unprepared(source: Source) -> Iterator[str]:
    """Yield that a module has no docstring, or code without postponed annotations."""
    if ast.get_docstring(source.tree) is None:
        yield f"{source.path}: no docstring"
    statements = source.tree.body[1:]
    if statements and not any(_postpones_annotations(node) for node in statements):
        yield f"{source.path}: no `from __future__ import annotations`"


def _postpones_annotations(node: ast.stmt) -> bool:
    if not isinstance(node, ast.ImportFrom) or node.module != "__future__":
        return False
    return any(alias.name == "annotations" for alias in node.names)


def clock_readings(source: Source) -> Iterator[str]:
    """Yield where the program reads a clock outside the places that may; all else gets the time as an argument."""
    if source.path.startswith("patroni/") and source.path not in _MAY_READ_CLOCKS:
        yield from (source.at(node, f"reads a clock: {name}") for node, name in used(source) if name in _CLOCKS)


def pauses(source: Source) -> Iterator[str]:
    """Yield where the program or a test sleeps: the program waits for an event or a deadline, a test for a condition."""
    if source.path.startswith(("patroni/", "tests/")):
        yield from (source.at(node, f"sleeps: {name}") for node, name in used(source) if name in _PAUSES)


def evasions(source: Source) -> Iterator[str]:
    """Yield where a test is left out or may fail, or where something false stands in for what is tested."""
    if not source.path.startswith("tests/"):
        return
    for node, name in used(source):
        if any(is_within(name, evasion) for evasion in _EVASIONS):
            yield source.at(node, f"a test uses {name}")
    for argument in ast.walk(source.tree):
        if isinstance(argument, ast.arg) and argument.arg in _SUBSTITUTING_FIXTURES:
            yield f"{source.path}:{argument.lineno}: a test uses {argument.arg}"


def stubs(source: Source) -> Iterator[str]:
    """Yield where the program says that it is not written yet."""
    if source.path.startswith("patroni/"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                yield source.at(node, "a stub: NotImplementedError")


def machine_paths(path: str, text: str) -> Iterator[str]:
    """Yield the absolute paths of one machine in any text file."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield from (f"{path}:{number}: path of one machine: {found[0]}" for found in _PLACE.finditer(line))
