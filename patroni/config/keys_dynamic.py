"""The dynamic keys: one JSON object in the store, seeded from `bootstrap.dcs` (contract/configuration.md §4.1, §4.2).

The three timings are clamped (`dynamic.py`); everything else that cannot be read is its default, silently (§4.2).
"""

from __future__ import annotations

from patroni.config.key import Apply, Key, Kind, Misuse


def _key(path: str, kind: Kind, default: object, text: str, minimum: float | None = None) -> Key:
    return Key(
        path=path,
        kind=kind,
        default=default,
        help=text,
        minimum=minimum,
        unit="s" if path == "member_slots_ttl" else None,  # the only one in which units are known
        layers="D",
        apply=Apply.LIVE,
        misuse=Misuse.IGNORE,
    )


DYNAMIC = (
    Key(
        path="ttl",
        kind=Kind.INTEGER,
        default=30,
        minimum=20,
        layers="D",
        apply=Apply.LIVE,
        help="Lifetime of the leader key, s.",
    ),
    Key(
        path="loop_wait",
        kind=Kind.INTEGER,
        default=10,
        minimum=1,
        layers="D",
        apply=Apply.LIVE,
        help="Rest between turns, s.",
    ),
    Key(
        path="retry_timeout",
        kind=Kind.INTEGER,
        default=10,
        minimum=1,
        layers="D",
        apply=Apply.LIVE,
        help="For how long operations are tried again, s.",
    ),
    _key("pause", Kind.SWITCH, False, "Maintenance: the agent leaves Postgres alone."),
    _key(
        "maximum_lag_on_failover",
        Kind.INTEGER,
        1048576,
        "Bytes; a standby farther behind does not race for the leader key.",
        minimum=0,
    ),
    _key(
        "maximum_lag_on_syncnode",
        Kind.INTEGER,
        -1,
        "Bytes; a synchronous standby farther behind loses its role.",
        minimum=-1,
    ),
    _key(
        "max_timelines_history",
        Kind.INTEGER,
        0,
        "Lines kept of the timelines' history; 0: all.",
        minimum=0,
    ),
    _key(
        "primary_start_timeout",
        Kind.INTEGER,
        300,
        "How long a crashed primary may take to start, s; 0: fail over.",
        minimum=0,
    ),
    _key(
        "master_start_timeout",
        Kind.INTEGER,
        None,
        "Old name of `primary_start_timeout`.",
    ),
    _key(
        "primary_stop_timeout",
        Kind.INTEGER,
        0,
        "In synchronous mode: how long a stop may take, s; 0: no limit.",
        minimum=0,
    ),
    _key("master_stop_timeout", Kind.INTEGER, None, "Old name of `primary_stop_timeout`."),
    _key(
        "primary_race_backoff",
        Kind.INTEGER,
        0,
        "Delay of the race while WAL still comes in, s; 0: none.",
        minimum=0,
    ),
    Key(
        path="synchronous_mode",
        kind=Kind.SWITCH_OR_WORD,
        words=("quorum",),
        default=False,
        layers="D",
        apply=Apply.LIVE,
        misuse=Misuse.IGNORE,
        help="`off`, `on` or `quorum`: the agent manages synchronous_standby_names.",
    ),
    _key(
        "synchronous_mode_strict",
        Kind.SWITCH,
        False,
        "Never write without a synchronous standby.",
    ),
    _key(
        "synchronous_node_count",
        Kind.INTEGER,
        1,
        "Number of synchronous standbys.",
        minimum=1,
    ),
    _key(
        "failsafe_mode",
        Kind.SWITCH,
        False,
        "Stay primary while the store is away and all members agree.",
    ),
    _key(
        "check_timeline",
        Kind.SWITCH,
        False,
        "A candidate must be on the newest known timeline.",
    ),
    _key(
        "member_slots_ttl",
        Kind.INTEGER,
        1800,
        "How long slots of members that are gone are kept; 0: not.",
        minimum=0,
    ),
    _key("slots", Kind.MAPPING, {}, "Permanent replication slots, by name."),
    _key("permanent_slots", Kind.MAPPING, {}, "Old name of `slots`."),
    _key("permanent_replication_slots", Kind.MAPPING, {}, "Old name of `slots`."),
    _key("ignore_slots", Kind.ANY, [], "Slots that are left alone."),
    _key(
        "standby_cluster",
        Kind.MAPPING,
        {},
        "Run the cluster as a replica of a remote one.",
    ),
    _key("standby_cluster.host", Kind.TEXT, None, "Its address."),
    _key("standby_cluster.port", Kind.INTEGER, None, "Its port."),
    _key("standby_cluster.primary_slot_name", Kind.TEXT, None, "Slot to use there."),
    _key(
        "standby_cluster.create_replica_methods",
        Kind.LIST,
        None,
        "How replicas are made.",
    ),
    _key(
        "standby_cluster.restore_command",
        Kind.TEXT,
        None,
        "Command that fetches WAL from an archive.",
    ),
    _key(
        "standby_cluster.archive_cleanup_command",
        Kind.TEXT,
        None,
        "Command that tidies the archive.",
    ),
    _key(
        "standby_cluster.recovery_min_apply_delay",
        Kind.TEXT,
        None,
        "Delay of the standby leader.",
    ),
)
