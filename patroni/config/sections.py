"""Records of the sections that no other room defines: the log, the store, the client of the REST API, the watchdog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from patroni.config.key import Key, Kind
from patroni.config.keys_store import ORDER, STORE
from patroni.config.reader import Notes, Values, level, read_values, section
from patroni.config.value import Unreadable, parse_address, parse_list

WATCHDOG_DRIVERS = ("default", "testing")
AVAILABLE = ("etcd3", "local")  # the stores that have a backend
DEFAULT_FORMAT = "%(asctime)s %(levelname)s: %(message)s"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """Section `log` (contract/logs_and_metrics.md §2)."""

    is_json: bool = False
    level: str = "INFO"
    is_traceback_at_debug_only: bool = False
    format: str = DEFAULT_FORMAT
    fields: tuple[tuple[str, str], ...] = ()  # of json: (attribute, key) in order; empty: those that `format` names
    dateformat: str | None = None  # None: to the millisecond, local time
    static_fields: Mapping[str, object] = field(default_factory=dict)
    max_queue_size: int = 1000  # <= 0: without limit
    dir: str | None = None  # None: standard error
    mode: int | None = None  # None: 0666 less the umask
    file_num: int = 4  # 0: no rotation
    file_size_bytes: int = 25000000  # 0: no rotation
    loggers: Mapping[str, str] = field(default_factory=dict)  # level by logger name
    deduplicate_heartbeat_logs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection:
    """The one store that is used."""

    kind: str  # name of the section
    values: Mapping[str, object] = field(
        repr=False
    )  # the section; known keys parsed (flags, numbers, lists, absolute paths), addresses as text


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSection:
    """How REST APIs are called: `ctl` with its fallbacks to `restapi` (contract/configuration.md §3.4)."""

    username: str | None = None  # None: without authentication
    password: str | None = field(default=None, repr=False)
    insecure: bool = False  # for patronictl; an agent never verifies unless it has a `certfile`
    cacert: str | None = None  # None: the system's
    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogSection:
    """Section `watchdog` (contract/configuration.md §3.8)."""

    mode: str = "automatic"  # or `off`, `required`
    device: str = "/dev/watchdog"
    safety_margin_s: int | None = 5  # how long before the end of ttl it fires; None: it fires at half of ttl
    driver: str = "default"  # an unknown one is kept: it cannot be opened, so that `required` still means required


def log_section(values: Values, notes: Notes) -> LogSection:
    """Build the log's settings; what is of the wrong type falls back with a warning, an unknown level is a fault."""
    is_json = values.get("log.type", str) == "json"
    form, fields = _format(values.find("log.format", object), is_json, notes)
    dateformat = values.find("log.dateformat", object)
    if dateformat is not None and not isinstance(dateformat, str):
        notes.warnings.append(f"log.dateformat: {dateformat!r} is not text; the default is used")
    return LogSection(
        is_json=is_json,
        level=values.get("log.level", str),
        is_traceback_at_debug_only=values.get("log.traceback_level", str).upper() == "DEBUG",
        format=form,
        fields=fields,
        dateformat=dateformat if isinstance(dateformat, str) and dateformat else None,
        static_fields=values.get("log.static_fields", dict),
        max_queue_size=values.get("log.max_queue_size", int),
        dir=values.find("log.dir", str),
        mode=values.find("log.mode", int),
        file_num=values.get("log.file_num", int),
        file_size_bytes=values.get("log.file_size", int),
        loggers=_loggers(values, notes),
        deduplicate_heartbeat_logs=values.get("log.deduplicate_heartbeat_logs", bool),
    )


def _format(found: object, is_json: bool, notes: Notes) -> tuple[str, tuple[tuple[str, str], ...]]:
    if not found:
        return DEFAULT_FORMAT, ()
    if isinstance(found, str):
        return found, ()
    if not isinstance(found, list) or not is_json:
        notes.warnings.append(f"log.format: {found!r} is not text; the default is used")
        return DEFAULT_FORMAT, ()
    fields: list[tuple[str, str]] = []
    for index, item in enumerate(found):
        name, shown = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else (item, item)
        if isinstance(name, str) and isinstance(shown, str):
            fields.append((name, shown))
        else:
            notes.warnings.append(f"log.format.{index}: {item!r} is neither a field nor one `field: name`; it is left out")
    return DEFAULT_FORMAT, tuple(fields)


def _loggers(values: Values, notes: Notes) -> dict[str, str]:
    levels: dict[str, str] = {}
    for name, wanted in values.get("log.loggers", dict).items():
        try:
            levels[str(name)] = level(wanted)
        except Unreadable as reason:
            notes.faults.append(f"log.loggers.{name}: {reason}")
    return levels


def client_section(values: Values, notes: Notes) -> ClientSection:
    """Build the client's settings from `ctl`, else `restapi`."""
    username, password = credentials(values, "ctl", notes)
    if username is None:
        username, password = credentials(values, "restapi", notes)
    certfile = values.find("ctl.certfile", str)
    return ClientSection(
        username=username,
        password=password,
        insecure=values.get("ctl.insecure", bool),
        cacert=values.find("ctl.cacert", str) or values.find("restapi.cafile", str),
        certfile=certfile,
        keyfile=values.find("ctl.keyfile", str) if certfile else None,
        keyfile_password=values.find("ctl.keyfile_password", str) if certfile else None,
    )


def credentials(values: Values, name: str, notes: Notes) -> tuple[str | None, str | None]:
    """Return user and password of `restapi` or `ctl`: both or neither."""
    found = {word: values.find(f"{name}.authentication.{word}", str) for word in ("username", "password")}
    if list(found.values()).count(None) == 1:
        missing = next(word for word, text in found.items() if text is None)
        fault = f"{name}.authentication.{missing}: is missing"
        notes.faults.extend([] if fault in notes.faults else [fault])
    return found["username"], found["password"]


_WATCHDOG_MODES = {
    **dict.fromkeys(("off", "disable", "disabled", "false"), "off"),
    **dict.fromkeys(("auto", "automatic"), "automatic"),
    **dict.fromkeys(("require", "required"), "required"),
}


def watchdog_mode(value: object) -> str | None:
    """Read `watchdog.mode` in any case; None: it is none. YAML's `off` is false."""
    return _WATCHDOG_MODES.get(str(value).lower())


def watchdog_section(values: Values, notes: Notes) -> WatchdogSection:
    """Build the watchdog's settings; an unknown mode is a warning, and off."""
    written = values.get("watchdog.mode", object)
    mode = watchdog_mode(written)
    if mode is None:
        notes.warnings.append(f"watchdog.mode: {written!r} is none of off, automatic, required; the watchdog is off")
    driver = values.get("watchdog.driver", str)
    if driver not in WATCHDOG_DRIVERS:
        notes.warnings.append(f"watchdog.driver: {driver!r} is none of {', '.join(WATCHDOG_DRIVERS)}; there is no watchdog")
    margin_s = values.get("watchdog.safety_margin", int)
    return WatchdogSection(
        mode=mode or "off",
        device=values.get("watchdog.device", str),
        safety_margin_s=margin_s if margin_s >= 0 else None,
        driver=driver,
    )


def store_kind(tree: Mapping[str, object], available: Sequence[str]) -> str | None:
    """Return the first section in the order of contract/configuration.md §3.7 that has a backend; None: there is none."""
    return next((name for name in ORDER if name in tree and name in available), None)


def store_section(tree: Mapping[str, object], available: Sequence[str], notes: Notes) -> StoreSection | None:
    """Build the section of the store that is used; None leaves a fault."""
    kind = store_kind(tree, available)
    if kind is None:
        present = ", ".join(name for name in ORDER if name in tree)
        what = f"{present}: not supported yet" if present else "no store is configured"
        notes.faults.append(f"{what}; write one of these sections: {', '.join(name for name in ORDER if name in available)}")
        return None
    keys = [key for key in STORE if key.path.startswith(f"{kind}.")]
    values = read_values(tree, keys, notes)
    written = section(tree, kind)
    parsed = {name: value for name in written if (value := _parsed(keys, values, f"{kind}.{name}")) is not None}
    notes.faults.extend(_address_faults(kind, written))
    return StoreSection(kind=kind, values={**written, **parsed})


def _parsed(keys: Sequence[Key], values: Values, path: str) -> object:
    is_kept = any(key.path == path and key.kind is Kind.ADDRESS for key in keys)
    return None if is_kept else values.find(path, object)


_WHERE = {
    "etcd": ("host", "hosts", "url", "proxy", "srv", "discovery_srv", "srv_domain"),
    "etcd3": ("host", "hosts", "url", "proxy", "srv", "discovery_srv", "srv_domain"),
    "zookeeper": ("hosts",),
    "exhibitor": ("hosts",),
    "local": ("path",),
}


def _address_faults(kind: str, written: Mapping[str, object]) -> list[str]:
    """Return what is wrong with where the store is to be found."""
    where = _WHERE.get(kind, ())
    if where and not any(written.get(name) for name in where):
        return [f"{kind}: does not say where it is; write {' or '.join(where[:2])}"]
    hosts = written.get("hosts")
    if kind not in ("etcd", "etcd3") or not isinstance(hosts, str | list):
        return []  # another type is reported by the reader
    return [fault for host in parse_list(hosts) if (fault := _host_fault(kind, host))]


def _host_fault(kind: str, host: str) -> str | None:
    try:
        parse_address(host, 2379)
    except Unreadable as reason:
        return f"{kind}.hosts: {host}: {reason}"
    return None
