"""The table itself is sound: later documentation, validation and samples are made from it."""

from __future__ import annotations

import pytest

from patroni.config.key import Apply, Key, Kind, Misuse
from patroni.config.keys import BY_PATH, KEYS, apply_of, find
from patroni.config.reader import Notes, read_values


def test_each_key_stands_once() -> None:
    paths = [key.path for key in KEYS]
    assert sorted(set(paths)) == sorted(paths)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_each_row_is_sound(key: Key) -> None:
    assert key.help.endswith((".", "…"))
    assert key.layers
    assert set(key.layers) <= set("LED")
    assert bool(key.words) == (key.kind in (Kind.WORD, Kind.SWITCH_OR_WORD))
    assert not (key.is_required and key.default is not None)
    if key.minimum is not None and isinstance(key.default, int | float):
        assert key.minimum <= key.default
    if key.is_raised:
        assert key.minimum is not None


@pytest.mark.parametrize(
    "key", [key for key in KEYS if key.default is not None and key.kind is not Kind.ANY], ids=lambda key: key.path
)
def test_each_default_can_be_read(key: Key) -> None:
    tree: object = key.default
    for word in reversed(key.path.split(".")):
        tree = {word: tree}
    notes = Notes()
    assert isinstance(tree, dict)
    assert read_values(tree, [key], notes).get(key.path, object) == key.default
    assert (notes.faults, notes.warnings) == ([], [])


def test_only_local_keys_refuse_a_configuration_by_a_dynamic_switch() -> None:
    dynamic = [key for key in KEYS if key.layers == "D" and key.path not in ("ttl", "loop_wait", "retry_timeout")]
    assert all(key.misuse is Misuse.IGNORE for key in dynamic)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("scope", "scope"),
        ("postgresql.parameters.a.b", "postgresql.parameters"),
        ("postgresql.parameters_replica.x", "postgresql.parameters_replica"),
        ("bootstrap.dcs.postgresql.parameters.x", "bootstrap.dcs"),
        ("bootstrap.mine.command", "bootstrap.*.command"),
        ("postgresql.mine.keep_data", "postgresql.*.keep_data"),
        ("tags.nofailover", "tags.nofailover"),
        ("tags.mine", "tags.*"),
        ("tags.mine.deep", "tags.*"),
        ("restapi", None),
        ("restapi.unknown", None),
        ("postgresql.name", None),
        ("a.b.c", None),
    ],
)
def test_which_key_governs_a_path(path: str, known: str | None) -> None:
    found = find(path)
    assert (found.path if found else None) == known


def test_what_a_change_needs() -> None:
    assert apply_of("postgresql.listen") is Apply.PENDING
    assert apply_of("unknown") is None


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        ("scope", "PATRONI_SCOPE"),
        ("log.level", "PATRONI_LOG_LEVEL"),
        ("restapi.authentication.username", "PATRONI_RESTAPI_USERNAME"),
        ("postgresql.authentication.rewind.sslmode", "PATRONI_REWIND_SSLMODE"),
        ("postgresql.bin_name.pg_rewind", "PATRONI_POSTGRESQL_BIN_PG_REWIND"),
        ("etcd3.srv_suffix", "PATRONI_ETCD3_SRV_SUFFIX"),
        ("ttl", None),
        ("tags.nosync", None),
        ("local.path", None),
    ],
)
def test_variables(path: str, variable: str | None) -> None:
    assert BY_PATH[path].variable == variable


def test_a_value_below_its_limit_is_raised_only_where_the_table_says_so() -> None:
    tree = {
        "thread_pool_size": 4,
        "thread_stack_size": "1kB",
        "tags": {"failover_priority": -3},
        "restapi": {"thread_pool_size": 5},
    }
    keys = [
        BY_PATH[path]
        for path in ("thread_pool_size", "thread_stack_size", "tags.failover_priority", "restapi.thread_pool_size")
    ]
    values = read_values(tree, keys, Notes())
    assert [values.get(key.path, int) for key in keys] == [5, 65536, -3, 5]
