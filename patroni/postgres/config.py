"""What the driver must know of the configuration: one immutable record, built by `config/`, replaced whole at a reload.

Values stand as the layers of contract/configuration.md §1.4 leave them, still unchecked where the contract says that a bad
value fails the tool or is dropped (GUCs, option lists): `parameters.py` and `options.py` judge them at the moment of use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One section of `postgresql.authentication` (contract/configuration.md §3.6.2)."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)  # the other libpq keywords: sslmode, sslcert, gssencmode ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresConfig:
    """The `postgresql` and `bootstrap` sections as one node uses them. Paths are absolute; None: not set."""

    name: str  # of this member: application_name of its standby
    scope: str  # cluster_name
    listen_host: str  # `listen_addresses` as written: one or more, comma separated, or `*`
    port: int = 5432
    connect_host: str | None = None  # of `connect_address`; None: the local address
    connect_port: int | None = None  # None: `port`
    data_dir: str
    config_dir: str | None = None  # None: data_dir
    config_base_name: str = "postgresql"
    bin_dir: str | None = None  # None: PATH, then the well-known directories
    bin_names: Mapping[str, str] = field(default_factory=dict)  # `bin_name`: own name by usual name
    database: str = "postgres"
    use_unix_socket: bool = False
    use_unix_socket_repl: bool = False
    pgpass: str | None = None  # None: ~/pgpass
    krbsrvname: str | None = None
    pg_ctl_timeout_s: float = 60.0
    superuser: Credentials = Credentials()
    replication: Credentials = Credentials()
    rewind: Credentials | None = None  # None: the superuser's

    dynamic_parameters: Mapping[str, object] = field(default_factory=dict)  # by GUC, of the config key (controlled ones count)
    local_parameters: Mapping[str, object] = field(default_factory=dict)  # by GUC, of file and environment; win per GUC
    pg_hba: tuple[str, ...] = ()  # empty: the file is left as it is
    pg_ident: tuple[str, ...] = ()
    custom_conf: str | None = None
    recovery_conf: Mapping[str, object] = field(default_factory=dict)
    use_slots: bool = True

    initdb: object = None  # `bootstrap.initdb` as written: list or mapping (§2.3)
    bootstrap_pg_hba: tuple[str, ...] = ()  # `bootstrap.pg_hba`
    post_bootstrap: str | None = None  # `bootstrap.post_bootstrap` or `post_init`: a command line
    basebackup: object = None  # options as written: list or mapping (§2.3)
    rewind_options: object = None  # `rewind` options as written
    use_pg_rewind: bool = False
    create_replica_methods: tuple[str, ...] = ("basebackup",)
    replica_methods: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # section by method name
    callbacks: Mapping[str, str] = field(default_factory=dict)  # command line by event
    pre_promote: str | None = None
    before_stop: str | None = None

    @property
    def conf_dir(self) -> str:
        """Return the directory of postgresql.conf, pg_hba.conf and pg_ident.conf."""
        return self.config_dir or self.data_dir

    @property
    def rewind_credentials(self) -> Credentials:
        """Return whose eyes look at a primary before a rewind, and who rewinds from it."""
        return self.rewind or self.superuser

    @property
    def local_host(self) -> str:
        """Return the TCP address under which the agent reaches its own server (contract/configuration.md §3.6.1)."""
        hosts = [host.strip() for host in self.listen_host.split(",")]
        if {"*", "localhost", "0.0.0.0", "127.0.0.1"} & set(hosts):  # noqa: S104  # compared with, not bound to
            return "localhost"
        return hosts[0].strip("[]")
