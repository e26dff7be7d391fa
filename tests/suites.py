"""Run the suites, the folders of tests/, one after the other: one line each, with progress and time.

python -m tests.suites [SUITE ...]; script/test calls it. A suite's output is shown only if it fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import environ
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
SECOND_PYTHON = ROOT / ".venv-second" / "bin" / "python"

FIRST = ("decision",)  # what says most in the least time
LAST = ("simulation", "contract", "server", "faults")  # what takes longest
UNIT = ("decision", "config", "rest", "ctl", "simulation")  # these run on the second Python, too
SUITE_LIMIT_S = 900.0

COVERAGE = ("--cov=patroni.decision", "--cov-branch", "--cov-report=term-missing:skip-covered", "--cov-fail-under=100")
NO_TESTS = 5  # pytest's exit code
PROGRESS = re.compile(r"\[ *(\d+)%\]")
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|deselected)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One call of pytest."""

    title: str
    folders: Sequence[str]
    python: Path = Path(sys.executable)
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What pytest said. A test that was left out counts as failed: none may be."""

    passed: int
    failed: int
    exit_code: int  # of pytest; negative: it was killed
    output: str

    @property
    def is_green(self) -> bool:
        """Whether all tests ran and passed, or there are none yet."""
        return self.failed == 0 and self.exit_code in {0, NO_TESTS}


def main(wanted: Sequence[str]) -> int:
    """Run the wanted suites, all if none is named; return the exit code."""
    present = suites()
    if unknown := sorted(set(wanted) - set(present)):
        print(f"no such suite: {', '.join(unknown)}; there are: {', '.join(present)}")
        return 2
    results = [shown(run) for run in runs([name for name in present if not wanted or name in wanted])]
    red = [result for result in results if not result.is_green]
    # A suite can fail without a failed test: too little coverage, a kill at the limit.
    print(f"{sum(result.passed for result in results)} passed, {sum(result.failed or 1 for result in red)} failed")
    return 1 if red else 0


def suites() -> list[str]:
    """Return the folders that hold tests, in the order to run them."""
    found = {path.parent.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}
    middle = sorted(found - set(FIRST) - set(LAST))
    return [name for name in (*FIRST, *middle, *LAST) if name in found]


def runs(names: Sequence[str]) -> list[Run]:
    """Return the calls of pytest for these suites, the second Python's last."""
    found = [Run(title=name, folders=[name], arguments=COVERAGE if name == "decision" else ()) for name in names]
    units = [name for name in names if name in UNIT]
    if units and SECOND_PYTHON.exists():
        # A few schedules: whether the code runs there, not whether the cluster is safe.
        few = {"SIMULATION_SCHEDULES": "20"}
        found.append(Run(title="second Python", folders=units, python=SECOND_PYTHON, environment=few))
    elif units:
        print("second Python: none found, so the unit tests run on one only")
    return found


def shown(run: Run) -> Result:
    """Run one suite and show its line; its output below if it is not green."""
    line = Line(run.title)
    began_s = time.monotonic()
    result = execute(run, line)
    line.end(f"{verdict(result)} in {time.monotonic() - began_s:.1f} s")
    if not result.is_green:
        print(result.output)
    return result


def verdict(result: Result) -> str:
    """Say in few words how it went."""
    if result.exit_code == NO_TESTS:
        return "no tests yet"
    if result.is_green:
        return f"{result.passed} passed"
    return f"FAILED (exit code {result.exit_code}): {result.failed} failed, {result.passed} passed"


class Line:
    """The line of a suite: rewritten on a terminal, else grown."""

    def __init__(self, title: str) -> None:
        self._start = f"{title:<16}"
        self._shown_percent = 0
        self._is_terminal = sys.stdout.isatty()
        print(self._start, end="", flush=True)

    def progress(self, percent: int) -> None:
        """Show how far the suite is; in steps of 20 where the line cannot be rewritten."""
        if self._is_terminal:
            print(f"\r{self._start}{percent} %", end="", flush=True)
        elif percent >= self._shown_percent + 20 and percent < 100:
            self._shown_percent = percent - percent % 20
            print(f"{self._shown_percent}% ", end="", flush=True)

    def end(self, text: str) -> None:
        """Complete the line."""
        print(f"\r{self._start}{text}" if self._is_terminal else text, flush=True)


def execute(run: Run, line: Line) -> Result:
    """Run pytest, end it at the limit, and read what it says meanwhile."""
    command = [str(run.python), "-m", "pytest", "-q", "--no-header", "-c", str(ROOT / "pyproject.toml"), *run.arguments]
    command += [str(TESTS / folder) for folder in run.folders]
    environment = {**environ, "PYTHONUNBUFFERED": "1", **run.environment}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pytest:
        limit = threading.Timer(SUITE_LIMIT_S, pytest.kill)
        limit.start()
        assert pytest.stdout is not None
        for text in pytest.stdout:
            lines.append(text)
            if found := PROGRESS.search(text):
                line.progress(int(found[1]))
        exit_code = pytest.wait()
        limit.cancel()
    counts = {word: int(number) for number, word in COUNT.findall(lines[-1] if lines else "")}
    passed = counts.pop("passed", 0)
    return Result(passed=passed, failed=sum(counts.values()), exit_code=exit_code, output="".join(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
