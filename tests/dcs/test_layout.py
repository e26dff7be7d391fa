"""From keys to the cluster: members, the paths, and what is ignored."""

from __future__ import annotations

import pytest

from patroni.dcs.layout import cluster_from
from patroni.dcs.member import Publication, member_from, member_value
from patroni.dcs.path import cluster_prefix, member_key
from patroni.dcs.store import Entry, Snapshot
from patroni.decision.cluster import (
    Cluster,
    DynamicConfig,
    Incarnation,
    Initialize,
    Leader,
    Lsn,
    Member,
    PostgresState,
    Revision,
    Role,
    SessionId,
    Status,
    SyncState,
    Timeline,
    Token,
)
from patroni.decision.tags import tags_from

PREFIX = "/service/batman/"
SESSION = SessionId("s")

STANDBY = (
    '{"conn_url":"postgres://10.0.0.12:5432/postgres","api_url":"http://10.0.0.12:8008/patroni","state":"running",'
    '"role":"replica","version":"4.1.4","tags":{"clonefrom":true,"rack":"b"},"xlog_location":83886432,'
    '"replay_lsn":83886432,"receive_lsn":83886432,"replication_state":"streaming","timeline":3}'
)
PRIMARY = (
    '{"conn_url":"postgres://10.0.0.11:5432/postgres","api_url":"https://10.0.0.11:8008/patroni","state":"running",'
    '"role":"primary","version":"4.1.4","checkpoint_after_promote":false,"pending_restart":true,'
    '"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"200"}},"xlog_location":83886592,"timeline":4}'
)


def a_snapshot(**values: str) -> Snapshot:
    """Return the snapshot with these values; `__` in a name is the slash of a path."""
    entries = {}
    for number, (name, value) in enumerate(values.items(), start=1):
        key = PREFIX + name.replace("__", "/")
        entries[key] = Entry(
            key=key,
            value=value,
            token=Token(f"t{number}"),
            incarnation=Incarnation(f"i{number}"),
            revision=Revision(number),
            session=SESSION,
        )
    return Snapshot(entries=entries, revision=Revision(9), store_id="x")


@pytest.mark.parametrize(
    ("namespace", "scope", "group", "then"),
    [
        ("service", "batman", None, "/service/batman/"),
        ("/service", "batman", None, "/service/batman/"),
        ("/service/", "batman", None, "/service/batman/"),
        ("//a//b/", "batman", None, "/a/b/batman/"),
        ("", "batman", None, "/batman/"),
        ("/", "batman", None, "/batman/"),
        ("service", "batman", 0, "/service/batman/0/"),
        ("service", "batman", 12, "/service/batman/12/"),
    ],
)
def test_prefix(namespace: str, scope: str, group: int | None, then: str) -> None:
    assert cluster_prefix(namespace, scope, group) == then


def test_member_key_is_literal() -> None:
    assert member_key(PREFIX, "Node-1.é") == "/service/batman/members/Node-1.é"


def test_a_standby_publishes_the_bytes_of_the_contract() -> None:
    publication = Publication(
        conn_url="postgres://10.0.0.12:5432/postgres",
        api_url="http://10.0.0.12:8008/patroni",
        state=PostgresState.RUNNING,
        role=Role.REPLICA,
        version="4.1.4",
        tags={"clonefrom": True, "rack": "b"},
        lsn=Lsn(83886432),
        replay_lsn=Lsn(83886432),
        receive_lsn=Lsn(83886432),
        replication_state="streaming",
        timeline=Timeline(3),
    )
    assert member_value(publication) == STANDBY


def test_a_primary_publishes_the_bytes_of_the_contract() -> None:
    publication = Publication(
        conn_url="postgres://10.0.0.11:5432/postgres",
        api_url="https://10.0.0.11:8008/patroni",
        state=PostgresState.RUNNING,
        role=Role.PRIMARY,
        version="4.1.4",
        is_checkpoint_pending=True,
        pending_restart={"max_connections": {"old_value": "100", "new_value": "200"}},
        lsn=Lsn(83886592),
        timeline=Timeline(4),
    )
    assert member_value(publication) == PRIMARY


def test_fields_stand_in_the_order_of_the_contract() -> None:
    publication = Publication(
        conn_url="c",
        api_url="a",
        state=PostgresState.CREATING_REPLICA,
        role=Role.STANDBY_LEADER,
        version="4.1.4",
        proxy_url="p",
        is_checkpoint_pending=True,
        tags={"x": 1},
        pending_restart={},
        lsn=Lsn(1),
        replay_lsn=Lsn(2),
        receive_lsn=Lsn(3),
        replication_state="in archive recovery",
        timeline=Timeline(1),
        scheduled_restart={"schedule": "2031-05-04T03:30:00+00:00", "postmaster_start_time": None},
        is_paused=True,
    )
    assert member_value(publication) == (
        '{"conn_url":"c","api_url":"a","state":"creating replica","role":"standby_leader","version":"4.1.4","proxy_url":"p",'
        '"checkpoint_after_promote":false,"tags":{"x":1},"pending_restart":true,"xlog_location":1,"replay_lsn":2,'
        '"receive_lsn":3,"replication_state":"in archive recovery","timeline":1,'
        '"scheduled_restart":{"schedule":"2031-05-04T03:30:00+00:00","postmaster_start_time":null},"pause":true}'
    )


def test_a_member_that_only_starts() -> None:
    publication = Publication(conn_url="c", api_url="a", state=PostgresState.STOPPED, role=Role.UNINITIALIZED, version="4.1.4")
    assert (
        member_value(publication) == '{"conn_url":"c","api_url":"a","state":"stopped","role":"uninitialized","version":"4.1.4"}'
    )


def test_a_standby_is_read() -> None:
    member = member_from("pg2", STANDBY, SESSION)
    assert member == Member(
        name="pg2",
        conn_url="postgres://10.0.0.12:5432/postgres",
        api_url="http://10.0.0.12:8008/patroni",
        state=PostgresState.RUNNING,
        role=Role.REPLICA,
        version="4.1.4",
        tags=tags_from({"clonefrom": True, "rack": "b"}),
        lsn=Lsn(83886432),
        replay_lsn=Lsn(83886432),
        receive_lsn=Lsn(83886432),
        replication_state="streaming",
        timeline=Timeline(3),
        session=SESSION,
        published=member.published,
    )
    assert member.tags.clonefrom
    assert member.published["version"] == "4.1.4"
    assert member_from("pg1", PRIMARY, None).checkpoint_after_promote is False


@pytest.mark.parametrize("state", PostgresState)
@pytest.mark.parametrize("role", Role)
def test_every_state_and_role_comes_back(state: PostgresState, role: Role) -> None:
    publication = Publication(conn_url="c", api_url="a", state=state, role=role, version="4.1.4")
    member = member_from("a", member_value(publication), None)
    assert (member.state, member.role) == (state, role)


def test_an_old_primary_is_one() -> None:
    assert member_from("a", '{"role":"master"}', None).role is Role.PRIMARY


def test_the_form_before_json() -> None:
    text = "postgres://10.0.0.12:5432/postgres?application_name=http://10.0.0.12:8008/patroni"
    member = member_from("a", text, None)
    assert (member.conn_url, member.api_url) == ("postgres://10.0.0.12:5432/postgres", "http://10.0.0.12:8008/patroni")
    alone = member_from("a", "postgres://10.0.0.12:5432/postgres", None)
    assert (alone.conn_url, alone.api_url) == ("postgres://10.0.0.12:5432/postgres", None)


@pytest.mark.parametrize(
    ("text", "conn_url"),
    [
        ('{"conn_kwargs":{"host":"h","port":5433}}', "postgres://h:5433/postgres"),
        ('{"conn_kwargs":{"host":"::1","port":"5433","dbname":"d"}}', "postgres://[::1]:5433/d"),
        ('{"conn_kwargs":{"port":5433}}', None),
        ('{"conn_kwargs":5}', None),
        ('{"conn_url":"u","conn_kwargs":{"host":"h"}}', "u"),
    ],
)
def test_conn_kwargs_stand_in(text: str, conn_url: str | None) -> None:
    assert member_from("a", text, None).conn_url == conn_url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "5",
        "[]",
        "null",
        "\0",
        "postgres://[",
        "[" * 100_000,
        '{"\\ud800":1}',
        '{"tags":[],"state":5,"role":[],"timeline":"x"}',
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_a_torn_value_is_a_member_without_data(text: str) -> None:
    member = member_from("a", text, SESSION)
    assert member == Member(name="a", session=SESSION, published=member.published)


def test_numbers_may_be_text() -> None:
    member = member_from("a", '{"timeline":"3","xlog_location":"5","replay_lsn":"0","pause":true}', None)
    assert (member.timeline, member.lsn, member.replay_lsn, member.is_paused) == (3, 5, None, True)


def test_an_empty_prefix_is_an_empty_cluster() -> None:
    empty = Snapshot(entries={}, revision=Revision(9), store_id="x")
    assert cluster_from(empty, PREFIX) == Cluster(revision=Revision(9), store_id="x")


def test_every_key_has_its_place() -> None:
    cluster = cluster_from(
        a_snapshot(
            leader="pg1",
            members__pg1=PRIMARY,
            members__pg2=STANDBY,
            initialize="7358219046127743210",
            config='{"ttl":30}',
            status='{"optime":5}',
            failover='{"member":"pg2"}',
            sync='{"leader":"pg1","quorum":0,"sync_standby":null}',
            history="[]",
            failsafe='{"pg1":"http://a"}',
        ),
        PREFIX,
    )
    assert cluster.leader == Leader(
        name="pg1", incarnation=Incarnation("i1"), token=Token("t1"), revision=Revision(1), session=SESSION
    )
    assert list(cluster.members) == ["pg1", "pg2"]
    assert (cluster.system_id, cluster.initialize_token) == ("7358219046127743210", Token("t4"))
    assert cluster.config == DynamicConfig(values={"ttl": 30}, token=Token("t5"))
    assert cluster.status == Status(lsn=Lsn(5))
    assert cluster.failover is not None
    assert cluster.failover.token == cluster.failover_token == Token("t7")
    assert cluster.sync == SyncState(leader="pg1", token=Token("t8"))
    assert cluster.history.cluster_timeline == 1
    assert cluster.failsafe == {"pg1": "http://a"}
    assert (cluster.revision, cluster.store_id) == (9, "x")


def test_tokens_outlive_what_they_say() -> None:
    cluster = cluster_from(a_snapshot(failover="{}", sync="torn", config="torn"), PREFIX)
    assert (cluster.failover, cluster.failover_token) == (None, Token("t1"))
    assert cluster.sync == SyncState(token=Token("t2"))
    assert cluster.config == DynamicConfig(values=None, token=Token("t3"))


def test_the_leader_key() -> None:
    assert cluster_from(a_snapshot(leader=""), PREFIX).leader is None
    alone = cluster_from(a_snapshot(leader="pg9"), PREFIX)
    assert (alone.leader_name, alone.members) == ("pg9", {})


def test_the_old_position_stands_in() -> None:
    assert cluster_from(a_snapshot(optime__leader="5"), PREFIX).status == Status(lsn=Lsn(5))
    assert cluster_from(a_snapshot(optime__leader="5", status='{"optime":6}'), PREFIX).status == Status(lsn=Lsn(6))
    assert cluster_from(a_snapshot(optime__leader="x"), PREFIX).status == Status()


def test_what_is_not_of_the_cluster_is_ignored() -> None:
    snapshot = a_snapshot(initialize="", whatever="1", members__a="{}", members__a__b="{}", members="x", members__="x")
    foreign = Entry(
        key="/service/batman2/leader", value="x", token=Token("t"), incarnation=Incarnation("i"), revision=None, session=None
    )
    entries = {**snapshot.entries, foreign.key: foreign}
    cluster = cluster_from(Snapshot(entries=entries, revision=None), PREFIX)
    assert cluster == Cluster(initialize=Initialize.RUNNING, initialize_token=Token("t1"), members={"a": cluster.members["a"]})
