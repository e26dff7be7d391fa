"""Sections that become records here: log, store, client, tags (contract/configuration.md §3.2, §3.4, §3.7, §3.9)."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from patroni.config.sections import DEFAULT_FORMAT, ClientSection, LogSection, WatchdogSection
from patroni.config.settings import build
from patroni.decision.cluster import Tags
from tests.config.builders import a_local, built


@pytest.mark.parametrize(
    ("text", "then"),
    [
        pytest.param("{}", LogSection(), id="defaults"),
        pytest.param("{type: yaml}", LogSection(), id="other types are plain"),
        pytest.param("{level: WARN}", LogSection(level="WARN"), id="level"),
        pytest.param("{traceback_level: debug}", LogSection(is_traceback_at_debug_only=True), id="traceback"),
        pytest.param("{traceback_level: INFO}", LogSection(), id="other traceback"),
        pytest.param("{format: '%(message)s'}", LogSection(format="%(message)s"), id="format"),
        pytest.param("{format: ''}", LogSection(format=DEFAULT_FORMAT), id="empty format"),
        pytest.param("{dateformat: ''}", LogSection(), id="empty dateformat"),
        pytest.param("{dateformat: '%H'}", LogSection(dateformat="%H"), id="dateformat"),
        pytest.param("{mode: 0640}", LogSection(mode=0o640), id="octal mode"),
        pytest.param("{mode: '0640'}", LogSection(mode=0o640), id="octal mode as text"),
        pytest.param(
            "{max_queue_size: 0, file_num: 0, file_size: 0}",
            LogSection(max_queue_size=0, file_num=0, file_size_bytes=0),
            id="zeros",
        ),
        pytest.param("{dir: /var/log/x}", LogSection(dir="/var/log/x"), id="dir"),
        pytest.param("{loggers: {a.b: DEBUG}}", LogSection(loggers={"a.b": "DEBUG"}), id="loggers"),
        pytest.param("{deduplicate_heartbeat_logs: 'on'}", LogSection(deduplicate_heartbeat_logs=True), id="deduplicate"),
        pytest.param(
            "{type: json, format: [message, {levelname: level}], static_fields: {a: 1}}",
            LogSection(is_json=True, fields=(("message", "message"), ("levelname", "level")), static_fields={"a": 1}),
            id="json",
        ),
        pytest.param("{type: json, format: [5]}", LogSection(is_json=True), id="json without a usable field"),
        pytest.param("{type: json, format: 5}", LogSection(is_json=True), id="json without a usable format"),
    ],
)
def test_log(text: str, then: LogSection) -> None:
    assert built(f"log: {text}").log == then


def test_a_relative_path_is_made_absolute() -> None:
    found = built(
        "{log: {dir: logs}, postgresql: {data_dir: data/pg0, bin_dir: ''}, etcd3: null, local: {path: data/store.db}}"
    )
    assert found.log.dir == os.path.abspath("logs")
    assert found.values.get("postgresql.data_dir", str) == os.path.abspath("data/pg0")
    assert found.values.find("postgresql.bin_dir", str) is None
    assert found.store.values == {"path": os.path.abspath("data/store.db")}


@pytest.mark.parametrize(
    ("text", "available", "then"),
    [
        pytest.param("local: {path: s}", ("etcd3", "local"), "etcd3", id="the embedded one comes last"),
        pytest.param("etcd: {host: h}", ("etcd", "etcd3"), "etcd", id="in the order of the alphabet"),
        pytest.param("etcd: {host: h}", ("etcd3", "local"), "etcd3", id="the first that has a backend"),
        pytest.param("consul: {}", ("consul", "etcd3"), "consul", id="consul needs no address"),
        pytest.param("kubernetes: {labels: {a: b}}", ("etcd3",), "etcd3", id="kubernetes has none"),
    ],
)
def test_which_store(text: str, available: tuple[str, ...], then: str) -> None:
    assert build(a_local(text), None, available).store.kind == then


def test_the_section_of_the_store() -> None:
    text = "etcd3: {port: '23', hosts: 'a, b:1', use_proxies: 'off', password: 1, own: [1]}"
    assert built(text).store.values == {
        "host": "127.0.0.1:2379",
        "port": 23,
        "hosts": ["a", "b:1"],
        "use_proxies": False,
        "password": "1",
        "own": [1],
    }


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("{}", ClientSection()),
        (
            "restapi: {authentication: {username: u, password: 5}, cafile: /ca}",
            ClientSection(username="u", password="5", cacert="/ca"),
        ),
        (
            (
                "{restapi: {authentication: {username: u, password: p}, cafile: /ca},"
                " ctl: {authentication: {username: c, password: q}, cacert: /cb}}"
            ),
            ClientSection(username="c", password="q", cacert="/cb"),
        ),
        ("ctl: {keyfile: /k, keyfile_password: p, insecure: 'on'}", ClientSection(insecure=True)),
        (
            "ctl: {certfile: /c, keyfile: /k, keyfile_password: p}",
            ClientSection(certfile="/c", keyfile="/k", keyfile_password="p"),
        ),
    ],
)
def test_client(text: str, then: ClientSection) -> None:
    assert built(text).client == then


@pytest.mark.parametrize(
    ("text", "then"),
    [
        pytest.param("{}", WatchdogSection(), id="defaults"),
        pytest.param("0", WatchdogSection(), id="an empty section"),
        pytest.param("{mode: null}", WatchdogSection(), id="mode absent"),
        pytest.param("{mode: off}", WatchdogSection(mode="off"), id="off, which YAML reads as false"),
        pytest.param("{mode: 'False'}", WatchdogSection(mode="off"), id="false as text"),
        pytest.param("{mode: Disabled}", WatchdogSection(mode="off"), id="disabled"),
        pytest.param("{mode: AUTO}", WatchdogSection(), id="auto"),
        pytest.param("{mode: require}", WatchdogSection(mode="required"), id="require"),
        pytest.param("{mode: Required}", WatchdogSection(mode="required"), id="required"),
        pytest.param("{mode: yes}", WatchdogSection(mode="off"), id="yes is no mode"),
        pytest.param("{safety_margin: -1}", WatchdogSection(safety_margin_s=None), id="half of ttl"),
        pytest.param("{safety_margin: -2}", WatchdogSection(safety_margin_s=None), id="below -1 likewise"),
        pytest.param("{safety_margin: 0}", WatchdogSection(safety_margin_s=0), id="no margin"),
        pytest.param("{device: /dev/watchdog1}", WatchdogSection(device="/dev/watchdog1"), id="device"),
        pytest.param("{device: /p, driver: testing}", WatchdogSection(device="/p", driver="testing"), id="driver"),
        pytest.param("{mode: required, driver: x}", WatchdogSection(mode="required", driver="x"), id="unknown driver"),
    ],
)
def test_watchdog(text: str, then: WatchdogSection) -> None:
    assert built(f"watchdog: {text}").watchdog == then


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("{mode: on}", "watchdog.mode: True is none of off, automatic, required; the watchdog is off"),
        ("{driver: Testing}", "watchdog.driver: 'Testing' is none of default, testing; there is no watchdog"),
    ],
)
def test_a_watchdog_that_cannot_be_used_is_warned_of(text: str, warning: str) -> None:
    assert built(f"watchdog: {text}").warnings == (warning,)


@pytest.mark.parametrize(
    ("text", "then"),
    [
        pytest.param("{}", Tags(), id="none"),
        pytest.param(
            "{nofailover: true}", Tags(nofailover=True, failover_priority=0, published={"nofailover": True}), id="nofailover"
        ),
        pytest.param("{nofailover: 'off'}", Tags(), id="quoted off"),
        pytest.param(
            "{failover_priority: 0}",
            Tags(nofailover=True, failover_priority=0, published={"failover_priority": 0}),
            id="priority 0",
        ),
        pytest.param(
            "{failover_priority: -1}",
            Tags(nofailover=True, failover_priority=0, published={"failover_priority": -1}),
            id="priority below 0",
        ),
        pytest.param("{failover_priority: 2}", Tags(failover_priority=2, published={"failover_priority": 2}), id="priority 2"),
        pytest.param("{failover_priority: x}", Tags(published={"failover_priority": "x"}), id="priority that is none"),
        pytest.param(
            "{nofailover: false, failover_priority: 2}",
            Tags(failover_priority=2, published={"nofailover": False, "failover_priority": 2}),
            id="false is kept beside a priority",
        ),
        pytest.param(
            "{nosync: 'no', sync_priority: 3}",
            Tags(sync_priority=3, published={"nosync": False, "sync_priority": 3}),
            id="nosync likewise",
        ),
        pytest.param("{nosync: true}", Tags(nosync=True, sync_priority=0, published={"nosync": True}), id="nosync"),
        pytest.param(
            "{clonefrom: false, noloadbalance: false, nostream: false, nosync: false, nofailover: false}",
            Tags(),
            id="false is not published",
        ),
        pytest.param(
            "{clonefrom: true, noloadbalance: true, nostream: on}",
            Tags(
                clonefrom=True,
                noloadbalance=True,
                nostream=True,
                published={"clonefrom": True, "noloadbalance": True, "nostream": True},
            ),
            id="true is",
        ),
        pytest.param("{nostream: maybe}", Tags(), id="nostream is a boolean word"),
        pytest.param(
            "{replicatefrom: n, own: [1]}", Tags(replicatefrom="n", published={"replicatefrom": "n", "own": [1]}), id="own"
        ),
    ],
)
def test_tags(text: str, then: Tags) -> None:
    found = built(f"tags: {text}")
    assert found.settings.tags == then
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("text", "name", "flag"),
    [
        ("{nofailover: true, failover_priority: 1}", "nofailover", True),
        ("{nofailover: false, failover_priority: 0}", "nofailover", False),
        ("{nosync: true, sync_priority: 1}", "nosync", True),
        ("{nosync: false, sync_priority: 0}", "nosync", False),
    ],
)
def test_tags_that_contradict_each_other(text: str, name: str, flag: bool) -> None:
    found = built(f"tags: {text}")
    assert getattr(found.settings.tags, name) is flag
    (line,) = found.warnings
    assert f"contradict each other; {name} counts" in line


def test_bootstrap_section_and_namespace() -> None:
    assert built().settings.has_bootstrap_section is False
    assert built("bootstrap: {dcs: {}}").settings.has_bootstrap_section is True
    assert built().namespace == "service"
    assert built("namespace: ''").namespace == "service"
    assert built("namespace: /db/").namespace == "/db/"


def test_nothing_secret_is_in_what_is_printed() -> None:
    text = "{restapi: {authentication: {username: u, password: secret}}, etcd3: {password: secret}}"
    found = built(f"{text[:-1]}, postgresql: {{authentication: {{superuser: {{password: secret}}}}}}}}")
    assert "secret" not in repr(found)
    assert "secret" not in repr(replace(found, warnings=("x",)))
