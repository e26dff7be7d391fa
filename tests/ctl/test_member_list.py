"""The member list, byte for byte as contract/cli.md §3.7 shows it, and the rules of §3.2-3.6."""

from __future__ import annotations

import json

import pytest
import yaml

from patroni.ctl.member_list import Form, rendered
from tests.ctl.builders import LSN, a_cluster, a_member, a_standby, a_view

PLAIN = a_cluster(
    {
        "pg-a": a_member(),
        "pg-b": a_standby("10.0.0.12"),
        "pg-c": a_standby("10.0.0.13", receive_lsn=0x4E17CC8, replay_lsn=0x4D23A88),
    }
)

BUSY = a_cluster(
    {
        "pg-a": a_member("127.0.0.1"),
        "pg-b": a_standby(
            "127.0.0.1",
            5433,
            pending_restart=True,
            pending_restart_reason={
                "max_connections": {"old_value": "100", "new_value": "200"},
                "shared_buffers": {"old_value": "128MB", "new_value": "1GB"},
            },
            scheduled_restart={"schedule": "2031-03-01T04:00:00+01:00", "postgres_version": "17.3"},
            tags={"region": "eu", "clonefrom": True},
        ),
        "pg-c": a_standby(
            "127.0.0.1",
            5434,
            receive_lsn=None,
            replication_state="in archive recovery",
            tags={"replicatefrom": "pg-b"},
        ),
        "pg-d": a_member("127.0.0.1", 5435, state="stopped", timeline=None),
    },
    config={"pause": True},
    failover={"leader": "pg-a", "member": "pg-b", "scheduled_at": "2031-03-01T04:00:00+00:00"},
)

CITUS = {
    f"{group}/{key}": value
    for group, names in ((0, ("co-1", "co-2")), (1, ("w1-1", "w1-2")))
    for key, value in a_cluster(
        {names[0]: a_member(f"10.0.{group}.11"), names[1]: a_standby(f"10.0.{group}.12")},
        leader=names[0],
        initialize=f"742139876543210987{6 + group}",
        config={"synchronous_mode": "quorum", "pause": group == 1},
        sync={"leader": names[0], "sync_standby": names[1], "quorum": 0},
    ).items()
}


def test_the_plain_list() -> None:
    assert (
        rendered(a_view(PLAIN))
        == """\
+ Cluster: demo (7421398765432109876) -----+----+-------------+-----+------------+-----+
| Member | Host      | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+--------+-----------+---------+-----------+----+-------------+-----+------------+-----+
| pg-a   | 10.0.0.11 | Leader  | running   |  4 |             |     |            |     |
| pg-b   | 10.0.0.12 | Replica | streaming |  4 |   0/5000148 |   0 |  0/5000148 |   0 |
| pg-c   | 10.0.0.13 | Replica | streaming |  4 |   0/4E17CC8 |   2 |  0/4D23A88 |   3 |
+--------+-----------+---------+-----------+----+-------------+-----+------------+-----+"""
    )


def test_the_list_with_everything() -> None:
    assert (
        rendered(a_view(BUSY))
        == """\
+ Cluster: demo (7421398765432109876) --------------------+----+-------------+-----+------------+-----+-----------------+----------------------------+---------------------------------------------+---------------------+
| Member | Host           | Role    | State               | TL | Receive LSN | Lag | Replay LSN | Lag | Pending restart | Pending restart reason     | Scheduled restart                           | Tags                |
+--------+----------------+---------+---------------------+----+-------------+-----+------------+-----+-----------------+----------------------------+---------------------------------------------+---------------------+
| pg-a   | 127.0.0.1:5432 | Leader  | running             |  4 |             |     |            |     |                 |                            |                                             |                     |
+--------+----------------+---------+---------------------+----+-------------+-----+------------+-----+-----------------+----------------------------+---------------------------------------------+---------------------+
| pg-b   | 127.0.0.1:5433 | Replica | streaming           |  4 |   0/5000148 |   0 |  0/5000148 |   0 | *               | max_connections: 100->200  | 2031-03-01T04:00:00+01:00 if version < 17.3 | clonefrom: true     |
|        |                |         |                     |    |             |     |            |     |                 | shared_buffers: 128MB->1GB |                                             | region: eu          |
+--------+----------------+---------+---------------------+----+-------------+-----+------------+-----+-----------------+----------------------------+---------------------------------------------+---------------------+
| pg-c   | 127.0.0.1:5434 | Replica | in archive recovery |  4 |     unknown |     |  0/5000148 |   0 |                 |                            |                                             | replicatefrom: pg-b |
+--------+----------------+---------+---------------------+----+-------------+-----+------------+-----+-----------------+----------------------------+---------------------------------------------+---------------------+
| pg-d   | 127.0.0.1:5435 | Replica | stopped             |    |     unknown |     |    unknown |     |                 |                            |                                             |                     |
+--------+----------------+---------+---------------------+----+-------------+-----+------------+-----+-----------------+----------------------------+---------------------------------------------+---------------------+
 Maintenance mode: on
 Switchover scheduled at: 2031-03-01T04:00:00+00:00
                    from: pg-a
                      to: pg-b"""  # noqa: E501
    )


def test_the_tree() -> None:
    text = rendered(a_view(BUSY), Form.TOPOLOGY)
    lines = text.splitlines()
    cells = [line[:29] for line in lines if line.startswith("|")]
    assert [cell for cell in cells if "127.0.0.1" in cell or "Host" in cell] == [
        "| Member   | Host           |",
        "| pg-a     | 127.0.0.1:5432 |",
        "| + pg-b   | 127.0.0.1:5433 |",
        "|   + pg-c | 127.0.0.1:5434 |",
        "| + pg-d   | 127.0.0.1:5435 |",
    ]
    assert "| {clonefrom: true, region: eu} |" in text
    assert lines[0].startswith("+ Cluster: demo (7421398765432109876) +---")
    assert lines[-1] == "                      to: pg-b"


def test_tsv() -> None:
    two = {key: value for key, value in PLAIN.items() if key != "members/pg-c"}
    assert rendered(a_view(two), Form.TSV).replace("\t", "→").splitlines() == [
        "Cluster→Member→Host→Role→State→TL→Receive LSN→Receive Lag→Replay LSN→Replay Lag",
        "demo→pg-a→10.0.0.11→Leader→running→4→→→→",
        "demo→pg-b→10.0.0.12→Replica→streaming→4→0/5000148→0→0/5000148→0",
    ]


def test_json() -> None:
    without_c = {key: value for key, value in BUSY.items() if key != "members/pg-c"}
    assert (
        rendered(a_view(without_c), Form.JSON)
        == '[{"Cluster": "demo", "Member": "pg-a", "Host": "127.0.0.1:5432", "Role": "Leader", "State": "running", "TL": 4}, '
        '{"Cluster": "demo", "Member": "pg-b", "Host": "127.0.0.1:5433", "Role": "Replica", "State": "streaming", "TL": 4, '
        '"Receive LSN": "0/5000148", "Receive Lag": 0, "Replay LSN": "0/5000148", "Replay Lag": 0, "Pending restart": "*", '
        '"Pending restart reason": "max_connections: 100->200\\nshared_buffers: 128MB->1GB", '
        '"Scheduled restart": "2031-03-01T04:00:00+01:00 if version < 17.3", "Tags": {"region": "eu", "clonefrom": true}}, '
        '{"Cluster": "demo", "Member": "pg-d", "Host": "127.0.0.1:5435", "Role": "Replica", "State": "stopped", '
        '"Receive LSN": "unknown", "Replay LSN": "unknown"}]'
    )


def test_yaml() -> None:
    one = {key: value for key, value in PLAIN.items() if key not in ("members/pg-a", "members/pg-c")}
    assert (
        rendered(a_view(one), Form.YAML)
        == """\
- Cluster: demo
  Host: 10.0.0.12
  Member: pg-b
  Receive LSN: 0/5000148
  Receive Lag: 0
  Replay LSN: 0/5000148
  Replay Lag: 0
  Role: Replica
  State: streaming
  TL: 4
"""
    )


def test_all_groups_of_citus() -> None:
    assert (
        rendered(a_view(CITUS, is_citus=True))
        == """\
+ Citus cluster: demo -------+----------------+-----------+----+-------------+-----+------------+-----+
| Group | Member | Host      | Role           | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+-------+--------+-----------+----------------+-----------+----+-------------+-----+------------+-----+
|     0 | co-1   | 10.0.0.11 | Leader         | running   |  4 |             |     |            |     |
|     0 | co-2   | 10.0.0.12 | Quorum Standby | streaming |  4 |   0/5000148 |   0 |  0/5000148 |   0 |
|     1 | w1-1   | 10.0.1.11 | Leader         | running   |  4 |             |     |            |     |
|     1 | w1-2   | 10.0.1.12 | Quorum Standby | streaming |  4 |   0/5000148 |   0 |  0/5000148 |   0 |
+-------+--------+-----------+----------------+-----------+----+-------------+-----+------------+-----+
Citus group: 1
 Maintenance mode: on"""
    )


def test_one_group_of_citus() -> None:
    assert (
        rendered(a_view(CITUS, is_citus=True, group=1))
        == """\
+ Citus cluster: demo (group: 1, 7421398765432109877) -+-------------+-----+------------+-----+
| Member | Host      | Role           | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+--------+-----------+----------------+-----------+----+-------------+-----+------------+-----+
| w1-1   | 10.0.1.11 | Leader         | running   |  4 |             |     |            |     |
| w1-2   | 10.0.1.12 | Quorum Standby | streaming |  4 |   0/5000148 |   0 |  0/5000148 |   0 |
+--------+-----------+----------------+-----------+----+-------------+-----+------------+-----+
 Maintenance mode: on"""
    )


@pytest.mark.parametrize("form", [Form.PRETTY, Form.TOPOLOGY])
def test_nothing_in_the_store(form: Form) -> None:
    assert (
        rendered(a_view({}), form)
        == """\
+ Cluster: demo (uninitialized) ----+-------------+-----+------------+-----+
| Member | Host | Role | State | TL | Receive LSN | Lag | Replay LSN | Lag |
+--------+------+------+-------+----+-------------+-----+------------+-----+
+--------+------+------+-------+----+-------------+-----+------------+-----+"""
    )


@pytest.mark.parametrize(
    ("form", "then"),
    [
        (Form.TSV, "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay Lag"),
        (Form.JSON, "[]"),
        (Form.YAML, "[]\n"),
    ],
)
def test_nothing_in_the_store_for_machines(form: Form, then: str) -> None:
    assert rendered(a_view({}), form) == then


def one_row(values: dict[str, str], name: str = "pg-b", **options: bool) -> dict[str, object]:
    """Return the row of one member as the JSON form has it."""
    rows = json.loads(rendered(a_view(values), Form.JSON, **options))
    return next(row for row in rows if row["Member"] == name)


@pytest.mark.parametrize(
    ("more", "leader_is", "standby_is"),
    [
        pytest.param({}, "Leader", "Replica", id="asynchronous"),
        pytest.param({"config": {"synchronous_mode": True}}, "Leader", "Sync Standby", id="synchronous"),
        pytest.param({"config": {"synchronous_mode": "on"}}, "Leader", "Sync Standby", id="as a word"),
        pytest.param({"config": {"synchronous_mode": "quorum"}}, "Leader", "Quorum Standby", id="quorum"),
        pytest.param({"config": {"synchronous_mode": False}}, "Leader", "Replica", id="turned off, key left behind"),
        pytest.param(
            {"config": {"synchronous_mode": True, "standby_cluster": {"host": "h"}}},
            "Standby Leader",
            "Replica",
            id="standby cluster",
        ),
        pytest.param({"config": {"standby_cluster": {"port": 0}}}, "Leader", "Replica", id="an empty standby cluster"),
        pytest.param({"config": "[1]"}, "Leader", "Replica", id="a config key that is no object"),
    ],
)
def test_roles(more: dict[str, object], leader_is: str, standby_is: str) -> None:
    sync = {"leader": "pg-a", "sync_standby": "PG-B", "quorum": 1}
    values = a_cluster({"pg-a": a_member(), "pg-b": a_standby("10.0.0.12")}, sync=sync, **more)
    assert (one_row(values, "pg-a")["Role"], one_row(values)["Role"]) == (leader_is, standby_is)


def test_without_a_leader_all_are_replicas() -> None:
    values = a_cluster({"pg-a": a_member(role="primary"), "pg-b": a_standby("10.0.0.12")}, leader=None)
    assert (one_row(values, "pg-a")["Role"], one_row(values)["Role"]) == ("Replica", "Replica")


def test_a_standby_leader_shows_how_it_replicates() -> None:
    members = {"pg-a": a_standby("10.0.0.11", state="running")}
    assert one_row(a_cluster(members), "pg-a")["State"] == "running"
    standby = a_cluster(members, config={"standby_cluster": {"host": "h"}})
    assert one_row(standby, "pg-a")["State"] == "streaming"
    assert "Receive LSN" not in one_row(standby, "pg-a")


@pytest.mark.parametrize(
    ("bytes_behind", "lag_mb"),
    [(-5, 0), (0, 0), (524287, 0), (524288, 0), (524289, 1), (1572864, 2), (2621440, 2), (2621441, 3)],
)
def test_lag_is_rounded_to_megabytes(bytes_behind: int, lag_mb: int) -> None:
    values = a_cluster({"pg-b": a_standby("10.0.0.12", receive_lsn=LSN - bytes_behind, replay_lsn=1)})
    assert one_row(values)["Receive Lag"] == lag_mb


def test_an_old_agent_has_one_position() -> None:
    old = {"receive_lsn": None, "replay_lsn": None, "xlog_location": LSN}
    row = one_row(a_cluster({"pg-b": a_standby("10.0.0.12", **old)}))
    assert (row["Receive LSN"], row["Replay LSN"]) == ("0/5000148", "unknown")
    row = one_row(a_cluster({"pg-b": a_standby("10.0.0.12", replication_state=None, **old)}))
    assert (row["Receive LSN"], row["Replay LSN"], row["Replay Lag"]) == ("unknown", "0/5000148", 0)


@pytest.mark.parametrize(
    ("urls", "hosts"),
    [
        pytest.param([("h1", 5432), ("h2", 5432)], ["h1", "h2"], id="usual ports"),
        pytest.param([("h1", 5432), ("h2", 5433)], ["h1:5432", "h2:5433"], id="another port"),
        pytest.param([("h1", 5432), ("h1", 5432)], ["h1:5432", "h1:5432"], id="one host twice"),
        pytest.param([("[::1]", 5432), ("h2", 5433)], ["[::1]:5432", "h2:5433"], id="IPv6 with a port"),
        pytest.param([("[::1]", 5432)], ["::1"], id="IPv6"),
    ],
)
def test_hosts(urls: list[tuple[str, int]], hosts: list[str]) -> None:
    values = a_cluster({f"pg-{index}": a_member(*url) for index, url in enumerate(urls)})
    assert [row["Host"] for row in json.loads(rendered(a_view(values), Form.JSON))] == hosts


@pytest.mark.parametrize(
    "value", ["", "{", "[]", "null", '{"conn_url": 5, "tags": 5, "timeline": "x"}', '{"conn_url": "http://[x"}']
)
def test_a_member_key_that_says_nothing_is_a_row(value: str) -> None:
    row = one_row(a_cluster({"pg-b": value}))
    assert row == {
        "Cluster": "demo",
        "Member": "pg-b",
        "Role": "Replica",
        "Receive LSN": "unknown",
        "Replay LSN": "unknown",
    }


def test_optional_columns_are_decided_by_members_with_a_host() -> None:
    values = a_cluster({"pg-a": a_member(), "pg-b": '{"tags": {"x": 1}}'})
    assert "Tags" not in rendered(a_view(values))
    head = rendered(a_view(values), is_extended=True).splitlines()[1]
    assert head.endswith("| Pending restart | Pending restart reason | Scheduled restart | Tags |")
    assert one_row(values, is_extended=True)["Tags"] == {"x": 1}


def test_a_long_reason_is_hidden_from_people_only() -> None:
    change = {"old_value": "a" * 20, "new_value": "b" * 20}
    exact = {"old_value": "", "new_value": "b" * 44}  # with `ab: ->` 50 characters
    values = a_cluster(
        {
            "pg-b": a_standby(
                "10.0.0.12", pending_restart=True, pending_restart_reason={"a_rather_long_name": change, "ab": exact}
            )
        }
    )
    assert "| a_rather_long_name: [hidden - too long]     " in rendered(a_view(values))
    assert f"| ab: ->{'b' * 44} |" in rendered(a_view(values))
    assert one_row(values)["Pending restart reason"] == f"a_rather_long_name: {'a' * 20}->{'b' * 20}\nab: ->{'b' * 44}"


def test_a_member_without_a_word_of_its_own_in_yaml() -> None:
    values = a_cluster({"pg-b": a_standby("10.0.0.12", tags={"b": "ä", "a": [1]})})
    text = rendered(a_view(values), Form.YAML)
    assert "ä" in text
    assert yaml.safe_load(text)[0]["Tags"] == {"a": [1], "b": "ä"}
    assert "\\u00e4" in rendered(a_view(values), Form.JSON)


def test_a_title_that_is_too_long_is_cut() -> None:
    lines = rendered(a_view(a_cluster({}, initialize="7" * 90))).splitlines()
    assert len(lines[0]) == len(lines[1])
    assert lines[0].startswith("+ Cluster: demo (777")
    assert lines[0].endswith("77+")


def tree(**upstreams: str | None) -> list[str]:
    """Return the member cells of a tree whose leader is `a`."""
    members = {
        name: a_standby("h", tags={"replicatefrom": upstream} if upstream else None) for name, upstream in upstreams.items()
    }
    lines = rendered(a_view(a_cluster(members, leader="a")), Form.TOPOLOGY).splitlines()
    return [line.split(" | ")[0].removeprefix("| ").rstrip() for line in lines[3:-1]]


@pytest.mark.parametrize(
    ("upstreams", "cells"),
    [
        pytest.param({"a": None, "c": None, "b": None}, ["a", "+ b", "+ c"], id="all below the leader"),
        pytest.param({"a": None, "b": "a", "c": "c", "d": "x"}, ["a", "+ b", "+ c", "+ d"], id="leader, itself, nobody"),
        pytest.param({"a": "b", "b": "c", "c": None}, ["a", "+ c", "  + b"], id="the leader's own tag says nothing"),
        pytest.param(
            {"a": None, "b": "c", "c": "b", "d": "c"}, ["a", "+ b", "  + c", "    + d"], id="a ring hangs below the leader"
        ),
        pytest.param({"b": None, "c": "b"}, ["+ b", "  + c"], id="no leader"),
    ],
)
def test_trees(upstreams: dict[str, str | None], cells: list[str]) -> None:
    assert tree(**upstreams) == cells
