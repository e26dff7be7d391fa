"""Variables (contract/configuration.md §5)."""

from __future__ import annotations

import pytest

from patroni.config.environment import capture
from patroni.config.keys import KEYS
from tests.config.builders import environment


@pytest.mark.parametrize(
    ("name", "text", "section", "key", "then"),
    [
        pytest.param("LOG_LEVEL", "DEBUG", "log", "level", "DEBUG", id="text"),
        pytest.param("LOG_MODE", "0644", "log", "mode", 0o644, id="octal integer"),
        pytest.param("LOG_FILE_SIZE", "1000", "log", "file_size", 1000, id="integer"),
        pytest.param("LOG_LOGGERS", "a: DEBUG, b: INFO", "log", "loggers", {"a": "DEBUG", "b": "INFO"}, id="mapping"),
        pytest.param("LOG_STATIC_FIELDS", "{x: 1}", "log", "static_fields", {"x": 1}, id="mapping in braces"),
        pytest.param("LOG_FORMAT", "%(message)s", "log", "format", "%(message)s", id="format as text"),
        pytest.param(
            "LOG_FORMAT", "message, levelname: l", "log", "format", ["message", {"levelname": "l"}], id="format as list"
        ),
        pytest.param("LOG_DEDUPLICATE_HEARTBEAT_LOGS", "on", "log", "deduplicate_heartbeat_logs", True, id="boolean"),
        pytest.param("RESTAPI_LISTEN", "*:1", "restapi", "listen", "*:1", id="address"),
        pytest.param("RESTAPI_ALLOWLIST", "a, 10.0.0.0/8", "restapi", "allowlist", ["a", "10.0.0.0/8"], id="list"),
        pytest.param("RESTAPI_ALLOWLIST", "- a\n- b", "restapi", "allowlist", ["a", "b"], id="list in lines"),
        pytest.param("RESTAPI_USERNAME", "u", "restapi", "authentication", {"username": "u"}, id="REST user"),
        pytest.param("RESTAPI_THREAD_POOL_SIZE", "7", "restapi", "thread_pool_size", 7, id="not read by the reference"),
        pytest.param("CTL_PASSWORD", "p", "ctl", "authentication", {"password": "p"}, id="ctl password"),
        pytest.param("CTL_INSECURE", "no", "ctl", "insecure", False, id="ctl insecure"),
        pytest.param("POSTGRESQL_DATA_DIR", "/x", "postgresql", "data_dir", "/x", id="data_dir"),
        pytest.param("POSTGRESQL_BIN_PG_CTL", "ctl", "postgresql", "bin_name", {"pg_ctl": "ctl"}, id="name of a binary"),
        pytest.param("ETCD3_HOST", "h:1", "etcd3", "host", "h:1", id="generic text"),
        pytest.param("ETCD3_HOSTS", "'h1:2379','h2:2379'", "etcd3", "hosts", ["h1:2379", "h2:2379"], id="generic list"),
        pytest.param("ETCD3_HOST", "", "etcd3", "host", "", id="generic empty text makes the section"),
        pytest.param("ETCD_USE_PROXIES", "on", "etcd", "use_proxies", True, id="generic boolean"),
        pytest.param("CONSUL_PORT", "8500", "consul", "port", 8500, id="generic integer"),
        pytest.param("CONSUL_SCHEME", "https", "consul", "scheme", "https", id="not read by the reference either"),
        pytest.param("ZOOKEEPER_USE_SSL", "false", "zookeeper", "use_ssl", False, id="truthy in the reference"),
        pytest.param("ZOOKEEPER_SET_ACLS", "p: [ALL]", "zookeeper", "set_acls", {"p": ["ALL"]}, id="generic mapping"),
        pytest.param("KUBERNETES_NAMESPACE", "n", "kubernetes", "namespace", "n", id="namespace of a section"),
        pytest.param("CITUS_GROUP", "0", "citus", "group", 0, id="citus"),
        pytest.param("RAFT_MIN_TIMEOUT", "0.5", "raft", "min_timeout", 0.5, id="real"),
        pytest.param("MADEUP_URL", "u", "madeup", "url", "u", id="any section"),
    ],
)
def test_variables(name: str, text: str, section: str, key: str, then: object) -> None:
    assert environment(**{name: text}).values == {section: {key: then}}


def test_users_of_postgres() -> None:
    found = environment(SUPERUSER_USERNAME="s", REPLICATION_SSLMODE="require", REWIND_CHANNEL_BINDING="prefer").values
    assert found == {
        "postgresql": {
            "authentication": {
                "superuser": {"username": "s"},
                "replication": {"sslmode": "require"},
                "rewind": {"channel_binding": "prefer"},
            }
        }
    }


@pytest.mark.parametrize("name", ["LOG_LEVEL", "SCOPE", "POSTGRESQL_LISTEN"])
def test_an_empty_variable_is_not_set(name: str) -> None:
    assert environment(**{name: ""}).values == {}


def test_user_of_etcd_needs_another_variable_of_its_section() -> None:
    assert environment(ETCD3_USERNAME="u", ETCD3_PASSWORD="p").values == {}
    found = environment(ETCD3_USERNAME="u", ETCD3_PASSWORD="p", ETCD3_HOST="h").values
    assert found == {"etcd3": {"host": "h", "username": "u", "password": "p"}}


@pytest.mark.parametrize(
    ("variables", "then"),
    [
        ({"LOGLEVEL": "DEBUG"}, {"level": "DEBUG"}),
        ({"LOGLEVEL": "DEBUG", "LOG_LEVEL": "ERROR"}, {"level": "ERROR"}),
        ({"LOGFORMAT": "%(message)s", "LOG_DATEFMT": "%H"}, {"format": "%(message)s", "dateformat": "%H"}),
    ],
)
def test_old_names(variables: dict[str, str], then: object) -> None:
    assert environment(**variables).values == {"log": then}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LOG_FILE_NUM", "many"),
        ("CTL_INSECURE", "maybe"),
        ("LOG_LOGGERS", "[a"),
        ("ETCD3_HOSTS", "[a"),
        ("RAFT_MIN_TIMEOUT", "x"),
    ],
)
def test_what_cannot_be_read_is_ignored_and_said(name: str, text: str) -> None:
    found = environment(**{name: text})
    assert found.values == {}
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(f"PATRONI_{name}: ignored: ")
    assert "\n" not in found.warnings[0]


def test_recognised_variables_are_taken_away_and_the_others_stay() -> None:
    environ = {
        "PATH": "/bin",
        "PATRONI_SCOPE": "a",
        "PATRONI_CONFIGURATION": "{}",
        "PATRONI_ETCD3_HOST": "h",
        "PATRONI_ETCD_PASSWORD": "p",
        "PATRONI_LOGLEVEL": "INFO",
        "PATRONI_SOMETHING_ELSE": "1",
        "PATRONI_HOST": "1",
        "PATRONI__HOST": "1",
        "PATRONICTL_CONFIG_FILE": "f",
    }
    capture(environ)
    assert sorted(environ) == ["PATH", "PATRONICTL_CONFIG_FILE", "PATRONI_HOST", "PATRONI_SOMETHING_ELSE", "PATRONI__HOST"]


def test_no_variable_is_named_twice() -> None:
    variables = [key.variable for key in KEYS if key.variable]
    assert len(variables) == len(set(variables))
