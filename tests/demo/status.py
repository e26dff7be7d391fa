"""What the nodes say of themselves: asked, judged and shown. Each is asked directly, so a dead one shows as such at once."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.demo.sample import HOST

_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One node, as its REST API shows it."""

    name: str
    role: str | None = None  # None: no answer
    state: str = "no answer"
    timeline: int | None = None  # None: the server does not answer
    position: int | None = None  # bytes of WAL; None: likewise
    server_start: str | None = None  # tells one life of a server from the next
    standbys: frozenset[str] = frozenset()  # who streams from it

    @property
    def is_primary(self) -> bool:
        """Whether it says that it takes writes."""
        return self.role == "primary" and self.state == "running"


def ask(name: str, rest_port: int) -> Status:
    """Ask a node."""
    connection = http.client.HTTPConnection(HOST, rest_port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/patroni")
        return parsed(name, json.load(connection.getresponse()))
    except (OSError, ValueError, http.client.HTTPException):
        return Status(name=name)
    finally:
        connection.close()


def parsed(name: str, document: Mapping[str, Any]) -> Status:
    """Return what the document of `GET /patroni` says."""
    wal = document.get("xlog", {})
    positions = [wal.get(key) for key in ("location", "received_location", "replayed_location")]
    return Status(
        name=name,
        role=document.get("role"),
        state=document.get("replication_state") or str(document.get("state")),
        timeline=document.get("timeline"),
        position=max((position for position in positions if position is not None), default=None),
        server_start=document.get("postmaster_start_time"),
        standbys=frozenset(row["application_name"] for row in document.get("replication", ()) if row["state"] == "streaming"),
    )


def leader_of(statuses: Sequence[Status]) -> Status | None:
    """Return the one primary; None: there is none, or, for a moment, more than one says so."""
    primaries = [status for status in statuses if status.is_primary]
    return primaries[0] if len(primaries) == 1 else None


def are_healthy(statuses: Sequence[Status]) -> bool:
    """Tell whether one leads and all others stream from it, by their own word and by the leader's."""
    leader = leader_of(statuses)
    others = [status for status in statuses if status is not leader]  # their timeline is None for a moment after the start
    return (
        leader is not None
        and all(status.state == "streaming" and status.timeline in {None, leader.timeline} for status in others)
        and leader.standbys >= {status.name for status in others}
    )


def table(statuses: Sequence[Status]) -> list[str]:
    """Show them, one line each below a head."""
    leader = leader_of(statuses)
    lines = [f"  {'node':<13} {'role':<9} {'state':<20} {'timeline':<9} behind"]
    for status in statuses:
        timeline = "" if status.timeline is None else str(status.timeline)
        lines.append(f"  {status.name:<13} {status.role or '':<9} {status.state:<20} {timeline:<9} {_behind(status, leader)}")
    return [line.rstrip() for line in lines]


def sentence(statuses: Sequence[Status]) -> str:
    """Show them in one line, which changes only when something changed."""
    return ", ".join(
        f"{status.name}: {status.role or ''} {status.state}".replace(":  ", ": ")
        + (f" on timeline {status.timeline}" if status.timeline else "")
        for status in statuses
    )


def _behind(status: Status, leader: Status | None) -> str:
    if leader is None or leader is status or leader.position is None or status.position is None:
        return ""
    return f"{max(0, leader.position - status.position):,} bytes"
