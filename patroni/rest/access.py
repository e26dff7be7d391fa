"""Who may call what changes something: allowlist, client certificate, basic authentication (contract/rest_api.md §4).

Names of the allowlist are resolved once, when the configuration is loaded. Names in members' URLs are resolved at the request,
by a worker thread only; the first check, on the server's own thread, lets a peer pass whom such a name might still admit.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import socket
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from patroni.decision.cluster import Cluster
from patroni.rest.config import Credentials, RestConfig, VerifyClient
from patroni.rest.message import Peer, Response, text

logger = logging.getLogger("patroni.api")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str], Iterable[str]]  # host name -> numeric addresses; raises OSError


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rules, ready to be applied."""

    networks: tuple[Network, ...] | None  # None: no allowlist in the configuration; (): every entry was bad, nobody passes
    includes_members: bool
    wants_certificate: bool
    authorization: str | None  # the whole header that is right; None: none is asked for


def load_access(config: RestConfig, resolve: Resolver) -> Access:
    """Return the rules of a configuration; resolves names, so only where that may block."""
    networks = tuple(network for entry in config.allowlist for network in _networks(entry, resolve))
    return Access(
        networks=networks if config.allowlist else None,
        includes_members=config.allowlist_include_members,
        wants_certificate=config.tls is not None and config.tls.verify_client is not VerifyClient.NONE,
        authorization=basic_authorization(config.authentication) if config.authentication else None,
    )


def basic_authorization(credentials: Credentials) -> str:
    """Return the value of the header `Authorization`."""
    return "Basic " + b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def resolve_host(host: str) -> list[str]:
    """Return the numeric addresses of a host name; blocks, raises OSError."""
    return [str(address[4][0]) for address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _networks(entry: str, resolve: Resolver) -> list[Network]:
    """Return what an entry of the allowlist stands for: a network, or a name or address; a bad one is none."""
    try:
        if "/" in entry:
            return [ipaddress.ip_network(entry, strict=False)]
        return [ipaddress.ip_network(_unscoped(address)) for address in resolve(entry)]
    except (ValueError, OSError) as error:
        logger.error("restapi.allowlist: %r is skipped: %s", entry, error)
        return []


def access_bar(access: Access, peer: Peer, authorization: str | None) -> Response | None:
    """Return the answer to a peer that may not go on, except for the allowlist; None: it may (§4, checks 2 and 3)."""
    if access.wants_certificate and not peer.has_certificate:
        return text(403, "client certificate required")
    if access.authorization is None:
        return None
    if authorization is None:
        return text(401, "no auth header received", _CHALLENGE)
    if not hmac.compare_digest(authorization.encode(), access.authorization.encode()):
        return text(401, "not authenticated", _CHALLENGE)
    return None


_CHALLENGE = ("WWW-Authenticate", 'Basic realm="Patroni"')


def allowlist_bar(access: Access, peer: Peer, view: Cluster | None, resolve: Resolver | None) -> Response | None:
    """Return the answer to a peer outside the allowlist (§4, check 1). No resolver: members' names count as admitting it."""
    if access.networks is None and not access.includes_members:
        return None
    if static_allowlist_admits(access, peer) or (access.includes_members and _members_admit(view, peer, resolve)):
        return None
    return text(403, "access is denied")


def static_allowlist_admits(access: Access, peer: Peer) -> bool:
    """Return whether a written entry admits the peer; there is none at all: no (the caller knows what that means)."""
    try:
        address = ipaddress.ip_address(_unscoped(peer.address))
    except ValueError:
        return False
    return any(address in network for network in access.networks or ())


def _members_admit(view: Cluster | None, peer: Peer, resolve: Resolver | None) -> bool:
    for member in view.members.values() if view else ():
        host = _host(member.api_url or "")
        if host == peer.address or (host and _name_admits(host, peer, resolve)):
            return True
    return False


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _name_admits(host: str, peer: Peer, resolve: Resolver | None) -> bool:
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(_unscoped(peer.address))
    except ValueError:
        pass  # a name
    if resolve is None:
        return True
    try:
        return peer.address in set(resolve(host))
    except OSError:
        return False


def _unscoped(address: str) -> str:
    """Return the address without its zone, and an IPv4 address mapped into IPv6 as IPv4 (§15, fix 4)."""
    plain = address.partition("%")[0]
    return plain.removeprefix("::ffff:") if "." in plain else plain
