"""Answering: brings together a request, the situation of this moment and what the request needs to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import format_datetime
from operator import is_not
from platform import python_version

from patroni.decision.lease import Instant
from patroni.decision.request import Steps
from patroni.postgres.request import Monitoring
from patroni.rest import routes
from patroni.rest.access import Access, load_access, resolve_host
from patroni.rest.config import RestConfig, ServerTokens
from patroni.rest.document import wants_query
from patroni.rest.message import Banner, Request, Response, Target, text
from patroni.rest.operations import Operations, run
from patroni.rest.probe import Result, SharedProbe
from patroni.rest.routes import Need
from patroni.rest.snapshot import Authority, Clock, Situation, Snapshot
from patroni.version import COMPATIBILITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the agent gives the API. All but `operations` and `probe` return at once, from any thread."""

    snapshot: Callable[[], Snapshot]
    authority: Callable[[Instant], Authority]
    probe: Callable[[], Monitoring | None]  # the monitoring query; None: no answer. Bounded by its own deadline, raises nothing
    operations: Operations
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the server, in seconds and counts."""

    request_s: float = 10.0  # handshake, request line, headers and body together
    idle_s: float = 75.0  # a kept connection without a request
    linger_s: float = 2.0  # reading on after an answer that came before the request's end
    probe_s: float = 4.0  # a query, connecting included (contract/rest_api.md §15, fix 13)
    probe_reuse_s: float = 0.2
    retry_s: float = 1.0  # before the second query of a patient request, and within which the first must have failed
    connections: int = 900  # above, the longest idle one is closed; leaves room under the usual 1,024 files
    operations: int = 8  # requests that do something, at the same time
    body_bytes: int = 1048576
    head_bytes: int = 1048576  # all header lines together
    line_bytes: int = 65536
    headers: int = 100


class _SharedAnswers:
    """Answers to equal requests, used again while what they were made of is the same: while the query is shared, at most.

    Who may act as leader is asked for each request before; what else changes with time alone may be as old as the query.
    """

    MOST = 64  # equal requests that are known at a time: a few checks, from a few proxies

    def __init__(self) -> None:
        self._made_of: tuple[object, ...] = ()
        self._answers: dict[tuple[str, int], tuple[Target, Response]] = {}  # by method and identity of the parsed target

    def answer(self, request: Request, situation: Situation, query: Result) -> Response:
        """Return the answer of this situation, whose monitoring is the query's."""
        made_of = (situation.snapshot, situation.authority, query)
        if len(self._made_of) != len(made_of) or any(map(is_not, made_of, self._made_of)) or len(self._answers) >= self.MOST:
            self._made_of = made_of
            self._answers.clear()
        key = (request.method, id(request.target))
        known = self._answers.get(key)
        if known is None or known[0] is not request.target:
            known = self._answers[key] = (request.target, routes.respond(request, situation))
        return known[1]


class Service:
    """Answers requests; lives on the server's loop."""

    def __init__(self, config: RestConfig, ports: Ports, limits: Limits) -> None:
        self.limits = limits
        self._ports = ports
        self._access: Access = load_access(config, resolve_host)
        self._extra = _extra_headers(config)
        self._tokens = config.server_tokens
        self._probe = SharedProbe(ports.probe, limits.probe_s, limits.probe_reuse_s)
        self._executor = ThreadPoolExecutor(max_workers=limits.operations, thread_name_prefix="rest-operation")
        self._operating = 0
        self._shared = _SharedAnswers()
        self._banner = Banner(common=b"")
        self._banner_s = float("-inf")

    def configure(self, config: RestConfig, access: Access) -> None:
        """Answer by other settings from the next request on."""
        self._access, self._extra, self._tokens = access, _extra_headers(config), config.server_tokens
        self._banner_s = float("-inf")

    def banner(self, now_s: float) -> Banner:
        """Return the header lines of this second."""
        if now_s - self._banner_s >= 1.0:
            date = format_datetime(self._ports.clock.wall().astimezone(UTC), usegmt=True)
            server = _server_token(self._tokens, self._ports.snapshot().own_version)
            self._banner = Banner(common=f"Server: {server}\r\nDate: {date}\r\n".encode("latin-1"), extra=self._extra)
            self._banner_s = now_s
        return self._banner

    def head_bar(self, request: Request) -> Response | None:
        """Return the answer to the head of an unsafe request, if it gets one already."""
        return routes.head_bar(request, self._situation(), self._access, None)

    def handle(self, request: Request, now_s: float) -> Response | Coroutine[None, None, Response | None]:
        """Answer at once where nothing has to be waited for; else return what will. None: close without an answer."""
        situation = self._situation()
        match routes.need(request, situation):
            case Need.NOTHING:
                return routes.respond(request, situation)
            case Need.STEPS:
                return self._operate(request, routes.steps)
            case Need.STORE:
                return self._operate(request, routes.stored)
            case need:
                recent = self._probe.recent(now_s)
                if recent is None or (recent.monitoring is None and need is Need.PATIENT_QUERY):
                    return self._query(request, need)
                return self._shared.answer(request, replace(situation, monitoring=recent.monitoring), recent)

    def close(self) -> None:
        """Begin nothing more; what runs is left to its own deadlines."""
        self._probe.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _situation(self, monitoring: Monitoring | None = None) -> Situation:
        """Return what is true now; an answer of Postgres counts only while its state still is one that is asked."""
        now = self._ports.clock.now()
        situation = Situation(
            snapshot=self._ports.snapshot(),
            authority=self._ports.authority(now),
            now=now,
            wall=self._ports.clock.wall(),
        )
        if monitoring is None or not wants_query(situation):
            return situation
        return replace(situation, monitoring=monitoring)

    async def _query(self, request: Request, need: Need) -> Response:
        result = await self._probe.fetch()
        if result.monitoring is None and need is Need.PATIENT_QUERY and result.took_s < self.limits.retry_s:
            await asyncio.sleep(self.limits.retry_s)
            if routes.need(request, self._situation()) is need:
                result = await self._probe.fetch()
        return routes.respond(request, self._situation(result.monitoring))

    async def _operate(self, request: Request, make: Callable[[Request, Situation], Steps[Response | None]]) -> Response | None:
        """Run a handler's steps in a worker thread."""
        if self._operating >= self.limits.operations:
            return text(503, "too many operations are under way on this node")
        self._operating += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._run, request, make)
        finally:
            self._operating -= 1

    def _run(self, request: Request, make: Callable[[Request, Situation], Steps[Response | None]]) -> Response | None:
        situation = self._situation()
        if make is routes.steps and self._access.includes_members:  # names of members may be resolved here
            denied = routes.head_bar(request, situation, self._access, resolve_host)
            if denied is not None:
                return denied
        return run(make(request, situation), self._ports.operations, self._ports.clock)


def _extra_headers(config: RestConfig) -> bytes:
    headers = dict(config.http_extra_headers)
    if config.tls is not None:
        headers |= config.https_extra_headers
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1", "replace")


def _server_token(tokens: ServerTokens, own_version: str) -> str:
    match tokens:
        case ServerTokens.PRODUCT_ONLY:
            return "Patroni"
        case ServerTokens.MINIMAL:
            return f"Patroni/{COMPATIBILITY}"
        case _:
            return f"patroni-agent/{own_version} Python/{python_version()}"
