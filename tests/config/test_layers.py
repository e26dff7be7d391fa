"""Which layer counts for which key, and what a change needs (contract/configuration.md §0, §1.2, §1.4, §1.9, §3.13)."""

from __future__ import annotations

import pytest
import yaml

from patroni.config.change import changes
from patroni.config.legacy import modernised
from patroni.config.settings import effective_tree, with_dynamic, with_local
from patroni.config.tree import differences, patched
from tests.config.builders import a_local, built


@pytest.mark.parametrize(
    ("old", "new", "then"),
    [
        pytest.param("{a: 1}", "{b: 2}", "{a: 1, b: 2}", id="added"),
        pytest.param("{a: 1}", "{a: null}", "{}", id="null deletes"),
        pytest.param("{}", "{a: null}", "{}", id="null of what is absent"),
        pytest.param("{a: {b: 1, c: 2}}", "{a: {b: null, d: 3}}", "{a: {c: 2, d: 3}}", id="mappings merge"),
        pytest.param("{a: 1}", "{a: {b: null}}", "{a: {b: null}}", id="mapping over scalar, its null stays"),
        pytest.param("{}", "{a: {b: null}}", "{a: {b: null}}", id="new section, its null stays"),
        pytest.param("{a: {b: 1}}", "{a: 1}", "{a: 1}", id="scalar over mapping"),
        pytest.param("{a: 10}", "{a: '10'}", "{a: 10}", id="equal as text is kept"),
        pytest.param("{a: [1, 2]}", "{a: [1]}", "{a: [1]}", id="lists are replaced whole"),
    ],
)
def test_patch(old: str, new: str, then: str) -> None:
    assert patched(yaml.safe_load(old), yaml.safe_load(new)) == yaml.safe_load(then)


@pytest.mark.parametrize(
    ("old", "new", "then"),
    [
        ("{}", "{}", ()),
        ("{a: 1}", "{a: '1'}", ()),
        ("{a: 1, b: 2}", "{b: 3, c: 4}", ("b", "c", "a")),
        ("{a: {b: {c: 1}}}", "{a: {b: {c: 2}}}", ("a.b.c",)),
        ("{a: [1]}", "{a: [1, 2]}", ("a",)),
        ("{a: {}}", "{a: {b: 1}}", ("a.b", "a")),
        ("{a: null}", "{a: ''}", ("a",)),
    ],
)
def test_differences(old: str, new: str, then: tuple[str, ...]) -> None:
    assert differences(yaml.safe_load(old), yaml.safe_load(new)) == then


@pytest.mark.parametrize(
    ("local", "dynamic", "then"),
    [
        pytest.param("{x: 1, ttl: 5}", "{ttl: 6, x: 2}", "{x: 1, ttl: 6, postgresql: {}}", id="top level"),
        pytest.param(
            "{postgresql: {a: 1}}", "{postgresql: {a: 2, b: 2}}", "{postgresql: {a: 1, b: 2}}", id="local beats dynamic"
        ),
        pytest.param(
            "{postgresql: {recovery_conf: {x: 1}}}",
            "{postgresql: {recovery_conf: {y: 1}}}",
            "{postgresql: {recovery_conf: {x: 1}}}",
            id="sections are not merged",
        ),
        pytest.param(
            "{postgresql: {parameters: {a: 1}}}",
            "{postgresql: {parameters: {a: 2, b: 2}}}",
            "{postgresql: {parameters: {a: 1, b: 2}}}",
            id="but parameters are",
        ),
        pytest.param("{postgresql: {use_slots: 1}}", "{}", "{postgresql: {}}", id="use_slots is not local"),
        pytest.param(
            "{}",
            "{postgresql: {listen: a, connect_address: a, proxy_address: a, data_dir: a, config_dir: a, pgpass: a,"
            " authentication: {}}}",
            "{postgresql: {}}",
            id="of one node only",
        ),
    ],
)
def test_layers(local: str, dynamic: str, then: str) -> None:
    assert effective_tree(yaml.safe_load(local), yaml.safe_load(dynamic)) == yaml.safe_load(then)


@pytest.mark.parametrize(
    ("old", "then"),
    [
        ("{postgresql: {name: n}}", "{name: n, postgresql: {name: n}}"),
        ("{name: m, postgresql: {name: n}}", "{name: m, postgresql: {name: n}}"),
        ("{zookeeper: {exhibitor: {port: 1}}}", "{exhibitor: {port: 1}}"),
        ("{zookeeper: {hosts: h}}", "{zookeeper: {hosts: h}}"),
    ],
)
def test_old_forms(old: str, then: str) -> None:
    assert modernised(yaml.safe_load(old)) == yaml.safe_load(then)


@pytest.mark.parametrize(
    ("old", "user", "use_pg_rewind"),
    [
        ("{replication: {username: r}}", "{replication: {username: r}}", False),
        ("{superuser: {username: s}, pg_rewind: {username: w}}", "{superuser: {username: s}}", True),
        (
            "{replication: {username: r}, pg_rewind: {username: w}}",
            "{replication: {username: r}, superuser: {username: w}}",
            True,
        ),
        ("{authentication: {replication: {username: r}}, superuser: {username: s}}", "{replication: {username: r}}", None),
    ],
)
def test_old_forms_of_users(old: str, user: str, use_pg_rewind: bool | None) -> None:
    found = modernised({"postgresql": yaml.safe_load(old)})["postgresql"]
    assert isinstance(found, dict)
    assert found["authentication"] == yaml.safe_load(user)
    assert found.get("use_pg_rewind") is use_pg_rewind


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("{}", []),
        ("scope: other", ["scope: changed; the agent must be restarted"]),
        ("restapi: {listen: 'h:1'}", ["restapi.listen: changed"]),
        ("restapi: {request_queue_size: 9}", ["restapi.request_queue_size: changed; the agent must be restarted"]),
        ("log: {level: DEBUG}", ["log.level: changed"]),
        ("postgresql: {listen: '*:1'}", ["postgresql.listen: changed; Postgres must be restarted"]),
        ("postgresql: {parameters: {work_mem: 1}}", ["postgresql.parameters.work_mem: changed; Postgres is reloaded"]),
        ("postgresql: {authentication: {rewind: {sslmode: x}}}", ["postgresql.authentication.rewind.sslmode: changed"]),
        ("postgresql: {mine: {command: x}}", ["postgresql.mine.command: changed"]),
        ("tags: {own: 1}", ["tags.own: changed"]),
        ("bootstrap: {dcs: {ttl: 7}}", ["bootstrap.dcs.ttl: changed; it counts for a new cluster only"]),
        ("bootstrap: {mine: {command: x}}", ["bootstrap.mine.command: changed; it counts for a new cluster only"]),
        ("etcd3: {password: x}", ["etcd3.password: changed"]),
        ("etcd3: {hosts: [h]}", ["etcd3.hosts: changed; the agent must be restarted"]),
        ("{unknown: 1, pause: true}", []),
    ],
)
def test_changes_of_the_file(text: str, then: list[str]) -> None:
    before = built()
    assert [str(change) for change in changes(before, with_local(before, a_local(text)))] == then


def test_changes_of_the_config_key() -> None:
    before = with_dynamic(built(), {"ttl": 40, "postgresql": {"parameters": {"a": 1}, "listen": "x"}})
    after = with_dynamic(before, {"pause": True, "postgresql": {"parameters": {"a": 2}, "listen": "y", "use_slots": False}})
    assert sorted(str(change) for change in changes(before, after)) == [
        "pause: changed",
        "postgresql.parameters.a: changed; Postgres is reloaded",
        "postgresql.use_slots: changed",
        "ttl: changed",
    ]
