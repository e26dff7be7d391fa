"""Archive what the server could not before its data directory is changed (contract/ha_behaviour.md §5.5 row 2)."""

from __future__ import annotations

import logging
import os
import re

from patroni.postgres import parameters
from patroni.postgres.call import Call
from patroni.postgres.server import Server

logger = logging.getLogger(__name__)

_READY = re.compile(r"([0-9A-F]{24}(?:\.partial)?)\.ready")


def archive_ready_segments(server: Server, call: Call) -> None:
    """Run `archive_command` for each segment that is ready, in order; a failure is logged and the next one tried."""
    settings = {name.lower(): value for name, value in parameters.wanted(server.config).items()}
    command = settings.get("archive_command", "")
    status = server.path("pg_wal", "archive_status")
    if settings.get("archive_mode", "off").lower() not in ("on", "always", "true", "yes", "1") or not command:
        return
    for name in sorted(os.listdir(status)) if os.path.isdir(status) else []:
        found = _READY.fullmatch(name)
        segment = server.path("pg_wal", found[1]) if found else None
        if segment is None or not os.path.exists(segment):
            continue
        finished = server.tools.run(call, ["sh", "-c", filled(command, segment)], is_captured=False)
        if finished.status == 0:
            ready = os.path.join(status, name)
            os.rename(ready, ready.removesuffix("ready") + "done")
        else:
            logger.warning("archive_command failed for %s with status %s", os.path.basename(segment), finished.status)


def filled(command: str, segment: str) -> str:
    """Return the command with its placeholders replaced (callbacks_and_scripts.md §11.1)."""
    meaning = {"p": segment, "f": os.path.basename(segment), "r": "000000010000000000000001", "%": "%"}
    return re.sub(r"%([pfr%])", lambda found: meaning[found[1]], command)
