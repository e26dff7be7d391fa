"""Find Postgres' programs: `bin_dir`, else PATH, else the well-known directories of packages.

All programs come from the one directory that holds `postgres`: Debian's PATH has wrappers that pick a version of their own.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from patroni.postgres.config import PostgresConfig
from patroni.postgres.request import PostgresError

_WELL_KNOWN = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat, SUSE
    "/usr/lib/postgresql*/bin",
    "/usr/local/pgsql*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The programs of one Postgres."""

    directory: str
    names: Mapping[str, str] = field(default_factory=dict)  # own name by usual name

    def path(self, name: str) -> str:
        """Return the path of the program with this usual name, e.g. `pg_rewind`; raise PostgresError naming what is missing."""
        path = os.path.join(self.directory, self.names.get(name, name))
        if not os.access(path, os.X_OK):
            raise PostgresError(f"Postgres' program {self.names.get(name, name)} is missing in {self.directory}")
        return path


def find(config: PostgresConfig, major: int | None) -> Binaries:
    """Return the programs to use for a data directory of this major version; None: there is no data directory yet."""
    server = config.bin_names.get("postgres", "postgres")
    if config.bin_dir:
        if not os.access(os.path.join(config.bin_dir, server), os.X_OK):
            raise PostgresError(f"postgresql.bin_dir: no program {server} in {config.bin_dir}")
        return Binaries(directory=config.bin_dir, names=config.bin_names)
    for directory in _candidates(server):
        if major is None or _major_by_path(directory) in (None, major):
            return Binaries(directory=directory, names=config.bin_names)
    wanted = f"{server} of version {major}" if major else server
    raise PostgresError(
        f"Postgres' program {wanted} is neither on PATH nor in {_WELL_KNOWN[0]}; set postgresql.bin_dir to its directory"
    )


def _candidates(server: str) -> list[str]:
    """Return directories that hold the server: that of PATH first, then the well-known ones, newest first."""
    on_path = shutil.which(server)
    first = [os.path.dirname(os.path.realpath(on_path))] if on_path else []
    found = [directory for pattern in _WELL_KNOWN for directory in glob.glob(pattern)]
    found.sort(key=lambda directory: _major_by_path(directory) or 0, reverse=True)
    return [directory for directory in [*first, *found] if os.access(os.path.join(directory, server), os.X_OK)]


def _major_by_path(directory: str) -> int | None:
    """Return the major version that a package's directory names, or None."""
    found = re.search(r"(?:postgresql[/@]?|pgsql-?)(\d+)/bin", directory)
    return int(found[1]) if found else None
