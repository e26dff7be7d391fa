"""The agents that can be measured: this checkout's, and the stock one as a black box, installed outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STOCK_PACKAGES = ("patroni[etcd3]==4.1.*", "psycopg2-binary")
_INSTALL_TIMEOUT_S = 300.0


class CannotMeasure(Exception):
    """Something that the measurement needs is missing; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """One agent: how to call it, and what it says it is."""

    title: str
    command: tuple[Path, ...]  # the configuration file follows
    version: str
    is_stock: bool = False


def ours() -> Software:
    """Return the agent of this checkout."""
    command = (ROOT / "patroni.py",)
    return Software(title="ours", command=command, version=_version(command))


def stock() -> Software:
    """Return the stock agent; install it first if it is not there."""
    environment = _cache_directory() / "stock"
    command = (environment / "bin" / "patroni",)
    if not command[0].exists():
        print(f"bench: installing {' '.join(STOCK_PACKAGES)} into {environment} ...", flush=True)
        _run(sys.executable, "-m", "venv", "--clear", str(environment))
        _run(str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", *STOCK_PACKAGES)
    return Software(title="stock", command=command, version=_version(command), is_stock=True)


def _cache_directory() -> Path:
    """Return where the stock agent lives: root's home is closed to the user that the agents run as."""
    if os.geteuid() == 0:
        return Path("/var/cache/patroni-bench")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patroni-bench"


def _version(command: tuple[Path, ...]) -> str:
    return _run(*map(str, command), "--version").split()[-1]


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        raise CannotMeasure(f"{' '.join(words)} failed:\n{error.stdout}{error.stderr}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotMeasure(f"{' '.join(words)}: {error}") from error
    return done.stdout
