"""Read pg_control by pg_controldata, and where a clean shutdown ended by pg_waldump (contract/ha_behaviour.md §1.3, 6.5)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from patroni.decision.cluster import Lsn, SystemId, Timeline
from patroni.decision.node import ClusterState, ControlData
from patroni.postgres.call import Call
from patroni.postgres.request import PostgresError, PostgresTimeout
from patroni.postgres.server import Server
from patroni.postgres.tool import C_LOCALE

_SETTLED_S = 0.1  # a file that was not written for so long before it was read shows every later write in its time stamp


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, of which version of the file, and since when that version was known."""

    version: tuple[int, int, int]
    since_s: float
    is_settled: bool
    control: ControlData


class ControlReader:
    """Reads control data; the tools run only when pg_control was written since."""

    def __init__(self) -> None:
        self._last: _Read | None = None

    def read(self, server: Server, call: Call) -> ControlData:
        """Return the control data as of now."""
        status = os.stat(server.path("global", "pg_control"))
        version = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        last = self._last if self._last is not None and self._last.version == version else None
        if last is not None and last.is_settled:
            return last.control
        now_s = call.now_s()
        since_s = last.since_s if last is not None else now_s
        control = _complete(server, call, parsed(read_words(server, call)))
        self._last = _Read(version, since_s, now_s - since_s >= _SETTLED_S, control)
        return control


def read_words(server: Server, call: Call) -> dict[str, str]:
    """Run pg_controldata and return its words by key."""
    output = server.tools.require(call, [server.binaries().path("pg_controldata"), server.data_dir], C_LOCALE)
    pairs = (line.split(":", 1) for line in output.splitlines() if ":" in line)
    return {key.removeprefix("Current ").strip(): value.strip() for key, value in pairs}


def parsed(words: Mapping[str, str]) -> ControlData:
    """Return control data from the tool's words; PostgresError if the essential ones are missing."""
    try:
        state = words["Database cluster state"]
        minimum = lsn(words.get("Minimum recovery ending location", "0/0"))
        minimum_timeline = int(words.get("Min recovery ending loc's timeline", "0"))
        return ControlData(
            cluster_state=ClusterState(state) if state in list(ClusterState) else None,
            system_id=SystemId(words["Database system identifier"]),
            timeline=Timeline(int(words["Latest checkpoint's TimeLineID"])),
            checkpoint_lsn=lsn(words["Latest checkpoint location"]),
            minimum_recovery_lsn=minimum or None,
            minimum_recovery_timeline=Timeline(minimum_timeline) if minimum_timeline else None,
            can_rewind=words.get("wal_log_hints setting") == "on" or words.get("Data page checksum version", "0") != "0",
        )
    except (KeyError, ValueError) as error:
        raise PostgresError(f"pg_controldata: cannot read {error}") from error


def lsn(text: str) -> Lsn:
    """Return the position that a text like `16/B374D848` names."""
    high, low = text.split("/")
    return Lsn((int(high, 16) << 32) + int(low, 16))


def lsn_text(position: int) -> str:
    """Return a position as Postgres writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def record_end(start: int, length: int, block: int, segment: int) -> Lsn:
    """Return where the record after one of `length` bytes at `start` begins: page headers on the way count.

    block, segment: bytes per WAL page and segment. A page header has 24 bytes, a segment's first one 40; records are aligned
    to 8.
    """
    position, left = start, length
    while left > 0:
        taken = min(left, block - position % block)
        position, left = position + taken, left - taken
        if left > 0:
            position += 40 if position % segment == 0 else 24
    return Lsn((position + 7) // 8 * 8)


def _complete(server: Server, call: Call, control: ControlData) -> ControlData:
    """Add where the shutdown checkpoint ends and which position counts as published before it (§6.5)."""
    if control.cluster_state is not ClusterState.SHUT_DOWN:
        return control
    try:
        words = read_words(server, call)
        line = _record(server, call, control.timeline, control.checkpoint_lsn)
        found = re.search(r"len \(rec/tot\):\s*\d+/\s*(\d+),.*prev ([0-9A-F]+/[0-9A-F]+), desc: CHECKPOINT_SHUTDOWN", line)
        if found is None:
            return control
        end = record_end(
            control.checkpoint_lsn, int(found[1]), int(words["WAL block size"]), int(words["Bytes per WAL segment"])
        )
        before = _record(server, call, control.timeline, lsn(found[2]))
    except PostgresTimeout:
        raise
    except (PostgresError, KeyError, ValueError):
        return control  # unknown: WAL is missing or unreadable; who needs it treats it so
    previous = lsn(found[2]) if "desc: SWITCH" in before else control.checkpoint_lsn
    return replace(control, checkpoint_end_lsn=end, previous_lsn=previous)


def _record(server: Server, call: Call, timeline: int, position: Lsn) -> str:
    """Return pg_waldump's line of the record at this position."""
    words = [server.binaries().path("pg_waldump"), "-p", server.path("pg_wal"), "-t", str(timeline)]
    return server.tools.require(call, [*words, "-s", lsn_text(position), "-n", "1"], C_LOCALE)
