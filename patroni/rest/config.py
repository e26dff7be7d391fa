"""Settings of the REST API and of the client towards peers: section `restapi` of the local file (contract/rest_api.md §3.1).

Built by `config/`, which has parsed and checked every value; paths are not opened and names not resolved here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class VerifyClient(StrEnum):
    """Whether clients must show a certificate (§5)."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class ServerTokens(StrEnum):
    """How much the `Server` header says (§3.2); compared in any case by the parser."""

    ORIGINAL = "original"
    PRODUCT_ONLY = "productonly"
    MINIMAL = "minimal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """`authentication.username` and `.password`."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """The port speaks TLS only; all values are paths or OpenSSL texts."""

    certfile: str  # PEM
    keyfile: str | None = None  # None: the key is in `certfile`
    keyfile_password: str | None = field(default=None, repr=False)
    cafile: str | None = None  # None: no client certificate can ever verify
    ciphers: str | None = None  # None: the library's
    verify_client: VerifyClient = VerifyClient.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class RestConfig:
    """Everything that the server needs to know of the configuration."""

    host: str | None  # of `listen`, without brackets; None: all interfaces (`*` or empty)
    port: int  # of `listen`
    connect_address: str = ""  # `host:port` as advertised, IPv6 in brackets; empty: `listen` (§3.3)
    authentication: Credentials | None = None  # None: unsafe endpoints ask for none
    tls: TlsConfig | None = None  # None: plain HTTP
    allowlist: tuple[str, ...] = ()  # names, addresses, networks as written; not empty: always restricts
    allowlist_include_members: bool = False
    http_extra_headers: Mapping[str, str] = field(default_factory=dict)  # by name
    https_extra_headers: Mapping[str, str] = field(default_factory=dict)  # by name; only with TLS, override the former
    request_queue_size: int = 5  # backlog of the listening socket, at least
    server_tokens: ServerTokens = ServerTokens.ORIGINAL

    @property
    def api_url(self) -> str:
        """Return the URL that the member key publishes (§3.3)."""
        host = self.host or ""
        listen = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        return f"{'https' if self.tls else 'http'}://{self.connect_address or listen}/patroni"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """How this node calls its peers (§13.4); `config/` applies the fallbacks from `ctl` to `restapi`."""

    credentials: Credentials | None = None  # sent with every request
    certfile: str | None = None  # `ctl.certfile`; None: no client certificate, and servers are not verified
    keyfile: str | None = None  # None: the key is in `certfile`
    keyfile_password: str | None = field(default=None, repr=False)
    cacert: str | None = None  # None: the system's CAs
