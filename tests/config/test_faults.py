"""Every fault is one line that names its key; all are reported (contract/configuration.md §8, contract/cli.md §5.2)."""

from __future__ import annotations

import pytest

from patroni.config.fault import ConfigError
from patroni.config.settings import build
from tests.config.builders import a_local, built, faults

NO_STORE = "write one of these sections: etcd3, local"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # Top level.
        ("scope: null", "scope: is missing"),
        ("scope: 5", "scope: 5 is not text; write it in quotes"),
        ("scope: ''", "scope: is empty"),
        ("name: null", "name: is missing"),
        ("name: 0", "name: 0 is not text; write it in quotes"),
        ("name: __patroni_strict_sync_replica_placeholder__", "name: __patroni_strict_sync_replica_placeholder__ is reserved"),
        ("name: a/b", "name: 'a/b' has a slash; nobody would find such a key in the store"),
        ("namespace: 1", "namespace: 1 is not text; write it in quotes"),
        # Store.
        ("etcd3: null", f"no store is configured; {NO_STORE}"),
        ("{etcd3: null, kubernetes: {labels: {a: b}}}", f"kubernetes: not supported yet; {NO_STORE}"),
        ("{etcd3: null, raft: {}, consul: {}}", f"consul, raft: not supported yet; {NO_STORE}"),
        ("etcd3: {host: null}", "etcd3: does not say where it is; write host or hosts"),
        ("etcd3: {host: 'h:x'}", "etcd3.host: port 'x' is not a number from 1 to 65535"),
        ("etcd3: {host: null, hosts: 5}", "etcd3.hosts: 5 is not a list"),
        ("etcd3: {host: null, hosts: 'a:1,b:y'}", "etcd3.hosts: b:y: port 'y' is not a number from 1 to 65535"),
        ("etcd3: {port: 23a}", "etcd3.port: '23a' is not a whole number"),
        ("etcd3: {protocol: ftp}", "etcd3.protocol: 'ftp' is none of http, https"),
        ("etcd3: here", "etcd3: is not a mapping"),
        ("{etcd3: null, local: {}}", "local: does not say where it is; write path"),
        ("{etcd3: null, local: {path: 5}}", "local.path: 5 is not text; write it in quotes"),
        ("citus: {group: 0, database: d}", "citus: not supported yet; remove this section"),
        # REST API.
        ("restapi: null", "restapi.listen: is missing"),
        ("restapi: 5", "restapi: is not a mapping"),
        ("restapi: {listen: null}", "restapi.listen: is missing"),
        ("restapi: {listen: 127.0.0.1}", "restapi.listen: no port"),
        ("restapi: {listen: 8008}", "restapi.listen: 8008 is not host:port"),
        ("restapi: {authentication: {username: u}}", "restapi.authentication.password: is missing"),
        ("restapi: {authentication: {password: p}}", "restapi.authentication.username: is missing"),
        ("restapi: {authentication: secret}", "restapi.authentication: is not a mapping"),
        ("restapi: {request_queue_size: many}", "restapi.request_queue_size: 'many' is not a whole number"),
        ("restapi: {http_extra_headers: [a]}", "restapi.http_extra_headers: is not a mapping"),
        ("ctl: {authentication: {username: u}}", "ctl.authentication.password: is missing"),
        # Postgres.
        ("postgresql: null", "postgresql.data_dir: is missing"),
        ("postgresql: word", "postgresql: is not a mapping"),
        ("postgresql: {data_dir: null}", "postgresql.data_dir: is missing"),
        ("postgresql: {data_dir: ''}", "postgresql.data_dir: is empty"),
        ("postgresql: {data_dir: 5}", "postgresql.data_dir: 5 is not text; write it in quotes"),
        ("postgresql: {listen: null}", "postgresql.listen: is missing"),
        ("postgresql: {listen: '*:pg'}", "postgresql.listen: port 'pg' is not a number from 1 to 65535"),
        ("postgresql: {listen: '*:65536'}", "postgresql.listen: port '65536' is not a number from 1 to 65535"),
        ("postgresql: {connect_address: 'h:'}", "postgresql.connect_address: no port"),
        ("postgresql: {parameters: [a]}", "postgresql.parameters: is not a mapping"),
        ("postgresql: {pg_hba: all}", "postgresql.pg_hba: is not a list of lines"),
        ("postgresql: {authentication: {replication: secret}}", "postgresql.authentication.replication: is not a mapping"),
        (
            "postgresql: {authentication: {superuser: {password: [secret]}}}",
            "postgresql.authentication.superuser.password: is not text",
        ),
        ("postgresql: {callbacks: cmd}", "postgresql.callbacks: is not a mapping"),
        # Log, tags, bootstrap.
        ("log: {level: info}", "log.level: 'info' is none of DEBUG, INFO, WARNING, WARN, ERROR, CRITICAL, FATAL"),
        ("log: {level: 10}", "log.level: 10 is none of DEBUG, INFO, WARNING, WARN, ERROR, CRITICAL, FATAL"),
        (
            "log: {loggers: {a.b: LOUD}}",
            "log.loggers.a.b: 'LOUD' is none of DEBUG, INFO, WARNING, WARN, ERROR, CRITICAL, FATAL",
        ),
        ("log: {mode: rw}", "log.mode: 'rw' is not a whole number"),
        ("log: [a]", "log: is not a mapping"),
        ("tags: nofailover", "tags: is not a mapping"),
        ("bootstrap: {dcs: 5}", "bootstrap.dcs: is not a mapping"),
        ("bootstrap: {dcs: {ttl: abc}}", "bootstrap.dcs.ttl: 'abc' is not a whole number of seconds"),
        ("bootstrap: {dcs: {postgresql: {parameters: [a]}}}", "bootstrap.dcs.postgresql.parameters: is not a mapping"),
        ("fence: {hold_s: soon}", "fence.hold_s: 'soon' is not a number (in s or with a unit)"),
    ],
)
def test_each_fault(text: str, line: str) -> None:
    found = faults(text)
    assert line in found
    assert all("\n" not in each and "secret" not in each for each in found)
    assert len(set(found)) == len(found)


def test_all_faults_at_once() -> None:
    assert faults("{scope: null, name: 7, etcd3: null, restapi: {listen: h}, postgresql: {listen: 'h:x', data_dir: null}}") == (
        "scope: is missing",
        "name: 7 is not text; write it in quotes",
        "restapi.listen: no port",
        "postgresql.listen: port 'x' is not a number from 1 to 65535",
        "postgresql.data_dir: is missing",
        f"no store is configured; {NO_STORE}",
    )


def test_an_error_says_them_line_by_line() -> None:
    with pytest.raises(ConfigError) as caught:
        build(a_local("{scope: null, name: null}"), None)
    assert str(caught.value) == "scope: is missing\nname: is missing"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("thread_pool_size: lots", "thread_pool_size: 'lots' is not a whole number; 5 is used"),
        ("thread_stack_size: big", "thread_stack_size: 'big' is not a whole number (in B or with a unit); 524288 is used"),
        (
            "restapi: {verify_client: maybe}",
            "restapi.verify_client: 'maybe' is none of none, optional, required; 'none' is used",
        ),
        (
            "restapi: {server_tokens: all}",
            "restapi.server_tokens: 'all' is none of original, productonly, minimal; 'original' is used",
        ),
        (
            "postgresql: {pg_ctl_timeout: soon}",
            "postgresql.pg_ctl_timeout: 'soon' is not a number (in s or with a unit); 60.0 is used",
        ),
        ("log: {format: [a]}", "log.format: ['a'] is not text; the default is used"),
        ("log: {dateformat: 5}", "log.dateformat: 5 is not text; the default is used"),
        ("log: {type: json, format: [message, {a: b, c: d}]}", "log.format.1: {'a': 'b', 'c': 'd'} is neither a field nor one"),
        ("bootstrap: {users: {a: b}}", "bootstrap.users: removed in version 4; no user is created by it"),
        ("bootstrap: {dcs: {ttl: 4}}", "ttl: 4 s is too short; 5 s is used"),
    ],
)
def test_what_is_only_warned_of(text: str, warning: str) -> None:
    assert any(line.startswith(warning) for line in built(text).warnings)


@pytest.mark.parametrize(
    "text",
    [
        "{ttl: abc, loop_wait: [], standby_cluster: 5, slots: 3}",
        "watchdog: 0",
        "log: ''",
        "bootstrap: {}",
        "citus: {group: x, database: d}",
        "restapi: {allowlist: 5}",
        "tags: {failover_priority: high}",
        "kubernetes: {labels: 5}",
    ],
)
def test_what_is_accepted_silently(text: str) -> None:
    assert built(text).warnings == ()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("unknown: {deep: [1]}", 1),
        ("postgresql: {unknown: 5, authentication: {replication: {unknown: 1}}}", 2),
        ("etcd3: {unknown: 1}", 1),
    ],
)
def test_unknown_keys_are_accepted_with_a_line_each(text: str, count: int) -> None:
    assert len(built(text).warnings) == count
