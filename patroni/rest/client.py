"""The agent's HTTP client towards its peers (contract/rest_api.md §13.2-13.4; contract/ha_behaviour.md §1.6).

Promised: every call ends, whatever the peer does: connecting is bounded by the timeout, the whole answer by what is left of it
and by size. Not promised: a bound on resolving a name. A connection serves one request: an election must not find a
pooled connection that died meanwhile, and nothing is tried twice.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping

import urllib3

from patroni.decision.cluster import Lsn, Timeline
from patroni.decision.scalar import integer
from patroni.decision.tags import tags_from
from patroni.decision.view import Answer, Silent
from patroni.rest.access import basic_authorization
from patroni.rest.config import ClientConfig
from patroni.rest.snapshot import Clock
from patroni.rest.timed_answer import timed_pools

_ANSWER_LIMIT_BYTES = 4194304
_CHUNK_BYTES = 65536


class PeerClient:
    """Asks other agents; may be used by several threads at once."""

    def __init__(self, config: ClientConfig, own_version: str, clock: Clock) -> None:
        """Read the certificates; OSError (ssl.SSLError is one) says what is wrong with them."""
        self._timed = timed_pools(clock)
        self._own_version = own_version
        self._pools = self._made(config)
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the contract's choice, see `_tls_context`

    def configure(self, config: ClientConfig) -> None:
        """Use other credentials and certificates, read anew, from the next call on; OSError: nothing has changed."""
        self._pools = self._made(config)

    def _made(self, config: ClientConfig) -> urllib3.PoolManager:
        # Not `Patroni/`: that would mark us as a stock agent, whose connections we close (safety_rules.md §10).
        headers = {"User-Agent": f"patroni-agent/{self._own_version}", "Connection": "close"}
        if config.credentials is not None:
            headers["Authorization"] = basic_authorization(config.credentials)
        pools = urllib3.PoolManager(num_pools=4, headers=headers, ssl_context=_tls_context(config), assert_hostname=False)
        pools.pool_classes_by_scheme = self._timed
        return pools

    def ask_peer(self, api_url: str, timeout_s: float = 2.0) -> Answer | Silent:
        """Ask a member for its status at the URL of its member key; whatever is no usable answer is silence."""
        body = self._get(api_url, timeout_s)
        answer = parse_status(body) if body is not None else None
        return answer if answer is not None else Silent(age_s=0.0)

    def is_alive(self, api_url: str, timeout_s: float = 3.0) -> bool:
        """Return whether an agent answers there at all (the check for a duplicate name, §13.3)."""
        scheme, _, rest = api_url.partition("://")
        return self._get(f"{scheme}://{rest.partition('/')[0]}/liveness", timeout_s) is not None

    def _get(self, url: str, timeout_s: float) -> bytes | None:
        """Return the body of the answer whatever its status; None: no answer, or no URL."""
        if not url.startswith(("http://", "https://")):
            return None
        try:
            with self._pools.request(
                "GET",
                url,
                timeout=urllib3.Timeout(total=timeout_s),
                retries=False,
                redirect=False,
                preload_content=False,
            ) as response:
                return _read(response)
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return None

    def close(self) -> None:
        """Give up the connections."""
        self._pools.clear()


def _read(response: urllib3.BaseHTTPResponse) -> bytes | None:
    body = b""
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > _ANSWER_LIMIT_BYTES:
            return None
    return body


def _tls_context(config: ClientConfig) -> ssl.SSLContext:
    """Return the client's TLS settings: without a client certificate nothing is verified, with one all but the name (§13.4)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the default context of newer Pythons refuses many private authorities
    context.check_hostname = False
    if config.cacert is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(config.cacert)
    if config.certfile is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_cert_chain(config.certfile, config.keyfile, config.keyfile_password)
    return context


def parse_status(body: bytes) -> Answer | None:
    """Return what a status document says for elections (§13.2); None: it lacks what makes a node reachable."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    wal = document.get("xlog", document.get("wal"))
    if not isinstance(wal, Mapping):
        return None
    is_primary = bool(wal.get("location")) or document.get("role") in ("primary", "master")
    position = 0 if is_primary else max(integer(wal.get(key)) or 0 for key in ("received_location", "replayed_location"))
    timeline = integer(document.get("timeline"))
    tags = document.get("tags")
    parsed = tags_from(tags if isinstance(tags, Mapping) else {})
    return Answer(
        age_s=0.0,
        is_in_recovery=not is_primary,
        lsn=Lsn(position) if position else None,
        timeline=Timeline(timeline) if timeline else None,
        nofailover=parsed.nofailover,
        failover_priority=parsed.failover_priority,
        is_watchdog_failed=bool(document.get("watchdog_failed")),
    )
