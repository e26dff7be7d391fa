"""The command `patroni`: the agent's entry, or one line that names the driver of Postgres that it cannot load.

The driver is the installer's choice (`pip install patroni-agent[psycopg2-binary]`), so it may not be there
(contract/configuration.md §7).
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the agent; return its exit status."""
    try:
        from patroni.agent.main import main as run  # noqa: PLC0415  # what this module is for
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "psycopg2":
            raise
        sys.stderr.write(f"patroni: no driver for Postgres ({error}); install psycopg2-binary, or psycopg2 with libpq\n")
        return 1
    return run()
