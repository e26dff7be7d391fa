"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from tests.support.postgres_binaries import installed_postgres
from tests.support.program import find_program


def machine() -> str:
    """Return one line: processor, memory, kernel, and the servers' versions."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal: *(\d+)", Path("/proc/meminfo").read_text())
    parts = [
        f"{os.cpu_count()} x {model[1] if model else platform.machine()}",
        f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        f"PostgreSQL {installed_postgres()[0].major}",
        f"etcd {_version('etcd', '--version')}",
        f"HAProxy {_version('haproxy', '-v')}",
    ]
    return ", ".join(part for part in parts if part)


def load() -> str:
    """Return the load of the last minute; above 0.5 before a measurement something else is running."""
    return f"{os.getloadavg()[0]:.2f}"


def _version(program: str, argument: str) -> str:
    said = subprocess.run([find_program(program), argument], capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else "?"
