"""Which settings a server runs with: the wanted GUCs, those of its command line, those of its recovery. Pure.

Sources: contract/configuration.md §6.1-6.3 and §6.5; a value outside what is accepted is refused, never clamped.
"""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from patroni.decision.node import Upstream
from patroni.postgres import values
from patroni.postgres.config import Credentials, PostgresConfig

logger = logging.getLogger(__name__)

_RECOVERY = frozenset(
    [
        "archive_cleanup_command",
        "pause_at_recovery_target",
        "primary_conninfo",
        "primary_slot_name",
        "promote_trigger_file",
        "recovery_end_command",
        "recovery_min_apply_delay",
        "recovery_target",
        "recovery_target_action",
        "recovery_target_inclusive",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_timeline",
        "recovery_target_xid",
        "restore_command",
        "standby_mode",
        "trigger_file",
    ]
)
_EMPTIED_TARGETS = (
    "recovery_target",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "recovery_target_lsn",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Controlled:
    """A GUC of which only the cluster-wide value counts: its default, and the value to use or None to refuse it."""

    default: str | None  # None: never settable, or computed
    accepted: Callable[[object], str | None]
    is_on_command_line: bool = True


def _at_least(minimum: int) -> Callable[[object], str | None]:
    def accepted(value: object) -> str | None:
        number = values.integer(value)
        return str(number) if number is not None and number >= minimum else None

    return accepted


def _switch(value: object) -> str | None:
    return str(value) if values.boolean(value) is not None else None


def _wal_level(value: object) -> str | None:
    word = str(value).lower()
    if word in ("hot_standby", "replica"):
        return "replica"  # what 9.6 and later call it
    return word if word == "logical" else None


def _hot_standby(value: object) -> str | None:
    return str(value) if values.boolean(value) else None


def _wal_keep_size(value: object) -> str | None:
    size_mb = values.integer(value, "MB")
    return str(value) if size_mb is not None and size_mb >= 16 else None


def _never(value: object) -> str | None:
    return None


_CONTROLLED: Mapping[str, _Controlled] = {  # by GUC, in the order of the command line
    "listen_addresses": _Controlled(default=None, accepted=_never),
    "port": _Controlled(default=None, accepted=_never),
    "cluster_name": _Controlled(default=None, accepted=_never),
    "wal_level": _Controlled(default="replica", accepted=_wal_level),
    "hot_standby": _Controlled(default="on", accepted=_hot_standby),
    "max_connections": _Controlled(default="100", accepted=_at_least(25)),
    "max_wal_senders": _Controlled(default="10", accepted=_at_least(3)),
    "max_prepared_transactions": _Controlled(default="0", accepted=_at_least(0)),
    "max_locks_per_transaction": _Controlled(default="64", accepted=_at_least(32)),
    "track_commit_timestamp": _Controlled(default="off", accepted=_switch),
    "max_replication_slots": _Controlled(default="10", accepted=_at_least(4)),
    "max_worker_processes": _Controlled(default="8", accepted=_at_least(2)),
    "wal_log_hints": _Controlled(default="on", accepted=_switch),
    "wal_keep_segments": _Controlled(default=None, accepted=_at_least(1), is_on_command_line=False),
    "wal_keep_size": _Controlled(default=None, accepted=_wal_keep_size, is_on_command_line=False),
}
_NOT_BELOW_PRIMARY: Mapping[str, str] = {  # key of pg_controldata by GUC (contract/ha_behaviour.md §6.8)
    "max_connections": "max_connections setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
}


def wanted(config: PostgresConfig) -> dict[str, str]:
    """Return the GUCs that a primary runs with, as text by name (in the spelling of its last mention)."""
    settings = {name: rule.default for name, rule in _CONTROLLED.items() if rule.default is not None}
    settings |= _accepted_dynamic(config.dynamic_parameters)
    local = {name: value for name, value in config.local_parameters.items() if name.lower() not in _CONTROLLED}
    for source in (config.dynamic_parameters, local):
        for name, value in source.items():
            if name.lower() not in _CONTROLLED and name.lower() not in _RECOVERY:
                _put(settings, name, value)
    settings["listen_addresses"] = config.listen_host
    settings["port"] = str(config.port)
    settings["cluster_name"] = config.scope
    segments = settings.pop("wal_keep_segments", None)  # gone in 13
    settings.setdefault("wal_keep_size", f"{int(segments) * 16 if segments else 128}MB")
    for name in ("hba_file", "ident_file"):
        if name in settings:
            settings[name] = os.path.join(config.conf_dir, settings[name])
    return settings


def raised(settings: Mapping[str, str], control: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with those raised that a standby must not have lower than its primary had (§6.8).

    control: pg_controldata's words by key.
    """
    result = dict(settings)
    for name, key in _NOT_BELOW_PRIMARY.items():
        needed = values.integer(control.get(key))
        configured = values.integer(settings.get(name))
        if needed is not None and configured is not None and needed > configured:
            result[name] = str(needed)
    return result


def command_line(settings: Mapping[str, str]) -> list[str]:
    """Return the words that go to the postmaster's command line: they override every file."""
    names = [name for name, rule in _CONTROLLED.items() if rule.is_on_command_line and name in settings]
    return [f"--{name}={settings[name]}" for name in names]


def recovery(config: PostgresConfig, major: int, upstream: Upstream | None) -> dict[str, str]:
    """Return the recovery GUCs of a standby (contract/ha_behaviour.md §6.7); upstream None: archive recovery only."""
    settings = {name: str(value) for name, value in _recovery_conf(config).items() if value is not None}
    for name in [name for name in settings if name.startswith("recovery_target")]:
        del settings[name]
    for name in ("primary_conninfo", "primary_slot_name", "standby_mode", "pause_at_recovery_target"):
        settings.pop(name, None)
    trigger = settings.pop("trigger_file", None)
    if trigger is not None:
        settings.setdefault("promote_trigger_file", trigger)
    if major >= 16:
        settings.pop("promote_trigger_file", None)
    settings |= dict.fromkeys(_EMPTIED_TARGETS, "") | {"recovery_target_timeline": "latest"}
    # Written even when empty: an included file of the user must not point this standby anywhere else.
    settings["primary_conninfo"] = conninfo(upstream_words(config, major, upstream)) if upstream else ""
    settings["primary_slot_name"] = upstream.slot or "" if upstream else ""
    return settings


def is_recovery_guc(name: str) -> bool:
    """Return whether this setting belongs to recovery and is never written as an ordinary one."""
    return name.lower() in _RECOVERY


def upstream_words(config: PostgresConfig, major: int, upstream: Upstream) -> dict[str, str]:
    """Return the words of `primary_conninfo`; a password is in the password file instead."""
    who = credential_words(config.replication, major)
    words = {"dbname": config.database, "host": upstream.host, "port": str(upstream.port), "sslmode": "prefer"}
    words |= {"gssencmode": "prefer", "channel_binding": "prefer"} | ({"sslnegotiation": "postgres"} if major >= 17 else {})
    words |= who | {"application_name": config.name}
    if config.replication.password:
        words["passfile"] = passfile(config)
    if config.krbsrvname:
        words["krbsrvname"] = config.krbsrvname
    return words


def credential_words(credentials: Credentials, major: int) -> dict[str, str]:
    """Return the libpq words of these credentials without the password, as far as this version knows them."""
    since = {"sslcrldir": 14, "sslnegotiation": 17}
    words = {name: value for name, value in credentials.options.items() if since.get(name, 0) <= major}
    return words | ({"user": credentials.username} if credentials.username else {})


_WORD_ORDER = (
    "dbname user passfile password host port sslmode sslcompression sslcert sslkey sslpassword sslrootcert sslcrl"
    " sslcrldir application_name krbsrvname gssencmode channel_binding target_session_attrs sslnegotiation"
)


def conninfo(words: Mapping[str, str]) -> str:
    """Return a libpq connection string of `key=value` words in the contract's order."""
    order = _WORD_ORDER.split()
    names = sorted(words, key=lambda name: order.index(name) if name in order else len(order))
    return " ".join(f"{name}={_word(words[name])}" for name in names)


def passfile(config: PostgresConfig) -> str:
    """Return the path of the password file; `~` is the home of the user that runs, whatever $HOME says."""
    if config.pgpass is not None:
        return config.pgpass
    return os.path.join(pwd.getpwuid(os.geteuid()).pw_dir, "pgpass")


def _word(value: str) -> str:
    if not value:
        return "''"
    return "".join(f"\\{letter}" if letter in "'\\ " else letter for letter in value)


def _recovery_conf(config: PostgresConfig) -> Mapping[str, object]:
    """Return the user's recovery settings: those found among `parameters` replace `recovery_conf`."""
    merged = {**config.dynamic_parameters, **config.local_parameters}
    inside = {name.lower(): value for name, value in merged.items() if is_recovery_guc(name)}
    return inside or {name.lower(): value for name, value in config.recovery_conf.items()}


def _accepted_dynamic(parameters: Mapping[str, object]) -> dict[str, str]:
    accepted: dict[str, str] = {}
    for name, value in parameters.items():
        rule = _CONTROLLED.get(name.lower())
        if rule is None or rule.accepted is _never:
            continue
        text = rule.accepted(value)
        if text is None:
            logger.warning("parameters.%s: value %s is not allowed, using %s", name.lower(), value, rule.default)
        else:
            accepted[name.lower()] = text
    return accepted


def _put(settings: dict[str, str], name: str, value: object) -> None:
    """Set a GUC by its name in any case; null takes it away."""
    for known in [known for known in settings if known.lower() == name.lower()]:
        del settings[known]
    if value is not None:
        settings[name.lower() if name.lower() in ("hba_file", "ident_file") else name] = str(value)
