"""Options of initdb, pg_basebackup and pg_rewind as users write them (contract/configuration.md §2.3). Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

INITDB_FORBIDDEN = frozenset({"pgdata", "nosync", "pwfile", "sync-only", "version"})
BASEBACKUP_FORBIDDEN = frozenset(
    [
        "pgdata",
        "format",
        "wal-method",
        "xlog-method",
        "gzip",
        "version",
        "dbname",
        "host",
        "port",
        "username",
        "password",
    ]
)
REWIND_FORBIDDEN = frozenset(
    [
        "target-pgdata",
        "source-pgdata",
        "source-server",
        "write-recovery-conf",
        "dry-run",
        "restore-target-wal",
        "config-file",
        "no-ensure-shutdown",
        "version",
        "help",
    ]
)


def words(options: object, forbidden: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the options as command line words, and one line for each that is refused."""
    accepted: list[str] = []
    faults: list[str] = []
    for name, value in _pairs(options):
        if name is None:
            faults.append(f"option {value!r} is neither a word nor one `name: text`")
        elif name in forbidden:
            faults.append(f"option {name} is not allowed")
        else:
            accepted.append(f"--{name}" if value is None else f"--{name}={value}")
    return accepted, faults


def _pairs(options: object) -> Iterator[tuple[str | None, object]]:
    """Yield (name, value): value None for a bare word; name None for what is no option."""
    if options is None:
        return
    if isinstance(options, dict):
        for name, value in options.items():
            if name and value:
                yield (str(name), _unquoted(value)) if isinstance(value, str) else (None, {name: value})
        return
    if not isinstance(options, list):
        yield None, options
        return
    for item in options:
        match item:
            case str():
                yield item, None
            case dict() if len(item) == 1 and isinstance(next(iter(item.values())), str):
                ((name, value),) = item.items()
                yield str(name), _unquoted(value)
            case _:
                yield None, item


def _unquoted(value: str) -> str:
    """Take the quotes off a value that is one fully quoted shell word."""
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return value
    try:
        parts = shlex.split(value)
    except ValueError:
        return value
    return parts[0] if len(parts) == 1 else value
