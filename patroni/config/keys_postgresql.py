"""The keys of `bootstrap` and `postgresql` (contract/configuration.md §3.5, §3.6).

What the tools get (option lists, parameters, command lines) is judged by the room that drives Postgres when it is used; here
only its shape is.
"""

from __future__ import annotations

from patroni.config.key import Apply, Key, Kind, Misuse

LIVE, RELOAD, PENDING, BOOT = Apply.LIVE, Apply.RELOAD, Apply.PENDING, Apply.BOOT

BINARIES = (
    "pg_ctl",
    "initdb",
    "pg_controldata",
    "pg_basebackup",
    "postgres",
    "pg_isready",
    "pg_rewind",
)
USERS = ("superuser", "replication", "rewind")
# Further libpq keywords of a user, with the Postgres major that knows them first.
USER_OPTIONS = {
    "sslmode": 0,
    "sslcert": 0,
    "sslkey": 0,
    "sslpassword": 13,
    "sslrootcert": 0,
    "sslcrl": 0,
    "sslcrldir": 14,
    "gssencmode": 12,
    "channel_binding": 13,
    "sslnegotiation": 17,
}
ROLES = ("primary", "replica", "standby_leader")
EVENTS = ("on_start", "on_stop", "on_restart", "on_reload", "on_role_change")

INITDB_FORBIDDEN = ("pgdata", "nosync", "pwfile", "sync-only", "version")
REWIND_FORBIDDEN = (
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
)
BASEBACKUP_FORBIDDEN = (
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
    "compress",
)

BOOTSTRAP = (
    Key(
        path="bootstrap.dcs",
        kind=Kind.MAPPING,
        layers="L",
        apply=BOOT,
        help="First dynamic configuration of a new cluster.",
    ),
    Key(
        path="bootstrap.method",
        kind=Kind.TEXT,
        default="initdb",
        layers="L",
        apply=BOOT,
        help="How a new cluster is made.",
    ),
    Key(
        path="bootstrap.*.command",
        kind=Kind.TEXT,
        layers="L",
        apply=BOOT,
        help="Program of a method of the user.",
    ),
    Key(
        path="bootstrap.*.no_params",
        kind=Kind.FLAG,
        layers="L",
        apply=BOOT,
        help="Do not tell it scope and directory.",
    ),
    Key(
        path="bootstrap.*.keep_existing_recovery_conf",
        kind=Kind.FLAG,
        layers="L",
        apply=BOOT,
        help="Keep the recovery settings that it made.",
    ),
    Key(
        path="bootstrap.*.recovery_conf",
        kind=Kind.MAPPING,
        layers="L",
        apply=BOOT,
        help="Recovery settings to begin with.",
    ),
    Key(
        path="bootstrap.initdb",
        kind=Kind.OPTIONS,
        forbidden=INITDB_FORBIDDEN,
        layers="L",
        apply=BOOT,
        help="Options of initdb.",
    ),
    Key(
        path="bootstrap.pg_hba",
        kind=Kind.LINES,
        default=[],
        layers="L",
        apply=BOOT,
        help="Lines added to pg_hba.conf.",
    ),
    Key(
        path="bootstrap.post_bootstrap",
        kind=Kind.TEXT,
        layers="L",
        apply=BOOT,
        help="Command run once in a new cluster.",
    ),
    Key(
        path="bootstrap.post_init",
        kind=Kind.TEXT,
        layers="L",
        apply=BOOT,
        help="Old name of `post_bootstrap`.",
    ),
    Key(
        path="bootstrap.users",
        kind=Kind.ANY,
        layers="L",
        apply=BOOT,
        help="Removed: an error is logged, nobody is created.",
    ),
)

ADDRESSES = (
    Key(
        path="postgresql.listen",
        kind=Kind.ADDRESS,
        default_port=5432,
        is_required=True,
        apply=PENDING,
        help="Where Postgres listens: `host[,host][:port]`.",
    ),
    Key(
        path="postgresql.connect_address",
        kind=Kind.ADDRESS,
        default_port=5432,
        apply=LIVE,
        help="Address that others are told; absent: the local one.",
    ),
    Key(
        path="postgresql.proxy_address",
        kind=Kind.TEXT,
        apply=LIVE,
        help="Address of a proxy, published for discovery.",
    ),
    Key(
        path="postgresql.data_dir",
        kind=Kind.PATH,
        is_required=True,
        help="The data directory.",
    ),
    Key(
        path="postgresql.config_dir",
        kind=Kind.PATH,
        help="Where its configuration is written; absent: `data_dir`.",
    ),
    Key(
        path="postgresql.config_base_name",
        kind=Kind.TEXT,
        default="postgresql",
        layers="LD",
        help="Stem of postgresql.conf.",
    ),
    Key(
        path="postgresql.bin_dir",
        kind=Kind.PATH,
        layers="LED",
        help="Directory of the binaries; absent: they are searched.",
    ),
    Key(
        path="postgresql.bin_name",
        kind=Kind.MAPPING,
        default={},
        layers="LD",
        apply=LIVE,
        help="Own names of the binaries.",
    ),
    *(
        Key(
            path=f"postgresql.bin_name.{name}",
            kind=Kind.TEXT,
            layers="LED",
            apply=LIVE,
            help=f"Own name of {name}.",
        )
        for name in BINARIES
    ),
    Key(
        path="postgresql.database",
        kind=Kind.TEXT,
        default="postgres",
        layers="LD",
        help="Database of the agent's sessions.",
    ),
    Key(
        path="postgresql.use_unix_socket",
        kind=Kind.FLAG,
        default=False,
        layers="LD",
        apply=LIVE,
        help="The agent's own sessions go through a socket file.",
    ),
    Key(
        path="postgresql.use_unix_socket_repl",
        kind=Kind.FLAG,
        default=False,
        layers="LD",
        apply=LIVE,
        help="Local replication sessions, too.",
    ),
    Key(
        path="postgresql.pgpass",
        kind=Kind.PATH,
        help="Password file that is written; absent: ~/pgpass.",
    ),
    Key(
        path="postgresql.krbsrvname",
        kind=Kind.TEXT,
        layers="LD",
        apply=LIVE,
        help="Kerberos service.",
    ),
    Key(
        path="postgresql.pg_ctl_timeout",
        kind=Kind.NUMBER,
        default=60.0,
        unit="s",
        minimum=0,
        layers="LD",
        apply=LIVE,
        misuse=Misuse.WARN,
        help="How long a start may take; 0: without limit.",
    ),
)

AUTHENTICATION = tuple(
    Key(
        path=f"postgresql.authentication.{user}.{name}",
        kind=Kind.TEXT,
        apply=LIVE,
        help=text,
    )
    for user in USERS
    for name, text in (
        ("username", f"User of {user}."),
        ("password", "Its password; absent: trust, peer, certificate …"),
        *(
            (
                name,
                f"The keyword of libpq, from Postgres {since}." if since else "The keyword of libpq.",
            )
            for name, since in USER_OPTIONS.items()
        ),
    )
)

SETTINGS = (
    Key(
        path="postgresql.parameters",
        kind=Kind.MAPPING,
        default={},
        layers="LD",
        apply=RELOAD,
        help="Parameters of Postgres; those that must be equal everywhere count in the dynamic configuration only.",
    ),
    Key(
        path="postgresql.pg_hba",
        kind=Kind.LINES,
        default=[],
        layers="LD",
        apply=RELOAD,
        help="All of pg_hba.conf.",
    ),
    Key(
        path="postgresql.pg_ident",
        kind=Kind.LINES,
        default=[],
        layers="LD",
        apply=RELOAD,
        help="All of pg_ident.conf.",
    ),
    *(
        Key(
            path=f"postgresql.{name}_{role}",
            kind=kind,
            layers="LD",
            apply=RELOAD,
            help=f"The same while the role is {role}.",
        )
        for name, kind in (
            ("parameters", Kind.MAPPING),
            ("pg_hba", Kind.LINES),
            ("pg_ident", Kind.LINES),
        )
        for role in ROLES
    ),
    Key(
        path="postgresql.custom_conf",
        kind=Kind.TEXT,
        layers="LD",
        apply=RELOAD,
        help="Included in place of the base file.",
    ),
    Key(
        path="postgresql.recovery_conf",
        kind=Kind.MAPPING,
        default={},
        layers="LD",
        apply=RELOAD,
        help="Settings of standbys.",
    ),
    Key(
        path="postgresql.use_slots",
        kind=Kind.SWITCH,
        default=True,
        layers="D",
        apply=LIVE,
        misuse=Misuse.IGNORE,
        help="Physical replication slots for the members.",
    ),
)

BEHAVIOUR = (
    Key(
        path="postgresql.callbacks",
        kind=Kind.MAPPING,
        default={},
        layers="LD",
        apply=LIVE,
        help="Commands run at events.",
    ),
    *(
        Key(
            path=f"postgresql.callbacks.{event}",
            kind=Kind.TEXT,
            layers="LD",
            apply=LIVE,
            help="Its command.",
        )
        for event in EVENTS
    ),
    Key(
        path="postgresql.pre_promote",
        kind=Kind.TEXT,
        layers="LD",
        apply=LIVE,
        help="Command that may forbid a promotion.",
    ),
    Key(
        path="postgresql.before_stop",
        kind=Kind.TEXT,
        layers="LD",
        apply=LIVE,
        help="Command run before a stop.",
    ),
    Key(
        path="postgresql.use_pg_rewind",
        kind=Kind.FLAG,
        default=False,
        layers="LD",
        apply=LIVE,
        help="Permit pg_rewind.",
    ),
    Key(
        path="postgresql.rewind",
        kind=Kind.OPTIONS,
        forbidden=REWIND_FORBIDDEN,
        layers="LD",
        apply=LIVE,
        help="Further options of pg_rewind.",
    ),
    Key(
        path="postgresql.remove_data_directory_on_rewind_failure",
        kind=Kind.FLAG,
        default=False,
        layers="LD",
        apply=LIVE,
        help="After a failed pg_rewind remove the data directory and clone.",
    ),
    Key(
        path="postgresql.remove_data_directory_on_diverged_timelines",
        kind=Kind.FLAG,
        default=False,
        layers="LD",
        apply=LIVE,
        help="The same when timelines diverged and pg_rewind cannot be used.",
    ),
    Key(
        path="postgresql.create_replica_methods",
        kind=Kind.LIST,
        layers="LD",
        apply=LIVE,
        help="How replicas are made, the first that succeeds; absent: basebackup.",
    ),
    Key(
        path="postgresql.create_replica_method",
        kind=Kind.LIST,
        layers="LD",
        apply=LIVE,
        help="Old name of it.",
    ),
    Key(
        path="postgresql.basebackup",
        kind=Kind.OPTIONS,
        forbidden=BASEBACKUP_FORBIDDEN,
        layers="LD",
        apply=LIVE,
        help="Further options of pg_basebackup.",
    ),
    Key(
        path="postgresql.*.command",
        kind=Kind.TEXT,
        layers="LD",
        apply=LIVE,
        help="Program of a replica method of the user.",
    ),
    Key(
        path="postgresql.*.no_leader",
        kind=Kind.FLAG,
        layers="LD",
        apply=LIVE,
        help="It needs nobody to copy from.",
    ),
    Key(
        path="postgresql.*.keep_data",
        kind=Kind.FLAG,
        layers="LD",
        apply=LIVE,
        help="It keeps the data directory.",
    ),
    Key(
        path="postgresql.*.no_params",
        kind=Kind.FLAG,
        layers="LD",
        apply=LIVE,
        help="Do not tell it the usual arguments.",
    ),
)

POSTGRESQL = BOOTSTRAP + ADDRESSES + AUTHENTICATION + SETTINGS + BEHAVIOUR
