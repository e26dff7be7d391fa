"""The runner of the suites says red when anything is wrong, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.suites import Line, Run, execute, runs, suites

PASS = "def test_a():\n    assert True\n"
FAIL = "def test_b():\n    assert False\n"
SKIP = "import pytest\n@pytest.mark.skip\ndef test_c():\n    pass\n"
BROKEN = "import nothing_of_this_name\n"
WARNS = "import warnings\ndef test_d():\n    warnings.warn('old')\n"


@pytest.mark.parametrize(
    ("text", "passed", "is_green"),
    [
        pytest.param(PASS, 1, True, id="passes"),
        pytest.param("", 0, True, id="no tests yet"),
        pytest.param(PASS + FAIL, 1, False, id="one fails"),
        pytest.param(PASS + SKIP, 1, False, id="one is left out"),
        pytest.param(BROKEN, 0, False, id="cannot be imported"),
        pytest.param(WARNS, 0, False, id="a warning is an error"),
    ],
)
def test_a_suite_is_green_only_if_all_ran_and_passed(tmp_path: Path, text: str, passed: int, is_green: bool) -> None:
    (tmp_path / "test_it.py").write_text(text)
    result = execute(Run(title="it", folders=[str(tmp_path)]), Line("it"))
    assert (result.passed, result.is_green) == (passed, is_green)


def test_decision_comes_first_and_is_covered_whole() -> None:
    first, *others = runs(suites())
    assert first.title == "decision"
    assert "--cov-fail-under=100" in first.arguments
    assert not any(run.arguments for run in others)
