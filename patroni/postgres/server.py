"""What the modules of this room share about the one local server: configuration, programs, postmaster, kept sessions."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping

from patroni.postgres import binaries, parameters, process
from patroni.postgres.binaries import Binaries
from patroni.postgres.call import Call, Clock
from patroni.postgres.config import PostgresConfig
from patroni.postgres.process import Living
from patroni.postgres.request import PostgresError
from patroni.postgres.session import LIBPQ_MAJOR, KeptSession
from patroni.postgres.tool import Tools

_SESSION_OPTIONS = "-c search_path=pg_catalog -c pg_stat_statements.track=none"
# Else libpq looks for a Kerberos ticket before each connection to the own machine: 1 MB of libraries, and files.
_NO_TICKET = {"gssencmode": "disable"}


class Server:
    """The local server. Used from several threads: every field is replaced whole or has a lock of its own."""

    def __init__(self, config: PostgresConfig, now_s: Clock) -> None:
        self.config = config
        self.now_s = now_s
        self.data_dir = os.path.realpath(config.data_dir)  # as /proc shows working directories
        self.tools = Tools()
        self.heartbeat = KeptSession()
        self.rest = KeptSession()
        self.replication = KeptSession()
        self.logical_walsenders: frozenset[int] = frozenset()  # pids, as the last monitoring query saw them
        self._lock = threading.Lock()
        self._postmaster: Living | None = None
        self._running_port: int | None = None
        self._described: tuple[Binaries, int, frozenset[str]] | None = None
        self._binaries: tuple[PostgresConfig, int | None, Binaries] | None = None

    def binaries(self) -> Binaries:
        """Return the programs for this data directory."""
        config, major = self.config, self.major()
        known = self._binaries
        if known is None or known[0] is not config or known[1] != major:
            known = (config, major, binaries.find(config, major))
            self._binaries = known
        return known[2]

    def described(self, call: Call) -> tuple[int, frozenset[str]]:
        """Return the programs' version, e.g. 150018, and the settings that they list, in lower case."""
        found = self.binaries()
        known = self._described
        if known is None or known[0] is not found:
            program = found.path("postgres")
            numbers = re.search(r"\) (\d+)(?:\.(\d+))?", self.tools.require(call, [program, "--version"]))
            version = int(numbers[1]) * 10000 + int(numbers[2] or 0) if numbers else 0
            lines = self.tools.require(call, [program, "--describe-config"]).splitlines()
            known = (found, version, frozenset(line.split("\t")[0].lower() for line in lines))
            self._described = known
        return known[1:]

    @property
    def server_names(self) -> frozenset[str]:
        """Return the names that Postgres' executable may have."""
        return frozenset({self.config.bin_names.get("postgres", "postgres"), "postgres", "postmaster"})

    def major(self) -> int | None:
        """Return the major version of the data directory (PG_VERSION); None: there is none."""
        try:
            with open(self.path("PG_VERSION"), encoding="ascii", errors="replace") as file:
                text = file.read(16).strip()
        except OSError:  # none, or unreadable: the look at the directory says why
            return None
        return int(text) if text.isdigit() else None

    def require_major(self) -> int:
        """Return the major version, or raise because there is no data directory."""
        major = self.major()
        if major is None:
            raise PostgresError(f"{self.config.data_dir} is no data directory of Postgres 13 or later: no valid PG_VERSION")
        return major

    def path(self, *names: str) -> str:
        """Return a path in the data directory."""
        return os.path.join(self.data_dir, *names)

    @property
    def incomplete_mark(self) -> str:
        """Return the path of the file that says that the data directory is being made; see `is_incomplete`."""
        return f"{self.data_dir}.incomplete"

    def is_incomplete(self) -> bool:
        """Return whether the data directory is what an agent left that was killed while it made it: as good as empty.

        The mark names the directory's inode, so that one that somebody put there since is not taken for it.
        """
        try:
            with open(self.incomplete_mark, encoding="ascii", errors="replace") as file:
                return file.read().strip() == str(os.stat(self.data_dir).st_ino)
        except OSError:
            return False

    @property
    def rewind_mark(self) -> str:
        """Return the path of the file that says that the data directory is being rewound; see `is_torn`."""
        return f"{self.data_dir}.rewinding"

    def is_torn(self) -> bool:
        """Return whether a pg_rewind of this data directory began and has not succeeded: parts of two histories lie in it.

        Only no mark, or one that names another directory's inode, says no: one that can't be read counts.
        """
        try:
            with open(self.rewind_mark, encoding="ascii", errors="replace") as file:
                named = file.read().strip()
            return not named.isdigit() or named == str(os.stat(self.data_dir).st_ino)
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def is_standby_on_disk(self) -> bool:
        """Return whether a signal file makes the next start a recovery."""
        return any(os.path.exists(self.path(name)) for name in ("standby.signal", "recovery.signal"))

    # --- the postmaster

    def postmaster(self) -> Living | None:
        """Return the running postmaster; one known alive is not looked for again (no disk is touched then)."""
        with self._lock:
            known = self._postmaster
        if known is not None and known.is_alive():
            return known
        found = process.find_postmaster(self.data_dir, self.server_names)
        self.adopt(found)
        return found

    def known_postmaster(self) -> Living | None:
        """Return the postmaster that was seen last if it still lives, without touching the disk."""
        with self._lock:
            known = self._postmaster
        return known if known is not None and known.is_alive() else None

    def require_postmaster(self) -> Living:
        """Return the running postmaster, or raise because there is none."""
        found = self.postmaster()
        if found is None:
            raise PostgresError("Postgres is not running")
        return found

    def adopt(self, living: Living | None) -> None:
        """Take this process as the postmaster from now on."""
        file = process.read_pid_file(self.data_dir) if living is not None else None
        with self._lock:
            self._postmaster = living
            self._running_port = file.port if file is not None else None

    # --- how to connect

    def local_words(self, purpose: str, statement_timeout_ms: int = 2000) -> dict[str, str]:
        """Return the libpq words of a superuser's connection to the own server (contract/configuration.md §3.6.1)."""
        config = self.config
        words = {"dbname": config.database, "port": str(self.local_port()), "application_name": f"Patroni {purpose}"}
        words |= _NO_TICKET | parameters.credential_words(config.superuser, LIBPQ_MAJOR)
        words["options"] = f"-c statement_timeout={statement_timeout_ms} {_SESSION_OPTIONS}"
        return {**words, **_secret(config.superuser.password), **self._local_host(config.use_unix_socket)}

    def local_replication_words(self) -> dict[str, str]:
        """Return the libpq words of a local replication connection."""
        config = self.config
        words = {"replication": "1", "port": str(self.local_port()), "application_name": "Patroni timeline"}
        words |= _NO_TICKET | parameters.credential_words(config.replication, LIBPQ_MAJOR)
        return {**words, **_secret(config.replication.password), **self._local_host(config.use_unix_socket_repl)}

    def local_port(self) -> int:
        """Return the port of the running server; a configured change waits for its restart."""
        with self._lock:
            return self._running_port or self.config.port

    def _local_host(self, is_socket: bool) -> Mapping[str, str]:
        """Return the word `host`, or none for libpq's own socket directory."""
        if is_socket:
            directories = parameters.wanted(self.config).get("unix_socket_directories")
            if directories is None:
                return {}
            absolute = [path.strip() for path in directories.split(",") if path.strip().startswith("/")]
            if absolute:
                return {"host": absolute[0]}
        return {"host": self.config.local_host}


def _secret(password: str | None) -> Mapping[str, str]:
    return {"password": password} if password else {}
