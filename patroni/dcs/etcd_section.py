"""The sections `etcd` and `etcd3`, which are identical: parsing, credentials, TLS (contract/dcs.md §5.1).

Promised: what is wrong with a section is one line that begins with the path of the key. Names are not resolved here and
nothing is connected to. Not here: SRV discovery.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from patroni.dcs.store import StoreConfigError

DEFAULT_PORT = 2379
_TRUE = frozenset({"true", "on", "yes", "1"})
_FALSE = frozenset({"false", "off", "no", "0", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the section says that a server is; the host may be a name."""

    scheme: str  # http or https
    host: str  # without brackets
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who we are to the store."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSection:
    """A section of the configuration, checked."""

    addresses: tuple[Address, ...]  # at least one
    use_proxies: bool = False  # True: the addresses are proxies, the members are never asked for
    credentials: Credentials | None = None  # None: no authentication
    cacert: str | None = None  # None: the system's authorities
    cert: str | None = None
    key: str | None = None  # None: inside `cert`


def parse_section(name: str, section: Mapping[str, object]) -> EtcdSection:
    """Return the section `name`, or raise StoreConfigError. Precedence: proxy, url, hosts, host (configuration.md §3.7)."""
    reader = _Reader(name, section)
    credentials = _credentials(reader.text("username"), reader.text("password"))
    parsed = EtcdSection(
        addresses=(),
        use_proxies=reader.flag("use_proxies"),
        credentials=credentials,
        cacert=reader.text("cacert"),
        cert=reader.text("cert"),
        key=reader.text("key"),
    )
    for key in ("proxy", "url"):
        url = reader.text(key)
        if url is not None:
            address, from_url = reader.url(key, url)
            use_proxies = parsed.use_proxies or key == "proxy"
            return replace(parsed, addresses=(address,), use_proxies=use_proxies, credentials=from_url or credentials)
    return replace(parsed, addresses=reader.hosts())


def parse_url(url: str) -> Address | None:
    """Return the address of an advertised URL; None: it is not one of http or https."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return Address(scheme=parts.scheme, host=parts.hostname, port=port or DEFAULT_PORT)


def tls_context(name: str, section: EtcdSection) -> ssl.SSLContext:
    """Return what https needs; certificate and host name are always verified. Reads files: not on a keeper's path."""
    try:
        context = ssl.create_default_context(cafile=section.cacert)
    except (OSError, ssl.SSLError) as error:
        raise StoreConfigError(f"{name}.cacert: {section.cacert}: {_words(error)}") from error
    if section.cert is not None:
        try:
            context.load_cert_chain(section.cert, section.key)
        except (OSError, ssl.SSLError) as error:
            where = f"{section.cert}" if section.key is None else f"{section.cert} with {name}.key {section.key}"
            raise StoreConfigError(f"{name}.cert: {where}: {_words(error)}") from error
    return context


class _Reader:
    """Typed access to one section, with the key's path in each error."""

    def __init__(self, name: str, section: Mapping[str, object]) -> None:
        self._name = name
        self._section = section

    def text(self, key: str) -> str | None:
        value = self._section.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise self.fault(key, f"expected a text, got {value!r}")
        return str(value)

    def flag(self, key: str) -> bool:
        value = self._section.get(key)
        word = str(value if value is not None else "").strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise self.fault(key, f"expected true or false, got {value!r}")

    def url(self, key: str, text: str) -> tuple[Address, Credentials | None]:
        address = parse_url(text)
        if address is None:
            raise self.fault(key, "expected http://host:port or https://host:port")
        parts = urlsplit(text)
        return address, _credentials(unquote(parts.username or ""), unquote(parts.password or ""))

    def hosts(self) -> tuple[Address, ...]:
        scheme = self._scheme()
        port = self._port("port", self._section.get("port", DEFAULT_PORT))
        for key in ("hosts", "host"):
            items = self._items(key)
            if items:
                return tuple(self._address(key, item, scheme, port) for item in items)
        if any(self._section.get(key) for key in ("srv", "discovery_srv", "srv_domain")):
            raise self.fault("srv", "discovery by SRV records is not supported yet; name the endpoints in `hosts`")
        raise StoreConfigError(f"{self._name}: no endpoint: one of `hosts`, `host`, `url` or `proxy` is needed")

    def fault(self, key: str, message: str) -> StoreConfigError:
        return StoreConfigError(f"{self._name}.{key}: {message}")

    def _items(self, key: str) -> list[str]:
        value = self._section.get(key)
        if value is None:
            return []
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise self.fault(key, f"expected host:port, or a list of them, got {value!r}")
        items = [part.strip().strip("'\"") if isinstance(part, str) else part for part in parts]
        for item in items:
            if not isinstance(item, str):
                raise self.fault(key, f"expected host:port, got {item!r}")
        return [item for item in items if item]

    def _address(self, key: str, item: str, scheme: str, default_port: int) -> Address:
        host, port = item, ""
        if "/" in item or any(character.isspace() for character in item):
            raise self.fault(key, f"expected host:port, got {item!r}")
        if item.startswith("["):
            host, _, rest = item[1:].partition("]")
            port = rest.removeprefix(":")
        elif item.count(":") == 1:
            host, _, port = item.partition(":")
        if not host:
            raise self.fault(key, f"expected host:port, got {item!r}")
        return Address(scheme=scheme, host=host, port=self._port(key, port) if port else default_port)

    def _scheme(self) -> str:
        scheme = self.text("protocol") or "http"
        if scheme not in ("http", "https"):
            raise self.fault("protocol", f"expected http or https, got {scheme!r}")
        return scheme

    def _port(self, key: str, value: object) -> int:
        port = int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else 0
        if isinstance(value, bool) or not 0 < port < 65536:
            raise self.fault(key, f"expected a port from 1 to 65535, got {value!r}")
        return port


def _credentials(username: str | None, password: str | None) -> Credentials | None:
    """Return both or nothing: one alone is not used (contract/dcs.md §5.1)."""
    return Credentials(username=username, password=password) if username and password else None


def _words(error: OSError) -> str:
    return error.strerror or str(error)
