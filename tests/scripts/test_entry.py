"""`./patroni.py` and `./patronictl.py` continue in .venv's Python, or say in one line why they cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 20.0


@pytest.fixture(params=["patroni.py", "patronictl.py"])
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the script in a checkout that has little more than the script."""
    (tmp_path / "patroni").mkdir()
    for name in ("patroni/__init__.py", "patroni/checkout.py", request.param):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path / str(request.param)


def make_environment(checkout: Path, mode: int) -> None:
    """Make a .venv whose Python prints how it was called."""
    folder = checkout / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (folder / "python").chmod(mode)


def run(script: Path, *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the script with a Python that has no libraries, from another folder."""
    command = [sys.executable, "-S", "-E", os.path.relpath(script, folder), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_it_continues_in_the_python_of_the_environment(script: Path) -> None:
    make_environment(script.parent, 0o755)
    done = run(script, "-c", "a file.yml", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(script), "-c", "a file.yml", "list"]


def test_an_environment_that_cannot_be_executed_is_named(script: Path) -> None:
    make_environment(script.parent, 0o644)
    done = run(script)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"cannot execute {script.parent}/.venv/bin/python" in done.stderr


def test_without_environment_and_libraries_it_names_the_cure(script: Path) -> None:
    done = run(script)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "not installed: click" in done.stderr
    assert "script/bootstrap" in done.stderr


def test_asking_the_demo_for_help_installs_nothing(tmp_path: Path) -> None:
    (tmp_path / "script").mkdir()
    shutil.copy(ROOT / "script" / "demo", tmp_path / "script" / "demo")  # and no bootstrap beside it
    done = subprocess.run(
        [tmp_path / "script" / "demo", "--help"], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Three agents")
    assert "--check" in done.stdout and "--store etcd3" in done.stdout


def test_every_script_is_executable() -> None:
    paths = [ROOT / "patroni.py", ROOT / "patronictl.py", ROOT / ".ci" / "run", *(ROOT / "script").iterdir()]
    assert [path.name for path in paths if path.is_file() and not os.access(path, os.X_OK)] == []


def test_without_a_driver_the_agent_says_which_one_to_install(tmp_path: Path) -> None:
    (tmp_path / "psycopg2").mkdir()
    (tmp_path / "psycopg2" / "__init__.py").write_text("raise ImportError('libpq.so.5 is missing', name='psycopg2._psycopg')\n")
    command = [sys.executable, "-c", "import sys; from patroni.agent.entry import main; sys.exit(main())"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "patroni: no driver for Postgres (libpq.so.5 is missing); install psycopg2-binary, or psycopg2 with libpq\n",
    )
