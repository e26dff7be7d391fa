"""The dynamic layer: timings, switches, which object is in force (contract/configuration.md §1.5, §1.6, §4; design.md §8)."""

from __future__ import annotations

import pytest
import yaml

from patroni.config.dynamic import STOCK_TTL_S, Timing, accept
from patroni.config.fault import ConfigError
from patroni.config.settings import with_dynamic, with_local
from patroni.decision.settings import SynchronousMode
from tests.config.builders import a_local, built


@pytest.mark.parametrize(
    ("store", "text", "then"),
    [
        pytest.param("etcd3", "{}", (30, 10, 10), id="defaults"),
        pytest.param("etcd3", "{ttl: 30, loop_wait: 10, retry_timeout: 10}", (30, 10, 10), id="relation holds exactly"),
        pytest.param("etcd3", "ttl: 20", (20, 1, 9), id="1 + 2 * 10 exceeds 20"),
        pytest.param("etcd3", "ttl: 21", (21, 1, 10), id="1 + 2 * 10 is 21"),
        pytest.param("etcd3", "{ttl: 60, loop_wait: 50}", (60, 40, 10), id="loop_wait is cut"),
        pytest.param("etcd3", "{ttl: 30, loop_wait: 5, retry_timeout: 15}", (30, 1, 14), id="both are cut"),
        pytest.param("etcd3", "{ttl: 30, loop_wait: 12}", (30, 10, 10), id="loop_wait one step too long"),
        pytest.param("etcd3", "ttl: 5", (5, 1, 2), id="smallest ttl"),
        pytest.param("etcd3", "ttl: 4", (5, 1, 2), id="below the smallest ttl"),
        pytest.param("local", "ttl: 4", (5, 1, 2), id="embedded store"),
        pytest.param("etcd", "ttl: 4", (5, 1, 2), id="etcd v2"),
        pytest.param("zookeeper", "ttl: 9", (10, 1, 4), id="zookeeper"),
        pytest.param("consul", "ttl: 19", (20, 1, 9), id="consul"),
        pytest.param("etcd3", "{ttl: 5, loop_wait: 1, retry_timeout: 1}", (5, 1, 1), id="smallest of all"),
        pytest.param("etcd3", "{loop_wait: 0, retry_timeout: 0}", (30, 1, 1), id="raised"),
        pytest.param("etcd3", "{loop_wait: -5}", (30, 1, 10), id="negative"),
        pytest.param("etcd3", "loop_wait: 9.9", (30, 9, 10), id="fraction is cut off"),
        pytest.param("etcd3", "loop_wait: '9'", (30, 9, 10), id="text"),
        pytest.param("etcd3", "loop_wait: true", (30, 1, 10), id="true is 1"),
    ],
)
def test_timings(store: str, text: str, then: tuple[int, int, int]) -> None:
    ttl_s, loop_wait_s, retry_timeout_s = then
    assert accept(yaml.safe_load(text), store).timing == Timing(
        ttl_s=ttl_s, loop_wait_s=loop_wait_s, retry_timeout_s=retry_timeout_s
    )


@pytest.mark.parametrize("value", ["abc", "10s", None, [], {}, "9.9", float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["ttl", "loop_wait", "retry_timeout"])
def test_timings_that_are_no_numbers_refuse_the_whole_object(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        accept({name: value, "postgresql": {}}, "etcd3")
    assert caught.value.faults == (f"{name}: {value!r} is not a whole number of seconds",)


def test_one_warning_where_ttl_is_below_that_of_stock_members() -> None:
    text = f"members of this cluster that run the stock agent use {STOCK_TTL_S} s"
    fine = {"loop_wait": 1, "retry_timeout": 1}
    assert accept({"ttl": 20, **fine}, "etcd3").warnings == ()
    (line,) = accept({"ttl": 19, **fine}, "etcd3").warnings
    assert line == f"ttl: 19 s; {text}"


def test_what_is_kept_is_clamped_and_has_its_unknown_keys() -> None:
    assert accept({"ttl": 20, "x": {"y": None}}, "etcd3").values == {
        "ttl": 20,
        "x": {"y": None},
        "loop_wait": 1,
        "retry_timeout": 9,
    }
    assert accept({"x": 1}, "etcd3").values == {"x": 1}
    assert accept({"loop_wait": "9"}, "etcd3").values == {"loop_wait": 9}


@pytest.mark.parametrize(
    ("text", "field", "then"),
    [
        ("{}", "is_paused", False),
        ("pause: on", "is_paused", True),
        ("pause: 'true'", "is_paused", True),
        ("pause: t", "is_paused", False),
        ("maximum_lag_on_failover: 0", "maximum_lag_on_failover_bytes", 0),
        ("maximum_lag_on_failover: '100'", "maximum_lag_on_failover_bytes", 100),
        ("maximum_lag_on_failover: 1MB", "maximum_lag_on_failover_bytes", 1048576),
        ("maximum_lag_on_failover: 2MB", "maximum_lag_on_failover_bytes", 1048576),
        ("maximum_lag_on_failover: true", "maximum_lag_on_failover_bytes", 1048576),
        ("maximum_lag_on_failover: null", "maximum_lag_on_failover_bytes", 1048576),
        ("maximum_lag_on_failover: -1", "maximum_lag_on_failover_bytes", -1),
        ("primary_start_timeout: 0", "primary_start_timeout_s", 0.0),
        ("{}", "primary_start_timeout_s", 300.0),
        ("master_start_timeout: 60", "primary_start_timeout_s", 60.0),
        ("{master_start_timeout: 60, primary_start_timeout: 30}", "primary_start_timeout_s", 30.0),
        ("{master_start_timeout: 60, primary_start_timeout: x}", "primary_start_timeout_s", 300.0),
        ("primary_stop_timeout: 5", "primary_stop_timeout_s", 5.0),
        ("primary_stop_timeout: -5", "primary_stop_timeout_s", 0.0),
        ("master_stop_timeout: 7", "primary_stop_timeout_s", 7.0),
        ("primary_race_backoff: 3", "primary_race_backoff_s", 3.0),
        ("primary_race_backoff: -3", "primary_race_backoff_s", 0.0),
        ("{}", "member_slots_ttl_s", 1800.0),
        ("member_slots_ttl: 1h", "member_slots_ttl_s", 3600.0),
        ("member_slots_ttl: 0", "member_slots_ttl_s", 0.0),
        ("member_slots_ttl: 1kB", "member_slots_ttl_s", 1800.0),
        ("max_timelines_history: 5", "max_timelines_history", 5),
        ("check_timeline: yes", "check_timeline", True),
        ("failsafe_mode: 1", "failsafe_mode", True),
        ("synchronous_mode: on", "synchronous_mode", SynchronousMode.PRIORITY),
        ("synchronous_mode: Quorum", "synchronous_mode", SynchronousMode.QUORUM),
        ("synchronous_mode: other", "synchronous_mode", SynchronousMode.OFF),
        ("{synchronous_mode: on, standby_cluster: {host: h}}", "synchronous_mode", SynchronousMode.OFF),
        ("{synchronous_mode: on, standby_cluster: {restore_command: c}}", "synchronous_mode", SynchronousMode.OFF),
        ("{synchronous_mode: on, standby_cluster: {primary_slot_name: s}}", "synchronous_mode", SynchronousMode.PRIORITY),
        ("{synchronous_mode: on, standby_cluster: 5}", "synchronous_mode", SynchronousMode.PRIORITY),
        ("synchronous_mode_strict: on", "synchronous_mode_strict", True),
        ("{}", "use_slots", True),
        ("postgresql: {use_slots: off}", "use_slots", False),
        ("postgresql: {use_slots: 'x'}", "use_slots", True),
        ("postgresql: {use_pg_rewind: true}", "use_pg_rewind", True),
        ("postgresql: {use_pg_rewind: 'off'}", "use_pg_rewind", False),
        ("postgresql: {remove_data_directory_on_rewind_failure: 1}", "remove_data_directory_on_rewind_failure", True),
        ("postgresql: {remove_data_directory_on_diverged_timelines: 1}", "remove_data_directory_on_diverged_timelines", True),
    ],
)
def test_switches(text: str, field: str, then: object) -> None:
    changed = with_dynamic(built(), yaml.safe_load(text))
    assert getattr(changed.settings, field) == then
    assert all("not supported yet" in line for line in changed.warnings)


def test_switches_in_the_local_file_have_no_effect() -> None:
    text = "{ttl: 60, loop_wait: 3, pause: true, synchronous_mode: on, postgresql: {use_slots: false}}"
    assert built(text).settings == built().settings


def test_a_starting_node_uses_the_cache_before_bootstrap_dcs() -> None:
    text = "bootstrap: {dcs: {ttl: 40, x: 1}}"
    assert built(text).dynamic.values == {"ttl": 40, "x": 1}
    assert built(text, {"ttl": 50}).dynamic.values == {"ttl": 50}
    assert built(text, {}).settings.ttl_s == 40.0
    assert built("", None).dynamic.values == {}


def test_a_cache_that_cannot_be_used_is_as_if_absent() -> None:
    found = built("bootstrap: {dcs: {ttl: 40}}", {"ttl": "abc"})
    assert found.settings.ttl_s == 40.0
    assert found.warnings == ("the cached dynamic configuration is not used: ttl: 'abc' is not a whole number of seconds",)


def test_a_cache_hides_a_bootstrap_dcs_that_cannot_be_used() -> None:
    assert built("bootstrap: {dcs: {ttl: abc}}", {"ttl": 50}).settings.ttl_s == 50.0


def test_what_has_not_changed_as_text_is_not_built_anew() -> None:
    before = with_dynamic(built(), {"ttl": 40, "postgresql": {"parameters": {"x": 1}}})
    assert with_dynamic(before, {"ttl": "40", "postgresql": {"parameters": {"x": "1"}}}) is before


def test_an_object_that_is_refused_changes_the_switches_only() -> None:
    before = with_dynamic(built(), {"ttl": 40, "postgresql": {"use_pg_rewind": True}})
    after = with_dynamic(before, {"ttl": "abc", "pause": True, "postgresql": {"use_pg_rewind": False}})
    assert (after.settings.ttl_s, after.settings.use_pg_rewind, after.settings.is_paused) == (40.0, True, True)
    assert after.dynamic == before.dynamic
    assert after.warnings == ("the config key is not used, but for its switches: ttl: 'abc' is not a whole number of seconds",)
    assert with_dynamic(after, {"ttl": "abc", "pause": True, "postgresql": {"use_pg_rewind": False}}) is after
    healed = with_dynamic(after, {"ttl": 50})
    assert (healed.settings.ttl_s, healed.settings.is_paused, healed.warnings) == (50.0, False, ())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("postgresql: 5", "postgresql: is not a mapping"),
        ("postgresql: {parameters: [a]}", "postgresql.parameters: is not a mapping"),
        ("postgresql: {pg_hba: all}", "postgresql.pg_hba: is not a list of lines"),
    ],
)
def test_shapes_that_are_refused(text: str, fault: str) -> None:
    after = with_dynamic(built(), yaml.safe_load(text))
    assert after.warnings == (f"the config key is not used, but for its switches: {fault}",)


def test_a_reload_of_the_file_keeps_what_the_config_key_says() -> None:
    before = with_dynamic(built("bootstrap: {dcs: {ttl: 40}}"), {"ttl": 50, "pause": True})
    after = with_local(before, a_local("bootstrap: {dcs: {ttl: 60}}"))
    assert (after.settings.ttl_s, after.settings.is_paused) == (50.0, True)
    refused = with_dynamic(after, {"ttl": "abc", "pause": False})
    assert with_local(refused, a_local()).settings == refused.settings.__class__(ttl_s=50.0)


def test_a_reload_that_is_refused_raises() -> None:
    with pytest.raises(ConfigError):
        with_local(built(), a_local("scope: null"))
