"""The architecture, the sizes and the manners of the project hold; each rule is shown to fail on what it forbids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.tidy import imports, manners, sizes
from tests.tidy.source import ROOT, Source, files, python_sources

Rule = Callable[[Source], Iterator[str]]

RULES: tuple[Rule, ...] = (
    imports.wrong_rooms,
    imports.impure,
    sizes.too_large,
    manners.unprepared,
    manners.clock_readings,
    manners.pauses,
    manners.evasions,
    manners.stubs,
)
SOURCES = python_sources()

HEAD = '"""A module."""\n\nfrom __future__ import annotations\n'


def none(faults: Iterable[str]) -> None:
    """Fail with all faults, a line each."""
    found = list(faults)
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    none(fault for source in SOURCES for fault in rule(source))


def test_each_untyped_library_is_imported_in_one_module() -> None:
    none(imports.shared_libraries(SOURCES))


def test_no_file_names_a_place_of_one_machine() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in files()}
    del texts["tests/test_tidy.py"]  # its tables below name such places
    none(fault for path, text in texts.items() for fault in manners.machine_paths(path, text))


def test_the_rules_see_the_project() -> None:
    paths = {source.path for source in SOURCES}
    assert {"patroni.py", "setup.py", "patroni/decision/view.py", "tests/test_tidy.py"} <= paths


def code(path: str, text: str) -> Source:
    """Build a file that the rule at hand looks into."""
    return Source(path, f"{HEAD}{text}\n")


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("patroni/decision/a.py", "from patroni.dcs import layout", "decision imports patroni.dcs.layout"),
        ("patroni/dcs/a.py", "from patroni.postgres.server import Server", "dcs imports patroni.postgres.server.Server"),
        ("patroni/postgres/a.py", "import patroni.agent.loop", "postgres imports patroni.agent.loop"),
        ("patroni/rest/a.py", "from patroni.postgres import session", "rest imports patroni.postgres.session"),
        ("patroni/rest/a.py", "from ..fence import client", "rest imports patroni.fence.client"),
        ("patroni/ctl/a.py", "from patroni import postgres", "ctl imports patroni.postgres"),
        ("patroni/config/a.py", "def f():\n    import patroni.dcs", "config imports patroni.dcs"),
        ("patroni/fence/a.py", "import tests.support.waiting", "the program imports tests.support.waiting"),
    ],
)
def test_an_import_through_a_wall_is_seen(path: str, text: str, fault: str) -> None:
    assert any(found.endswith(fault) for found in imports.wrong_rooms(code(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("patroni/agent/a.py", "from patroni.postgres.server import Server"),
        ("patroni/ctl/a.py", "from patroni.dcs import layout"),
        ("patroni/dcs/a.py", "from patroni.decision import cluster\nfrom patroni.version import VERSION"),
        ("patroni/rest/a.py", "from patroni.postgres.request import Monitoring"),
        ("patroni/rest/a.py", "from . import routes"),
        ("tests/server/test_a.py", "from patroni.postgres.server import Server"),
    ],
)
def test_an_import_inwards_is_allowed(path: str, text: str) -> None:
    assert list(imports.wrong_rooms(code(path, text))) == []


@pytest.mark.parametrize(
    "module", ["os", "logging", "threading", "random", "time", "yaml", "patroni.version", "urllib.request"]
)
def test_decision_imports_only_what_is_pure(module: str) -> None:
    assert list(imports.impure(code("patroni/decision/a.py", f"import {module}"))) != []
    assert list(imports.impure(code("patroni/agent/a.py", f"import {module}"))) == []


def test_decision_imports_itself_and_pure_modules() -> None:
    text = "from patroni.decision.view import View\nfrom . import actions\nfrom collections.abc import Mapping\nimport math"
    assert list(imports.impure(code("patroni/decision/a.py", text))) == []


def test_a_library_imported_in_two_modules_is_seen() -> None:
    one, two = (code(f"patroni/dcs/{name}.py", "from kazoo.client import KazooClient") for name in ("one", "two"))
    assert list(imports.shared_libraries([one])) == []
    assert list(imports.shared_libraries([one, two])) != []


def function(*lines: str, head: str = "def f():") -> str:
    """Build a function with these lines."""
    return "\n".join([head, *(f"    {line}" for line in lines)])


THREE_DEEP = ("if a:", "    for b in a:", "        with b:", "            c()")
DISPATCH = ("if a:", "    b()", "elif c:", "    d()", "elif e:", "    f()", "elif g:", "    h()", "else:", "    i()")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param(function(*["a()"] * 49), 0, id="50 lines"),
        pytest.param(function(*["a()"] * 50), 1, id="51 lines"),
        pytest.param("\n".join(["a = 1"] * 497), 0, id="file of 500 lines"),
        pytest.param("\n".join(["a = 1"] * 498), 1, id="file of 501 lines"),
        pytest.param(function("a()", head="def f(self, a, b, /, c, *, d, e):"), 0, id="self and 5 parameters"),
        pytest.param(function("a()", head="def f(a, b, c, *args, d, **kwargs):"), 1, id="6 parameters"),
        pytest.param(function("a()", head="async def f(a, b, c, d, e, f):"), 1, id="6 parameters, async"),
        pytest.param(function(*THREE_DEEP), 0, id="3 deep"),
        pytest.param(function("while z:", *(f"    {line}" for line in THREE_DEEP)), 1, id="4 deep"),
        pytest.param(function("try:", *(f"    {line}" for line in THREE_DEEP), "finally:", "    g()"), 1, id="4 with try"),
        pytest.param(function("match a:", "    case 1:", *(f"        {line}" for line in THREE_DEEP)), 1, id="4 with match"),
        pytest.param(function(*DISPATCH), 0, id="elif is as deep as its if"),
        pytest.param(function(*THREE_DEEP[:2], "        def g():", *(f"            {x}" for x in THREE_DEEP)), 0, id="inner"),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert len(list(sizes.too_large(code("patroni/a.py", text)))) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param('"""Empty but for this."""\n', 0, id="only a docstring"),
        pytest.param(f"{HEAD}import os\n", 0, id="both"),
        pytest.param('"""A module."""\nimport os\n', 1, id="annotations not postponed"),
        pytest.param("", 1, id="nothing at all"),
        pytest.param("import os\nimport re\n", 2, id="neither"),
    ],
)
def test_what_each_module_begins_with(text: str, count: int) -> None:
    assert len(list(manners.unprepared(Source("patroni/a.py", text)))) == count


READS = [
    "import time\na = time.time()",
    "import time as t\na = t.monotonic()",
    "from time import monotonic as now",
    "import time\na = time.clock_gettime(time.CLOCK_BOOTTIME)",
    "import datetime\na = datetime.datetime.now()",
    "from datetime import datetime as d\na = d.now(UTC)",
    "import time\nclock = time.monotonic",
]


@pytest.mark.parametrize("text", READS)
def test_a_clock_is_read_in_few_places(text: str) -> None:
    assert list(manners.clock_readings(code("patroni/agent/loop.py", text))) != []
    assert list(manners.clock_readings(code("patroni/agent/clock.py", text))) == []
    assert list(manners.clock_readings(code("tests/server/test_a.py", text))) == []


def test_arithmetic_with_times_is_no_reading() -> None:
    text = "from datetime import datetime, timedelta\nimport time\na = datetime(2026, 1, 1) + timedelta(1)\nb = time.gmtime(0)"
    assert list(manners.clock_readings(code("patroni/agent/loop.py", text))) == []


@pytest.mark.parametrize("text", ["import time\ntime.sleep(1)", "from time import sleep", "import time as t\nt.sleep(1)"])
@pytest.mark.parametrize("path", ["patroni/agent/loop.py", "tests/server/test_a.py"])
def test_sleeping_is_seen(path: str, text: str) -> None:
    assert list(manners.pauses(code(path, text))) != []
    assert list(manners.pauses(code(path, "event.wait(1)"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\n@pytest.mark.skip\ndef test_a(): pass",
        "import pytest\n@pytest.mark.skipif(a, reason='b')\ndef test_a(): pass",
        "import pytest\nmark = pytest.mark.xfail(strict=True)",
        "import pytest\npytest.skip('no server')",
        "from pytest import importorskip",
        "from unittest import mock",
        "from unittest.mock import patch",
        "import unittest.mock",
        "def test_a(monkeypatch): pass",
        "def test_a(*, mocker): pass",
    ],
)
def test_evading_a_test_is_seen(text: str) -> None:
    assert list(manners.evasions(code("tests/decision/test_a.py", text))) != []


def test_marks_that_evade_nothing_are_allowed() -> None:
    text = "import pytest\n@pytest.mark.parametrize('a', [1])\n@pytest.mark.timeout(9)\ndef test_a(tmp_path, a): self.skip(a)"
    assert list(manners.evasions(code("tests/decision/test_a.py", text))) == []


def test_a_stub_is_seen() -> None:
    text = function("raise NotImplementedError")
    assert list(manners.stubs(code("patroni/a.py", text))) != []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("see /work/main/patroni", 1),
        ("open('/root/data')", 1),
        ("cd /home/alice/src && ls", 1),
        ("PATH=/usr/bin:/home/bob/bin", 1),
        ("a file of the home directory: /home/pgpass", 0),
        ("~/work/data and $HOME/work/data and src/home/a", 0),
        ("/var/lib/postgresql and /workflow and https://example.org/a", 0),
    ],
)
def test_a_place_of_one_machine_is_seen(text: str, count: int) -> None:
    assert len(list(manners.machine_paths("README.md", text))) == count
