"""What each room takes of the configuration (contract/configuration.md §3.3-3.6)."""

from __future__ import annotations

import os

import pytest
import yaml

from patroni.agent.configure import client_config, own_directories, postgres_config, rest_config
from patroni.config.settings import with_dynamic
from patroni.postgres.config import Credentials, PostgresConfig
from patroni.rest.config import ClientConfig, RestConfig, ServerTokens, TlsConfig, VerifyClient
from patroni.rest.config import Credentials as RestCredentials
from tests.config.builders import built


def postgres(local: str = "{}", dynamic: str = "{}") -> PostgresConfig:
    return postgres_config(with_dynamic(built(f"postgresql: {local}"), {"postgresql": yaml.safe_load(dynamic)}))


def test_the_smallest() -> None:
    assert postgres_config(built()) == PostgresConfig(
        name="postgresql0", scope="batman", listen_host="127.0.0.1", port=5432, data_dir="/srv/pg"
    )


@pytest.mark.parametrize(
    ("local", "dynamic", "field", "then"),
    [
        ("{listen: '*'}", "{}", "listen_host", "*"),
        ("{listen: ':6000'}", "{}", "listen_host", "*"),
        ("{listen: 'a, [::1]:6000'}", "{}", "listen_host", "a,::1"),
        ("{listen: '*:6000'}", "{}", "port", 6000),
        ("{listen: '*:6000'}", "{listen: '*:7000'}", "port", 6000),
        ("{connect_address: 'h:7'}", "{}", "connect_host", "h"),
        ("{connect_address: h, listen: '*:7'}", "{}", "connect_port", 5432),
        ("{}", "{}", "connect_port", None),
        ("{bin_name: {pg_ctl: x, initdb: ''}}", "{bin_name: {initdb: y}}", "bin_names", {"pg_ctl": "x"}),
        ("{}", "{bin_name: {initdb: y}}", "bin_names", {"initdb": "y"}),
        ("{}", "{bin_dir: /b}", "bin_dir", "/b"),
        ("{bin_dir: ''}", "{}", "bin_dir", None),
        ("{pgpass: /p}", "{pgpass: /q}", "pgpass", "/p"),
        ("{}", "{pgpass: /q}", "pgpass", None),
        ("{pg_ctl_timeout: 2min}", "{}", "pg_ctl_timeout_s", 120.0),
        ("{}", "{pg_ctl_timeout: 30}", "pg_ctl_timeout_s", 30.0),
        ("{pg_hba: [a, 5, b]}", "{pg_hba: [c]}", "pg_hba", ("a", "b")),
        ("{}", "{pg_hba: [c]}", "pg_hba", ("c",)),
        ("{}", "{parameters: {x: 1}}", "dynamic_parameters", {"x": 1}),
        ("{}", "{parameters: {x: 1}}", "local_parameters", {}),
        ("{parameters: {x: 2}}", "{parameters: {x: 1}}", "local_parameters", {"x": 2}),
        ("{parameters: {x: 2}}", "{parameters: {x: 1}}", "dynamic_parameters", {"x": 1}),
        ("{use_slots: false}", "{}", "use_slots", True),
        ("{}", "{use_slots: false}", "use_slots", False),
        ("{recovery_conf: {a: 1}}", "{recovery_conf: {b: 1}}", "recovery_conf", {"a": 1}),
        ("{basebackup: [x]}", "{}", "basebackup", ["x"]),
        ("{}", "{rewind: {y: z}}", "rewind_options", {"y": "z"}),
        ("{use_pg_rewind: 'off'}", "{use_pg_rewind: true}", "use_pg_rewind", False),
        ("{create_replica_methods: []}", "{}", "create_replica_methods", ("basebackup",)),
        ("{create_replica_method: a}", "{}", "create_replica_methods", ("a",)),
        ("{create_replica_methods: [m, n], m: {command: c}}", "{}", "replica_methods", {"m": {"command": "c"}}),
        ("{callbacks: {on_start: s, on_stop: '', other: o}}", "{}", "callbacks", {"on_start": "s"}),
        ("{before_stop: b, pre_promote: ''}", "{}", "before_stop", "b"),
        ("{before_stop: b, pre_promote: ''}", "{}", "pre_promote", None),
        ("{authentication: {superuser: {username: s}}}", "{}", "superuser", Credentials(username="s")),
        ("{authentication: {rewind: {}}}", "{}", "rewind", None),
        (
            "{authentication: {replication: {username: r, password: 5, sslmode: require, unknown: 1}}}",
            "{authentication: {replication: {username: other}}}",
            "replication",
            Credentials(username="r", password="5", options={"sslmode": "require"}),
        ),
    ],
)
def test_postgres(local: str, dynamic: str, field: str, then: object) -> None:
    assert getattr(postgres(local, dynamic), field) == then


@pytest.mark.parametrize(
    ("text", "field", "then"),
    [
        ("{initdb: [a, {b: c}]}", "initdb", ["a", {"b": "c"}]),
        ("{pg_hba: [a]}", "bootstrap_pg_hba", ("a",)),
        ("{post_init: i}", "post_bootstrap", "i"),
        ("{post_bootstrap: b, post_init: i}", "post_bootstrap", "b"),
    ],
)
def test_bootstrap(text: str, field: str, then: object) -> None:
    assert getattr(postgres_config(built(f"bootstrap: {text}")), field) == then


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("{listen: '*:1'}", RestConfig(host=None, port=1)),
        ("{listen: ':1'}", RestConfig(host=None, port=1)),
        ("{listen: '[::1]:1', connect_address: h}", RestConfig(host="::1", port=1, connect_address="h")),
        (
            "{listen: 'h:1', authentication: {username: u, password: p}, allowlist: 'a, b', allowlist_include_members: 'on'}",
            RestConfig(
                host="h",
                port=1,
                authentication=RestCredentials(username="u", password="p"),
                allowlist=("a", "b"),
                allowlist_include_members=True,
            ),
        ),
        (
            "{listen: 'h:1', certfile: /c, keyfile: '', verify_client: REQUIRED, cafile: /a, server_tokens: Minimal}",
            RestConfig(
                host="h",
                port=1,
                tls=TlsConfig(certfile="/c", cafile="/a", verify_client=VerifyClient.REQUIRED),
                server_tokens=ServerTokens.MINIMAL,
            ),
        ),
        (
            "{listen: 'h:1', http_extra_headers: {X: 1}, https_extra_headers: {Y: z}, request_queue_size: 9}",
            RestConfig(host="h", port=1, http_extra_headers={"X": "1"}, https_extra_headers={"Y": "z"}, request_queue_size=9),
        ),
    ],
)
def test_rest(text: str, then: RestConfig) -> None:
    assert rest_config(built(f"restapi: {text}")) == then


def test_client() -> None:
    text = "{restapi: {authentication: {username: u, password: p}, cafile: /a}, ctl: {certfile: /c, keyfile: /k}}"
    assert client_config(built(text)) == ClientConfig(
        credentials=RestCredentials(username="u", password="p"), certfile="/c", keyfile="/k", cacert="/a"
    )


def test_directories_that_the_agent_makes() -> None:
    assert own_directories(built()) == ()
    found = own_directories(built("{etcd3: null, local: {path: data/s/store.db}, postgresql: {pgpass: data/private/pgpass}}"))
    assert found == (os.path.abspath("data/private"), os.path.abspath("data/s"))
