"""What is configured and not done by this version is said, so that nobody relies on it in vain."""

from __future__ import annotations

import pytest

from patroni.config.settings import with_dynamic
from tests.config.builders import built


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("bootstrap: {dcs: {synchronous_mode: true}}", "synchronous_mode"),
        ("bootstrap: {dcs: {synchronous_mode: quorum}}", "synchronous_mode"),
        ("bootstrap: {dcs: {failsafe_mode: true}}", "failsafe_mode"),
        ("bootstrap: {dcs: {standby_cluster: {host: h}}}", "standby_cluster"),
        ("bootstrap: {method: restore, restore: {command: x}}", "bootstrap.method"),
        ("watchdog: {mode: required}", "watchdog.mode"),
        ("watchdog: {mode: Require}", "watchdog.mode"),
        ("postgresql: {callbacks: {on_start: /x}}", "postgresql.callbacks"),
        ("postgresql: {pre_promote: /x}", "postgresql.pre_promote"),
        ("postgresql: {before_stop: /x}", "postgresql.before_stop"),
        ("postgresql: {create_replica_methods: [wal_e, basebackup]}", "postgresql.create_replica_methods"),
    ],
)
def test_each_is_said_in_one_line(text: str, key: str) -> None:
    (line,) = built(text).warnings
    assert line.startswith(f"{key}: not supported yet")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bootstrap: {dcs: {synchronous_mode: false, failsafe_mode: false, standby_cluster: {}}, method: initdb}",
        "watchdog: {mode: automatic}",
        "postgresql: {callbacks: {}, create_replica_methods: [basebackup]}",
    ],
)
def test_what_is_off_or_usual_is_not(text: str) -> None:
    assert built(text).warnings == ()


def test_a_standby_cluster_in_a_running_cluster_bars_every_promotion() -> None:
    changed = with_dynamic(built(), {"standby_cluster": {"host": "h"}})
    (line,) = changed.warnings
    assert "the leader stays as it is" in line and "no other node is promoted" in line
    assert changed.settings.is_standby_cluster


def test_it_is_said_too_where_the_config_key_changes() -> None:
    (line,) = with_dynamic(built(), {"synchronous_mode": "on"}).warnings
    assert line.startswith("synchronous_mode: not supported yet")
