"""Calls to an etcd v3 cluster: endpoints in turn, login, guard against members that lag (contract/dcs.md §5.5-5.6, 7.3).

Promised: a call that is not `is_repeatable` reaches a server at most once: another endpoint is tried only where no connection
came about. An answer of an authority older than one already seen is no answer. Whatever makes the streams of watchers doubtful
(another current endpoint, a newer raft term, silence of all) is told to `on_doubt`.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from patroni.dcs.etcd3_gateway import (
    AUTH_NOT_ENABLED,
    EtcdError,
    Header,
    Json,
    Version,
    header_of,
    parse_answer,
    version_of,
)
from patroni.dcs.etcd_endpoints import (
    REFRESH_TTLS,
    Deadline,
    Discovery,
    Endpoint,
    Endpoints,
    literal,
    resolve,
)
from patroni.dcs.etcd_section import Address, Credentials, EtcdSection, parse_url
from patroni.dcs.etcd_transport import HttpRequest, NotSent, Transport
from patroni.dcs.store import Clock, DcsUnavailable, Timing
from patroni.decision.cluster import Revision

logger = logging.getLogger(__name__)

SHORTEST_LOGIN_S = 0.5  # contract/dcs.md §4.2
Doubt = Callable[[str, int | None], None]  # why; the raft term whose streams are not in doubt, None: all are


class Trust(Enum):
    """What must be checked in an answer before it is believed."""

    ORDINARY = "ordinary"  # its term is not older than one seen
    COPY = "copy"  # a serializable read: neither is its revision
    PROVED = "proved"  # a linearizable read: a majority stands behind it, so what it says is how the store is now


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the gateway."""

    path: str
    body: Mapping[str, object]
    is_repeatable: bool = False  # True: may reach servers several times, it has no effect or always the same
    trust: Trust = Trust.ORDINARY


class StaleGuard:
    """Remembers how far the cluster was seen: raft term and revision (contract/dcs.md §5.6). Any thread.

    The revision is compared for copies only: a member that woke up knows the new term before it has the new data, and a
    revision that goes back would look like a restored store (safety_rules.md §1.6). A store that really was restored under
    the same cluster id shows itself by a linearizable read, which moves the marks back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Header | None = None

    def admit(self, header: Header, trust: Trust = Trust.ORDINARY) -> bool:
        """Return whether the authority is another than before; raise DcsUnavailable if the answer is from the past."""
        with self._lock:
            seen = self._seen
            if seen is None or seen.cluster_id != header.cluster_id:
                self._seen = header
                is_other = seen is not None
            else:
                if trust is not Trust.PROVED:
                    _require_not_older(header, seen, trust)
                    header = replace(header, revision=Revision(max(header.revision or 0, seen.revision or 0)))
                self._seen = header
                is_other = header.raft_term != seen.raft_term
        if seen is not None and seen.cluster_id != header.cluster_id:
            logger.warning("another etcd cluster answers: cluster_id=%s", header.cluster_id)
        return is_other


def _require_not_older(header: Header, seen: Header, trust: Trust) -> None:
    if header.raft_term < seen.raft_term:
        raise DcsUnavailable(f"the member lags: raft term {header.raft_term}, seen {seen.raft_term}")
    if trust is Trust.COPY and (header.revision or 0) < (seen.revision or 0):
        raise DcsUnavailable(f"the member lags: revision {header.revision}, seen {seen.revision}")


class Etcd3Client:
    """See the module."""

    def __init__(self, section: EtcdSection, transport: Transport, timing: Timing, clock: Clock) -> None:
        """Nothing is connected to and no name is resolved before the first call."""
        self.credentials = section.credentials  # replaced whole; used at the next login
        self.timing = timing
        self.on_doubt: Doubt = _nobody
        self._section = section
        self._transport = transport
        self._clock = clock
        self._guard = StaleGuard()
        self._token: str | None = None
        self._path_prefix = "/v3"
        self._is_warned = False
        self._endpoints = Endpoints(filter(None, map(literal, section.addresses)))
        self._discovery = Discovery(self._discover, clock)

    def call(self, call: Call, deadline: Deadline, *, is_renewal: bool = False) -> Json:
        """Return the answer; raise EtcdError (the server's own no), or DcsUnavailable.

        is_renewal: on the keeper's path: nothing is discovered and no discovery waited for (safety_rules.md §7.2). Renewals are
        safe to be hedged: the place to start a second one beside the first is this loop.
        """
        if not is_renewal:
            self.prepare(deadline)
        failures: list[str] = []
        for endpoint, timeout_s in self._endpoints.tries(deadline):
            limit_s = timeout_s if call.is_repeatable else deadline.left_s()
            try:
                answer = self._ask(endpoint, call, Deadline(self._clock, limit_s))
            except DcsUnavailable as error:
                self._failed(endpoint, str(error))
                failures.append(str(error))
                if not call.is_repeatable and not isinstance(error, NotSent):
                    self.on_doubt("a request got no answer", None)
                    raise
            else:
                self._worked(endpoint)
                return answer
        raise self._silence(failures)

    def prepare(self, deadline: Deadline) -> None:
        """Start what is due of discovery; wait for it only while no endpoint is known at all."""
        self._discovery.start(self.timing.ttl_s * REFRESH_TTLS)
        if not self._endpoints.ordered():
            self._discovery.wait(deadline.left_s())

    def try_streams(self, deadline: Deadline, begin: Callable[[Endpoint, HttpRequest, float], None], call: Call) -> None:
        """Begin a stream at the first endpoint that lets us; `begin` sends the request and raises DcsUnavailable."""
        failures: list[str] = []
        for endpoint, timeout_s in self._endpoints.tries(deadline):
            try:
                begin(endpoint, self._request(call), timeout_s)
            except DcsUnavailable as error:
                self._failed(endpoint, str(error))
                failures.append(str(error))
            except EtcdError as error:
                if not error.is_cured_by_login:
                    raise DcsUnavailable(f"{endpoint}: {error}") from error
                self._login(endpoint, deadline)
                failures.append(str(error))
            else:
                self._worked(endpoint)
                return
        raise self._silence(failures)

    def admit(self, answer: Json, trust: Trust = Trust.ORDINARY) -> None:
        """Check the header of an answer or message against what was seen; raise DcsUnavailable if it is from the past."""
        header = header_of(answer)
        if header is not None and self._guard.admit(header, trust):
            self.on_doubt(f"raft term {header.raft_term}", header.raft_term)

    def close(self) -> None:
        """Drop all connections; a discovery that runs is given a moment to end."""
        self._transport.forget_all()
        self._discovery.wait(1.0)

    # --- one endpoint

    def _ask(self, endpoint: Endpoint, call: Call, deadline: Deadline) -> Json:
        """Ask one endpoint; log in and repeat once where the server demands it (it has done nothing then)."""
        try:
            return self._exchange(endpoint, call, deadline)
        except EtcdError as error:
            is_worth_it = error.is_cured_by_login and self.credentials is not None
            if not is_worth_it or deadline.left_s() < SHORTEST_LOGIN_S:
                raise
        self._login(endpoint, deadline)
        return self._exchange(endpoint, call, deadline)

    def _login(self, endpoint: Endpoint, deadline: Deadline) -> None:
        """Get a token; a failure leaves the old one (contract/dcs.md §7.3)."""
        credentials: Credentials | None = self.credentials
        if credentials is None:
            return
        body = {"name": credentials.username, "password": credentials.password}
        request = HttpRequest(method="POST", path=f"{self._path_prefix}/auth/authenticate", body=json.dumps(body).encode())
        try:
            answer = self._transport.exchange(endpoint, request, deadline.left_s())
            self._token = str(parse_answer(answer.status, answer.body)["token"])
        except EtcdError as error:
            if error.text != AUTH_NOT_ENABLED:
                raise
            self._token = None
        except KeyError as error:
            raise DcsUnavailable(f"{endpoint}: no token in the answer to a login") from error

    def _exchange(self, endpoint: Endpoint, call: Call, deadline: Deadline) -> Json:
        http = self._transport.exchange(endpoint, self._request(call), deadline.left_s())
        try:
            answer = parse_answer(http.status, http.body)
        except EtcdError as error:
            if error.is_silence:
                raise DcsUnavailable(f"{endpoint}: {error}") from error
            raise
        result = answer.get("result")  # of a stream with one message: keepalive
        answer = result if isinstance(result, Mapping) else answer
        self.admit(answer, call.trust)
        return answer

    def _request(self, call: Call) -> HttpRequest:
        body = json.dumps(call.body, separators=(",", ":")).encode()
        return HttpRequest(method="POST", path=self._path_prefix + call.path, body=body, token=self._token)

    # --- which endpoint

    def _worked(self, endpoint: Endpoint) -> None:
        if self._endpoints.worked(endpoint):
            logger.info("etcd endpoint=%s answers and is used first from now on", endpoint)
            self._discovery.demand()
            self.on_doubt("another endpoint", None)

    def _failed(self, endpoint: Endpoint, detail: str) -> None:
        logger.debug("etcd endpoint=%s gave no answer: %s", endpoint, detail)
        if self._endpoints.failed(endpoint):
            self.on_doubt("another endpoint", None)

    def _silence(self, failures: list[str]) -> DcsUnavailable:
        """Return the error of a call that nobody answered; the list is asked for anew at the next call."""
        self._discovery.demand()
        self.on_doubt("no endpoint answers", None)
        return DcsUnavailable("; ".join(dict.fromkeys(failures)) or "no endpoint of etcd is known yet")

    # --- discovery, in its own thread

    def _discover(self) -> None:
        """Ask the first that answers for its version and for the members; nobody: keep all that is known."""
        configured = [endpoint for address in self._section.addresses for endpoint in resolve(address)]
        known = list(dict.fromkeys([*self._endpoints.ordered(), *configured]))
        deadline = Deadline(self._clock, max(self.timing.retry_timeout_s, len(known)))
        for index, endpoint in enumerate(known):
            share = Deadline(self._clock, max(1.0, deadline.left_s() / (len(known) - index)))
            try:
                self._check_version(endpoint, share)
                members = [] if self._section.use_proxies else self._members(endpoint, share)
            except (DcsUnavailable, EtcdError) as error:
                logger.debug("discovery: %s", error)
                continue
            found = [member for address in members for member in resolve(address)]
            self._endpoints.replace(found or configured or known)
            return
        self._endpoints.replace(known)

    def _members(self, endpoint: Endpoint, deadline: Deadline) -> list[Address]:
        """Return the advertised addresses of all members, shuffled so that not every agent asks the same one."""
        answer = self._ask(endpoint, Call(path="/cluster/member/list", body={}), deadline)
        members = answer.get("members", [])
        urls = [url for member in members if isinstance(member, Mapping) for url in member.get("clientURLs", [])]
        addresses = list(dict.fromkeys(filter(None, (parse_url(str(url)) for url in urls))))
        random.SystemRandom().shuffle(addresses)
        return addresses

    def _check_version(self, endpoint: Endpoint, deadline: Deadline) -> None:
        http = self._transport.exchange(endpoint, HttpRequest(method="GET", path="/version"), deadline.left_s())
        version: Version = version_of(parse_answer(http.status, http.body))
        if version.path_prefix is None:
            logger.error("endpoint=%s runs etcd %s: 3.3 or newer is needed", endpoint, _dotted(version.cluster))
            raise DcsUnavailable(f"{endpoint}: etcd {_dotted(version.cluster)} is too old, 3.3 or newer is needed")
        self._path_prefix = version.path_prefix
        if version.has_stale_leases and not self._is_warned:
            self._is_warned = True
            logger.warning(
                "endpoint=%s runs etcd %s: before 3.4.31 and 3.5.13 a deposed leader goes on answering renewals; upgrade it",
                endpoint,
                _dotted(version.server),
            )


def _nobody(why: str, term: int | None) -> None:
    """Stand for `on_doubt` while nobody listens."""


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
