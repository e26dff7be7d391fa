"""From a request to its answer: which handler, what it needs to know first, and the order of the checks.

Pure: a request, a situation and, for requests that do something, answers of `Operations` in; a `Response` out. How the needs
are met (one shared query, worker threads) is the server's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import cast

from patroni.decision.cluster import Cluster
from patroni.decision.request import Steps, ask
from patroni.rest import cluster_view, health
from patroni.rest.access import Access, Resolver, access_bar, allowlist_bar
from patroni.rest.document import status_document, wants_query
from patroni.rest.failsafe import failsafe, failsafe_off_bar
from patroni.rest.message import SAFE_METHODS, Request, Response, json_answer, page, status_only, text
from patroni.rest.metrics import metrics_answer
from patroni.rest.operations import ReadCluster
from patroni.rest.snapshot import Situation
from patroni.rest.switchover import switch, unschedule

UNSUPPORTED = "Server does not support this operation"  # patronictl looks for it (§2.3)


class Need(Enum):
    """What must be fetched before a request is answered."""

    NOTHING = "nothing"
    QUERY = "query"  # one answer of Postgres; the answer may be that it gave none
    PATIENT_QUERY = "patient query"  # the same, asked again after a quick failure (§2.8)
    STORE = "store"  # a fresh read
    STEPS = "steps"  # the requests of `steps`


class Body(Enum):
    """What an unsafe endpoint wants of the request's body (§2.5)."""

    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsafe:
    """An endpoint that changes something; no `steps`: it does not exist yet."""

    body: Body = Body.NONE
    is_failsafe: bool = False
    steps: Callable[[Request, Mapping[str, object], Situation], Steps[Response | None]] | None = None


_READ_SEGMENTS = frozenset({"liveness", "readiness", "patroni", "metrics", "cluster", "history", "config", "failsafe"})
_SWITCH = _Unsafe(body=Body.REQUIRED, steps=lambda request, body, situation: switch(request.target.segment, body, situation))
_LATER = _Unsafe()
_UNSAFE: Mapping[tuple[str, str], _Unsafe] = {
    ("POST", "switchover"): _SWITCH,
    ("POST", "failover"): _SWITCH,
    ("DELETE", "switchover"): _Unsafe(steps=lambda request, body, situation: unschedule()),
    ("POST", "failsafe"): _Unsafe(body=Body.REQUIRED, is_failsafe=True, steps=lambda request, body, situation: failsafe(body)),
    ("PATCH", "config"): _LATER,
    ("PUT", "config"): _LATER,
    ("POST", "restart"): _LATER,
    ("DELETE", "restart"): _LATER,
    ("POST", "reinitialize"): _LATER,
    ("POST", "reload"): _LATER,
    ("POST", "sigterm"): _LATER,
    ("POST", "mpp"): _LATER,
    ("POST", "citus"): _LATER,
}


def need(request: Request, situation: Situation) -> Need:
    """Return what to fetch before `respond` or `steps` is called; the access checks are behind us."""
    if request.method not in SAFE_METHODS:
        return Need.STEPS
    segment = request.target.segment
    if request.method != "GET" or segment not in _READ_SEGMENTS:
        return _health_need(request, situation)
    if segment in ("patroni", "metrics"):
        return Need.PATIENT_QUERY if wants_query(situation) else Need.NOTHING
    if segment == "readiness":
        is_asked = health.readiness_needs_query(situation) and wants_query(situation)
        return Need.PATIENT_QUERY if is_asked else Need.NOTHING
    if segment == "cluster" or (segment in ("history", "config") and situation.view is None):
        return Need.STORE
    return Need.NOTHING


def _health_need(request: Request, situation: Situation) -> Need:
    is_asked = request.method == "GET" or health.needs_document(_check_of(request.target.path), situation)
    return Need.QUERY if is_asked and wants_query(situation) else Need.NOTHING


_check_of = lru_cache(maxsize=512)(health.check_of)


def respond(request: Request, situation: Situation) -> Response:
    """Answer a safe request whose need is met; `STORE` goes through `stored`."""
    if request.method != "GET" or request.target.segment not in _READ_SEGMENTS:
        return _health_answer(request, situation)
    params = request.target.params
    match request.target.segment:
        case "patroni":
            return json_answer(200, status_document(situation))
        case "liveness":
            return status_only(health.liveness_status(situation))
        case "readiness":
            return status_only(health.readiness_status(situation, params))
        case "metrics":
            return metrics_answer(situation)
        case "failsafe":
            return cluster_view.failsafe_answer(situation)
    return _viewed(request, cast(Cluster, situation.view), situation)  # `need` asked for a read where there is no view


def _health_answer(request: Request, situation: Situation) -> Response:
    """Answer the general health check, in its status-only form to all but GET (§8)."""
    check = _check_of(request.target.path)
    document = status_document(situation)
    status = health.health_status(check, situation, document, request.target.params)
    return json_answer(status, document) if request.method == "GET" else status_only(status)


def _viewed(request: Request, cluster: Cluster, situation: Situation) -> Response:
    match request.target.segment:
        case "history":
            return cluster_view.history_answer(cluster)
        case "config":
            return cluster_view.config_answer(cluster)
        case _:
            return cluster_view.cluster_answer(cluster, situation)


def stored(request: Request, situation: Situation) -> Steps[Response | None]:
    """Answer a safe request that needs a fresh read; None: the store does not answer (§2.7)."""
    cluster = yield from ask(ReadCluster())
    return None if cluster is None else _viewed(request, cluster, situation)


def head_bar(request: Request, situation: Situation, access: Access, resolve: Resolver | None) -> Response | None:
    """Return the answer that the head of an unsafe request gets already, before its body; None: go on (§2.4, §4, §2.5).

    `request.body` is None here where no Content-Length was sent, and empty where it was 0. No resolver: see `access`.
    """
    route = _UNSAFE.get((request.method, request.target.segment))
    if route is None:
        return page(501, UNSUPPORTED)
    bar = _access_bar(route, request, situation, access, resolve)
    if bar is not None:
        return bar
    if route.steps is None:
        return text(501, f"{UNSUPPORTED} yet: {request.method} /{request.target.segment}")
    if route.is_failsafe and (off := failsafe_off_bar(situation)) is not None:
        return off
    if route.body is Body.REQUIRED and not request.body:
        return page(411, "a body with Content-Length is required") if request.body is None else page(400, "empty body")
    return None


def _access_bar(
    route: _Unsafe, request: Request, situation: Situation, access: Access, resolve: Resolver | None
) -> Response | None:
    view, rules = situation.view, access
    if route.is_failsafe:  # only the written allowlist counts: the members' part needs the store (§4)
        view, rules = None, replace(access, includes_members=False)
    denied = allowlist_bar(rules, request.peer, view, resolve)
    return denied if denied is not None else access_bar(rules, request.peer, request.authorization)


def steps(request: Request, situation: Situation) -> Steps[Response | None]:
    """Return the requests that carry out an unsafe request which passed `head_bar`."""
    route = _UNSAFE[request.method, request.target.segment]
    assert route.steps is not None
    body: Mapping[str, object] | Response = {} if route.body is Body.NONE else _parsed_body(request.body or b"")
    if isinstance(body, Response):
        return body
    return (yield from route.steps(request, body, situation))


def _parsed_body(raw: bytes) -> Mapping[str, object] | Response:
    """Return the body's object; 400 for anything else, an empty object too (§2.5)."""
    try:
        body = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return page(400, "the body is not JSON")
    if not isinstance(body, dict) or not body:
        return page(400, "the body is not a JSON object with content")
    return body
