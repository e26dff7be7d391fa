"""What may be written to the config key: changed values of known keys are judged, nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from patroni.config.edit import edit_faults


@pytest.mark.parametrize(
    ("new", "line"),
    [
        ({"ttl": "abc"}, "ttl: 'abc' is not a whole number of seconds"),
        ({"ttl": None, "loop_wait": "10s"}, "loop_wait: '10s' is not a whole number of seconds"),
        ({"ttl": 0}, "ttl: 0 is less than 1"),
        ({"pause": "maybe"}, "pause: 'maybe' is neither on nor off"),
        ({"maximum_lag_on_failover": "1MB"}, "maximum_lag_on_failover: '1MB' is not a whole number"),
        ({"maximum_lag_on_failover": True}, "maximum_lag_on_failover: True is not a whole number"),
        ({"member_slots_ttl": "1parsec"}, "member_slots_ttl: '1parsec' is not a whole number (in s or with a unit)"),
        ({"synchronous_node_count": 0}, "synchronous_node_count: 0 is less than 1"),
        ({"synchronous_mode": "qourum"}, "synchronous_mode: 'qourum' is neither on, off nor quorum"),
        ({"slots": 5}, "slots: 5 is not a mapping"),
        ({"standby_cluster": {"port": "x"}}, "standby_cluster.port: 'x' is not a whole number"),
        ({"postgresql": 5}, "postgresql: 5 is not a mapping"),
        ({"postgresql": {"parameters": [1]}}, "postgresql.parameters: [1] is not a mapping"),
        ({"postgresql": {"use_slots": "x"}}, "postgresql.use_slots: 'x' is neither on nor off"),
        ({"postgresql": {"use_pg_rewind": "x"}}, "postgresql.use_pg_rewind: 'x' is neither on nor off"),
        ({"postgresql": {"pg_hba": "host all"}}, "postgresql.pg_hba: 'host all' is not a list of lines"),
        ({"postgresql": {"pg_ctl_timeout": -1}}, "postgresql.pg_ctl_timeout: -1 is less than 0"),
    ],
)
def test_a_value_that_cannot_be_used(new: Mapping[str, object], line: str) -> None:
    old = {"ttl": 30}
    found = edit_faults(old, {name: value for name, value in {**old, **new}.items() if value is not None})
    assert found == (line,)


@pytest.mark.parametrize(
    "new",
    [
        {"ttl": 5, "loop_wait": "10", "retry_timeout": 10.9},
        {"synchronous_mode": "Quorum", "pause": "on", "check_timeline": 0},
        {"synchronous_mode": True, "member_slots_ttl": "30min"},
        {"standby_cluster": {"host": "h", "port": "5432"}, "slots": {"a": None}, "ignore_slots": [{"name": "x"}]},
        {"postgresql": {"use_pg_rewind": True, "parameters": {"anything": "goes"}, "pg_hba": ["line"]}},
        {"mine": {"deep": 1}, "postgresql": {"mine": 5}},
    ],
)
def test_what_can_be_used(new: Mapping[str, object]) -> None:
    assert edit_faults({}, new) == ()


def test_an_old_mistake_keeps_nobody_from_mending_another() -> None:
    old = {"ttl": "abc", "pause": "maybe", "loop_wait": 10}
    assert edit_faults(old, {**old, "loop_wait": 5}) == ()
    assert edit_faults(old, {**old, "ttl": "abd"}) == ("ttl: 'abd' is not a whole number of seconds",)


def test_each_fault_has_its_line() -> None:
    assert len(edit_faults({}, {"ttl": [], "loop_wait": "x", "pause": "x"})) == 3
