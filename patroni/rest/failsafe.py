"""`POST /failsafe`: a primary that lost the store asks whether it may go on (contract/rest_api.md §13.1).

The judgement is the agent's (`Operations.accept_failsafe`): accepting and taking the lock exclude each other there
(safety_rules.md §8). Here is only what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from patroni.decision.cluster import Lsn, SlotName
from patroni.decision.request import Steps, ask
from patroni.rest.message import Response, page, text
from patroni.rest.operations import AcceptFailsafe, FailsafeAnswer, FailsafeCall, FailsafeVerdict
from patroni.rest.snapshot import Situation

ACCEPTED = "Accepted"  # compared to the letter by the caller
_REQUIRED = ("name", "conn_url", "api_url")


def failsafe_off_bar(situation: Situation) -> Response | None:
    """Return the answer while failsafe mode is off; it comes before the body is looked at."""
    return None if situation.snapshot.settings.failsafe_mode else page(502, "failsafe mode is not enabled")


def failsafe(body: Mapping[str, object]) -> Steps[Response | None]:
    """Answer one call."""
    call = _call(body)
    if call is None:
        return page(400, "name, conn_url and api_url are required")
    return _answer((yield from ask(AcceptFailsafe(call))))


def _answer(answer: FailsafeAnswer) -> Response:
    match answer.verdict:
        case FailsafeVerdict.ACCEPTED:
            headers = (("lsn", str(answer.lsn)),) if answer.lsn is not None else ()
            return text(200, ACCEPTED, *headers)
        case FailsafeVerdict.LEADER:
            return text(500, "Running as a leader")
        case FailsafeVerdict.OFF:
            return page(502, "failsafe mode is not enabled")
        case _:
            assert_never(answer.verdict)


def _call(body: Mapping[str, object]) -> FailsafeCall | None:
    """Return the call, or None if a required key is missing or no text; slots that are no numbers are left out."""
    values = [body.get(key) for key in _REQUIRED]
    name, conn_url, api_url = (value if isinstance(value, str) and value else None for value in values)
    if name is None or conn_url is None or api_url is None:
        return None
    slots = body.get("slots")
    pairs = slots.items() if isinstance(slots, Mapping) else ()
    positions = {SlotName(slot): Lsn(lsn) for slot, lsn in pairs if isinstance(lsn, int) and not isinstance(lsn, bool)}
    return FailsafeCall(name=name, conn_url=conn_url, api_url=api_url, slots=positions)
