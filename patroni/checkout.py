"""Run from a checkout: the scripts at its top continue in the Python of .venv, which holds what they import.

Any Python 3 that a person's `./patroni.py` may find must be able to read this module.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

# What every start needs; a driver and a store's client are asked for when they are used.
_LIBRARIES = ("click", "dateutil", "httptools", "urllib3", "yaml")


def enter_environment(script: str) -> None:
    """Replace this process by the same call in the checkout's .venv; return if there is none or it is the running one.

    script: path of the script at the top of the checkout. Exits 1 with one line where the checkout cannot be used.
    """
    root = os.path.dirname(os.path.realpath(script))
    environment = os.path.realpath(os.path.join(root, ".venv"))  # it may be a link
    python = os.path.join(environment, "bin", "python")
    if not os.access(root, os.R_OK | os.X_OK):
        sys.exit(f"{os.path.basename(script)}: cannot read {root}: permission denied for uid {os.geteuid()}")
    if os.path.realpath(sys.prefix) == environment:
        return
    if not os.path.lexists(environment):
        _require_libraries(script)
        return
    if not os.access(python, os.X_OK):
        sys.exit(f"{os.path.basename(script)}: cannot execute {python} as uid {os.geteuid()}; run script/bootstrap again")
    os.execv(python, [python, os.path.abspath(script), *sys.argv[1:]])


def _require_libraries(script: str) -> None:
    """Say what to do where neither .venv nor an own installation has what the agent imports."""
    if sys.version_info < (3, 11):  # noqa: UP036  # this module runs before .venv's Python does
        sys.exit(f"{os.path.basename(script)}: needs Python 3.11 or newer; run script/bootstrap first")
    missing = [library for library in _LIBRARIES if find_spec(library) is None]
    if missing:
        sys.exit(f"{os.path.basename(script)}: not installed: {', '.join(missing)}; run script/bootstrap first")
