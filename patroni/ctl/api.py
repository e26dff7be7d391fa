"""The REST client of patronictl (contract/cli.md §2.4; contract/rest_api.md §13.4).

Promised: each call has a limit, which the caller names since an agent may take minutes to answer; a refused connection is
tried three times more, a request that was sent never again. Not promised: a bound on a server that drips its answer.
"""

from __future__ import annotations

import json
import platform
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3

from patroni.config.sections import ClientSection
from patroni.decision.cluster import Member
from patroni.version import COMPATIBILITY

CONNECT_S = 10.0
ANSWER_S = 30.0
_TRIES = 4
_AGENT = f"Patroni/{COMPATIBILITY} Python/{platform.python_version()} {platform.system()}"


class ApiUnreachable(Exception):
    """No HTTP answer: nothing is known of what the request has done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """What is asked of a member."""

    method: str = "GET"
    endpoint: str | None = None  # without slash; None: the `api_url` as it is
    body: Mapping[str, object] | None = None  # None: no body
    answer_s: float = ANSWER_S  # how long the answer may take


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAnswer:
    """An HTTP answer, whatever its status."""

    status: int
    text: str


class ApiClient:
    """Calls the REST APIs of members."""

    def __init__(self, section: ClientSection, *, is_insecure: bool) -> None:
        """Read the certificates; OSError (ssl.SSLError is one) says what is wrong with them."""
        insecure = section.insecure or is_insecure
        headers = {"User-Agent": _AGENT, "Connection": "close"}
        if section.username is not None:
            headers |= urllib3.make_headers(basic_auth=f"{section.username}:{section.password}")
        self._pools = urllib3.PoolManager(
            headers=headers,
            ssl_context=_tls_context(section, insecure=insecure),
            assert_hostname=False if insecure else None,
        )
        if insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # asked for

    def call(self, member: Member, request: ApiRequest) -> ApiAnswer:
        """Ask a member; raise ApiUnreachable where it published no address or gives no answer."""
        if member.api_url is None:
            raise ApiUnreachable(f"member {member.name} has not published the address of its REST API")
        try:
            url = _url(member.api_url, request.endpoint)
            return self._answer(url, request)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ApiUnreachable(f"member {member.name}, {member.api_url}: {error}") from error

    def close(self) -> None:
        """Give up the connections."""
        self._pools.clear()

    def _answer(self, url: str, request: ApiRequest) -> ApiAnswer:
        body = None if request.body is None else json.dumps(request.body)
        timeout = urllib3.Timeout(connect=CONNECT_S, read=request.answer_s)
        for tries_left in reversed(range(_TRIES)):
            try:
                answer = self._pools.request(request.method, url, body=body, timeout=timeout, retries=False, redirect=False)
            except urllib3.exceptions.NewConnectionError:
                if not tries_left:
                    raise
            else:
                return ApiAnswer(status=answer.status, text=answer.data.decode(errors="replace"))
        raise AssertionError("the last try returns or raises")


def _url(api_url: str, endpoint: str | None) -> str:
    """Return the URL of an endpoint: the member's own with another path."""
    parts = urlsplit(api_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an HTTP address")
    return api_url if endpoint is None else parts._replace(path=f"/{endpoint}", query="", fragment="").geturl()


def _tls_context(section: ClientSection, *, insecure: bool) -> ssl.SSLContext:
    """Return the TLS settings; insecure: nothing is verified, with a client certificate all but the host name."""
    context = ssl.create_default_context(cafile=section.cacert)
    if insecure:
        context.check_hostname = False
    if section.certfile is not None:
        context.load_cert_chain(section.certfile, section.keyfile, section.keyfile_password)
    elif insecure:
        context.verify_mode = ssl.CERT_NONE
    return context
