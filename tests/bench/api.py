"""The agents' REST API, as a client sees it; the same for either software."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

_TIMEOUT_S = 5.0
_SWITCHOVER_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an agent answered; status None: nothing."""

    status: int | None = None
    text: str = ""

    def json(self) -> Any:  # noqa: ANN401  # a document, read where it is asked for
        """Return the body as a document; None if it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


def ask(port: int, method: str, path: str, body: object = None, timeout_s: float = _TIMEOUT_S) -> Answer:
    """Send one request to the agent on this port of loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return Answer(status=response.status, text=response.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException):
        return Answer()
    finally:
        connection.close()


def is_healthy(port: int, nodes: int) -> bool:
    """Tell whether this agent sees all nodes: a running leader, the others streaming on its timeline without lag."""
    document = ask(port, "GET", "/cluster").json()
    members = document.get("members", []) if isinstance(document, dict) else []
    leaders = [member for member in members if member.get("role") == "leader" and member.get("state") == "running"]
    if len(leaders) != 1:
        return False
    good = {"state": "streaming", "lag": 0, "timeline": leaders[0].get("timeline")}
    return [good.items() <= member.items() for member in members].count(True) == nodes - 1


def switch_over(port: int, leader: str) -> Answer:
    """Ask for a switchover away from the leader, to whom the agents choose; the answer comes when it is done."""
    return ask(port, "POST", "/switchover", {"leader": leader}, _SWITCHOVER_TIMEOUT_S)
