"""What `patronictl` takes from the configuration (contract/cli.md §2.2-2.4): scope, store and how REST APIs are called.

It needs neither `name` nor `postgresql`, and reads no cache; keys that it does not use are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from patroni.config.dynamic import Timing
from patroni.config.fault import ConfigError
from patroni.config.keys import BY_PATH
from patroni.config.keys_node import CTL, RESTAPI
from patroni.config.legacy import modernised
from patroni.config.load import Local
from patroni.config.reader import Notes, Values, read_values
from patroni.config.sections import AVAILABLE, ClientSection, StoreSection, client_section, store_section

_PORTS = {"etcd": 2379, "etcd3": 2379, "consul": 8500, "zookeeper": 2181, "exhibitor": 8181}
_KINDS = {2181: "zookeeper", 8181: "exhibitor", 8500: "consul"}  # of a URL without a scheme; etcd otherwise
_USED = tuple(replace(BY_PATH[name], is_required=False) for name in ("scope", "namespace"))
_OF_REST = CTL + tuple(key for key in RESTAPI if ".authentication." in key.path or key.path == "restapi.cafile")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolConfiguration:
    """All that `patronictl` knows of the configuration."""

    scope: str | None  # None: the cluster must be named on the command line
    namespace: str
    store: StoreSection | None  # None: `store_fault` is to be said when a command first needs the store
    store_fault: str
    client: ClientSection
    timing: Timing


def build_for_patronictl(local: Local, dcs_url: str | None = None, available: Sequence[str] = AVAILABLE) -> ToolConfiguration:
    """Build it; `dcs_url` replaces the stores of the configuration. Raise ConfigError with all faults."""
    tree = modernised(local.values)
    if dcs_url is not None:
        tree = {**{name: value for name, value in tree.items() if name not in _PORTS}, **parse_dcs_url(dcs_url)}
    notes, about_store = Notes(), Notes()
    values = read_values(tree, _USED + _OF_REST, notes)
    store = store_section(tree, available, about_store)
    client = client_section(values, notes)
    if notes.faults:
        raise ConfigError(notes.faults)
    return ToolConfiguration(
        scope=values.find("scope", str),
        namespace=values.get("namespace", str),
        store=None if about_store.faults else store,
        store_fault="\n".join(about_store.faults),
        client=client,
        timing=_timing(tree),
    )


def _timing(tree: Mapping[str, object]) -> Timing:
    """Return the timings of the file, which only the client of the store uses; the defaults where they are none."""
    keys = tuple(BY_PATH[name] for name in ("ttl", "loop_wait", "retry_timeout"))
    values: Values = read_values(tree, keys, Notes())
    ttl_s, loop_wait_s, retry_timeout_s = (values.get(key.path, int) for key in keys)
    return Timing(ttl_s=ttl_s, loop_wait_s=loop_wait_s, retry_timeout_s=retry_timeout_s)


def parse_dcs_url(text: str) -> dict[str, object]:
    """Read `[SCHEME://][HOST][:PORT][/NAMESPACE]` into a section and perhaps `namespace` (contract/cli.md §2.3)."""
    parts = urlsplit(text if "//" in text else f"//{text}")
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError([f"--dcs-url: {text}: {error}"]) from error
    kind = parts.scheme or _KINDS.get(port or 0, "etcd")
    if kind not in _PORTS:
        raise ConfigError([f"--dcs-url: {text}: {kind} is none of {', '.join(_PORTS)}"])
    host, port = parts.hostname or "localhost", port or _PORTS[kind]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sections: dict[str, dict[str, object]] = {"zookeeper": {"hosts": [address]}, "exhibitor": {"hosts": [host], "port": port}}
    found: dict[str, object] = {kind: sections.get(kind, {"host": address})}
    return found if parts.path in ("", "/") else {**found, "namespace": parts.path}
