"""What `patronictl` reads (contract/cli.md §2.2, §2.3)."""

from __future__ import annotations

import pytest
import yaml

from patroni.config.dynamic import Timing
from patroni.config.fault import ConfigError
from patroni.config.load import Local
from patroni.config.patronictl import ToolConfiguration, build_for_patronictl, parse_dcs_url
from patroni.config.sections import ClientSection


def tool(text: str, dcs_url: str | None = None, available: tuple[str, ...] = ("etcd3", "local")) -> ToolConfiguration:
    return build_for_patronictl(Local(values=yaml.safe_load(text), path=None), dcs_url, available)


def test_it_needs_neither_name_nor_postgresql() -> None:
    found = tool(
        "{scope: a, etcd3: {host: h}, ctl: {insecure: true}, ttl: 20, loop_wait: x, postgresql: 5, name: 5, log: {level: x}}"
    )
    assert (found.scope, found.namespace) == ("a", "service")
    assert found.store is not None
    assert (found.store.kind, found.store.values) == ("etcd3", {"host": "h"})
    assert found.client == ClientSection(insecure=True)
    assert found.timing == Timing(ttl_s=20, loop_wait_s=10, retry_timeout_s=10)


def test_a_missing_store_is_said_when_it_is_needed() -> None:
    found = tool("{}")
    assert (found.scope, found.store) == (None, None)
    assert found.store_fault == "no store is configured; write one of these sections: etcd3, local"
    assert tool("etcd3: {}").store_fault == "etcd3: does not say where it is; write host or hosts"


def test_what_it_uses_must_be_right() -> None:
    with pytest.raises(ConfigError) as caught:
        tool("{scope: 5, ctl: {authentication: {username: u}}}")
    assert caught.value.faults == ("scope: 5 is not text; write it in quotes", "ctl.authentication.password: is missing")


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("", {"etcd": {"host": "localhost:2379"}}),
        ("localhost:8500", {"consul": {"host": "localhost:8500"}}),
        ("h:2181", {"zookeeper": {"hosts": ["h:2181"]}}),
        ("h:8181", {"exhibitor": {"hosts": ["h"], "port": 8181}}),
        ("h:2379", {"etcd": {"host": "h:2379"}}),
        ("h:99", {"etcd": {"host": "h:99"}}),
        ("h", {"etcd": {"host": "h:2379"}}),
        ("etcd3://h:2399/prod", {"etcd3": {"host": "h:2399"}, "namespace": "/prod"}),
        ("etcd3://h/", {"etcd3": {"host": "h:2379"}}),
        ("etcd3://:1", {"etcd3": {"host": "localhost:1"}}),
        ("consul://u:p@h?x=1#y", {"consul": {"host": "h:8500"}}),
        ("etcd3://[::1]:5", {"etcd3": {"host": "[::1]:5"}}),
    ],
)
def test_dcs_url(text: str, then: object) -> None:
    assert parse_dcs_url(text) == then


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("http://h", "--dcs-url: http://h: http is none of etcd, etcd3, consul, zookeeper, exhibitor"),
        ("etcd://h:x", "--dcs-url: etcd://h:x: Port could not be cast to integer value as 'x'"),
        ("etcd://h:99999", "--dcs-url: etcd://h:99999: Port out of range 0-65535"),
    ],
)
def test_dcs_urls_that_are_none(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_dcs_url(text)
    assert caught.value.faults == (line,)


def test_dcs_url_replaces_the_stores_of_the_file() -> None:
    found = tool("{namespace: a, consul: {host: c}, etcd3: {host: h, password: p}}", "etcd3://x:1/b", ("consul", "etcd3"))
    assert found.store is not None
    assert (found.namespace, found.store.kind, found.store.values) == ("/b", "etcd3", {"host": "x:1"})
    assert tool("namespace: a", "etcd3://x").namespace == "a"
