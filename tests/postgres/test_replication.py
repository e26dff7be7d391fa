"""Clone, stream, promote, follow, rewind: two real servers at a time."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator

import pytest

from patroni.decision.cluster import SlotName
from patroni.decision.node import ClusterState, DataDirectory, Process
from patroni.postgres import process
from patroni.postgres import request as pg
from patroni.postgres.call import Call
from patroni.postgres.request import PostgresError, StopMode
from patroni.postgres.session import connect
from tests.postgres.conftest import MakeNode
from tests.postgres.node import LIMIT_S, Node
from tests.support.waiting import wait_until

SHORT_S = 0.3


@pytest.fixture
def standby(primary: Node, make_node: MakeNode) -> Node:
    """Return a standby that streams from the primary through a slot."""
    node = make_node("b")
    primary.do(pg.ChangeSlots(create=(SlotName("b"),), drop=()))
    node.do(pg.BaseBackup(primary.url))
    node.start(is_standby=True, upstream=primary, slot="b")
    node.wait_for_stream(primary)
    return node


def test_a_clone_streams_and_both_say_so(primary: Node, standby: Node) -> None:
    primary.sql("CREATE TABLE t AS SELECT 1 AS a")
    standby.wait_for_stream(primary)
    assert standby.sql("SELECT a FROM t") == [(1,)]

    seen = standby.monitoring()
    assert seen.is_in_recovery and seen.timeline == 1 and not seen.is_replay_paused
    assert seen.lsn == max(seen.receive_lsn or 0, seen.replay_lsn or 0) >= primary.monitoring().lsn
    assert seen.upstream is not None
    assert (seen.upstream.host, seen.upstream.port, seen.upstream.slot) == ("127.0.0.1", primary.config.port, "b")
    assert seen.replication_state == "streaming" and seen.walreceiver_pid in process.children(standby.postmaster_pid())
    assert seen.server_version // 10000 == standby.files().major
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d", seen.postmaster_start_time)
    assert standby.do(pg.ReadLocalTimeline()) == 1

    seen = primary.monitoring()
    assert not seen.is_in_recovery and seen.timeline == 1 and seen.upstream is None and seen.replay_lsn is None
    assert [(slot.name, slot.is_physical, slot.is_active) for slot in seen.slots] == [("b", True, True)]
    assert [(sender.application_name, sender.state, sender.sync_state) for sender in seen.walsenders] == [
        ("b", "streaming", "async")
    ]
    assert seen.replication == (
        {
            "usename": "replicator",
            "application_name": "b",
            "client_addr": "127.0.0.1",
            "state": "streaming",
            "sync_state": "async",
            "sync_priority": 0,
        },
    )
    assert standby.files().has_recovery_signal and not primary.files().has_recovery_signal


@pytest.fixture
def foreign_password() -> Iterator[None]:
    """Be started from a terminal in which somebody has exported the password of another user, as for psql."""
    before = os.environ.get("PGPASSWORD")
    os.environ["PGPASSWORD"] = "not the replicator's"
    yield
    del os.environ["PGPASSWORD"]
    if before is not None:
        os.environ["PGPASSWORD"] = before


@pytest.mark.usefixtures("foreign_password")
def test_a_password_of_the_terminal_does_not_beat_the_password_file(primary: Node, standby: Node) -> None:
    primary.sql("CREATE TABLE t AS SELECT 1 AS a")
    standby.wait_for_stream(primary)
    assert standby.sql("SELECT a FROM t") == [(1,)]


def test_slots_are_changed_without_complaint_about_what_is_so_already(primary: Node, standby: Node) -> None:
    names = (SlotName("b"), SlotName("c"))
    primary.do(pg.ChangeSlots(create=names, drop=()))
    primary.do(pg.ChangeSlots(create=(), drop=(SlotName("c"), SlotName("never"))))
    assert [slot.name for slot in primary.monitoring().slots] == ["b"]
    with pytest.raises(PostgresError, match='slot "b" is active'):
        primary.do(pg.ChangeSlots(create=(SlotName("d"),), drop=(SlotName("b"),)))
    assert sorted(slot.name for slot in primary.monitoring().slots) == ["b", "d"]


def test_a_standby_is_pointed_elsewhere_by_reload(primary: Node, standby: Node, make_node: MakeNode) -> None:
    third = make_node("c")
    third.do(pg.BaseBackup(primary.url))
    third.start(is_standby=True, upstream=primary)
    third.wait_for_stream(primary)
    pid = third.postmaster_pid()

    third.do(pg.WriteConfiguration(is_standby=True, upstream=standby.upstream))
    third.do(pg.Reload())
    wait_until(lambda: _streams_from(third, standby), LIMIT_S, "the new stream", third.log)
    assert third.postmaster_pid() == pid

    third.do(pg.WriteConfiguration(is_standby=True, upstream=None))
    third.do(pg.Reload())
    wait_until(lambda: third.monitoring().upstream is None, LIMIT_S, "no upstream", third.log)
    assert third.monitoring().replication_state is None


def test_a_reload_leaves_the_signal_file_alone(make_node: MakeNode, primary: Node) -> None:
    """It may come late, between the configuration of a demoted server and its start: that would be one as primary."""
    node = make_node("c")
    node.do(pg.BaseBackup(primary.url))
    node.do(pg.WriteConfiguration(is_standby=True))
    node.do(pg.WriteConfiguration(is_standby=False, is_running=True))
    assert node.files().has_recovery_signal
    node.do(pg.WriteConfiguration(is_standby=False))
    node.do(pg.WriteConfiguration(is_standby=True, is_running=True))
    assert not node.files().has_recovery_signal


def test_promotion_and_its_history(primary: Node, standby: Node) -> None:
    with pytest.raises(PostgresError, match="is no standby"):
        primary.do(pg.SignalPromote())
    primary.stop()
    end = primary.files().control
    standby.promote()

    seen = standby.monitoring()
    assert seen.timeline == 2 and seen.upstream is None
    rows = standby.do(pg.ReadLocalHistory(timeline=seen.timeline))
    assert [(row.timeline, row.reason) for row in rows] == [(1, "no recovery target specified")]
    assert end is not None and rows[0].lsn == end.checkpoint_end_lsn
    assert rows[0].timestamp is not None and re.fullmatch(r".*T.*[+-]\d\d:\d\d", rows[0].timestamp)
    assert primary.do(pg.ReadLocalHistory(timeline=seen.timeline)) == ()

    remote = primary.do(pg.AskRemoteHistory(standby.url))
    control = standby.files().control
    assert control is not None and remote.system_id == control.system_id
    assert remote.is_primary and remote.timeline == 2
    assert [(row.timeline, row.lsn) for row in remote.rows] == [(1, rows[0].lsn)]
    standby.do(pg.RunCheckpoint(within_s=LIMIT_S))
    wait_until(lambda: (read := standby.files().control) is not None and read.timeline == 2, LIMIT_S, "its checkpoint")

    # A clean shutdown that the standby received whole needs no rewind.
    primary.start(is_standby=True, upstream=standby)
    primary.wait_for_stream(standby)
    assert primary.monitoring().timeline == 2


def test_a_diverged_primary_is_rewound(primary: Node, standby: Node) -> None:
    standby.promote()
    primary.sql("CREATE TABLE lost AS SELECT generate_series(1, 1000)")
    standby.sql("CREATE TABLE kept AS SELECT 1 AS a")
    with pytest.raises(PostgresError, match="something still runs on"):
        primary.do(pg.RunRewind(standby.url))
    primary.stop(StopMode.IMMEDIATE)
    standby.do(pg.RunCheckpoint(within_s=LIMIT_S))

    primary.do(pg.RunRewind(standby.url))
    primary.start(is_standby=True, upstream=standby)
    primary.wait_for_stream(standby)
    assert primary.sql("SELECT a FROM kept") == [(1,)]
    assert primary.sql("SELECT to_regclass('lost')") == [(None,)]


def test_rewind_and_history_need_a_primary(primary: Node, standby: Node) -> None:
    assert not primary.do(pg.AskRemoteHistory(standby.url)).is_primary
    primary.stop()
    with pytest.raises(PostgresError, match="is in recovery"):
        primary.do(pg.RunRewind(standby.url))
    with pytest.raises(PostgresError, match="Connection refused"):
        standby.do(pg.AskRemoteHistory(primary.url))


def test_replay_goes_on_after_a_pause(primary: Node, standby: Node) -> None:
    standby.sql("SELECT pg_wal_replay_pause()")
    wait_until(lambda: standby.monitoring().is_replay_paused, LIMIT_S, "the pause")
    standby.do(pg.ResumeReplay())
    assert not standby.monitoring().is_replay_paused


def test_a_standby_starts_with_what_its_primary_had(primary: Node, standby: Node) -> None:
    primary.stop()
    primary.change(dynamic_parameters={"max_connections": "150"})
    primary.start(is_standby=False)
    wait_until(lambda: standby.monitoring().is_replay_paused, LIMIT_S, "the pause", standby.log)
    standby.do(pg.ResumeReplay())  # the server says: then it will shut down
    assert standby.do(pg.AwaitDown(within_s=LIMIT_S))
    standby.start(is_standby=True, upstream=primary)
    assert standby.sql("SHOW max_connections") == [("150",)]


def test_control_data_of_a_standby(primary: Node, standby: Node) -> None:
    control = standby.files().control
    assert control is not None and control.cluster_state is ClusterState.IN_ARCHIVE_RECOVERY
    standby.stop()
    control = standby.files().control
    assert control is not None and control.cluster_state is ClusterState.SHUT_DOWN_IN_RECOVERY
    assert control.minimum_recovery_lsn is not None and control.minimum_recovery_timeline == 1
    assert control.checkpoint_end_lsn is None and control.previous_lsn is None


def test_ending_backends_spares_the_physical_walsender(primary: Node, standby: Node) -> None:
    primary.do(pg.ReadMonitoring(is_for_rest=True))
    [sender] = primary.monitoring().walsenders
    backends = "SELECT pid FROM pg_stat_activity WHERE application_name = 'Patroni restapi'"
    [(backend,)] = primary.sql(backends)
    primary.do(pg.EndBackends())
    wait_until(lambda: backend not in process.children(primary.postmaster_pid()), LIMIT_S, "the backend's end")
    assert [one.pid for one in primary.monitoring().walsenders] == [sender.pid]


def test_a_logical_walsender_is_ended_too(primary: Node, standby: Node) -> None:
    primary.change(dynamic_parameters={"wal_level": "logical"})
    primary.stop()
    primary.start(is_standby=False)
    call = Call(LIMIT_S, primary.driver._server.now_s)
    words = {"host": str(primary.directory), "port": str(primary.config.port), "user": "postgres"}
    logical = connect(call, {**words, "dbname": "postgres", "replication": "database"})
    try:
        logical.run(call, "CREATE_REPLICATION_SLOT log TEMPORARY LOGICAL pgoutput")
        assert _walsenders(primary, "postgres") == 1
        primary.monitoring()
        primary.do(pg.EndBackends())
        wait_until(lambda: _walsenders(primary, "postgres") == 0, LIMIT_S, "the logical walsender's end")
        assert _walsenders(primary, "replicator") <= 1
    finally:
        logical.close()
        call.close()


def test_a_copy_that_fails_or_is_cancelled_leaves_nothing(primary: Node, make_node: MakeNode) -> None:
    node = make_node("b")
    node.change(basebackup=[{"max-rate": "32k"}, {"checkpoint": "fast"}])
    errors: list[PostgresError] = []

    def run() -> None:
        try:
            node.do(pg.BaseBackup(primary.url))
        except PostgresError as error:
            errors.append(error)

    job = threading.Thread(target=run)
    job.start()
    wait_until(lambda: node.data_dir.exists() and any(node.data_dir.iterdir()), LIMIT_S, "the copy to begin")
    node.driver.cancel()
    job.join(LIMIT_S)
    assert [str(error) for error in errors] == ["cancelled"]
    files = node.files()
    assert (files.data_directory, files.process) == (DataDirectory.EMPTY, Process.DOWN)


def test_a_removed_directory_is_empty_and_cloned_anew(primary: Node, standby: Node) -> None:
    with pytest.raises(PostgresError, match="something still runs on"):
        standby.do(pg.RemoveDataDirectory())
    standby.stop(StopMode.IMMEDIATE)
    standby.do(pg.RemoveDataDirectory())
    assert standby.files().data_directory is DataDirectory.EMPTY
    standby.do(pg.BaseBackup(primary.url))
    standby.start(is_standby=True, upstream=primary, slot="b")
    standby.wait_for_stream(primary)


def test_a_dead_disk_of_the_upstream_is_a_timeout(primary: Node, standby: Node) -> None:
    pid = primary.postmaster_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(PostgresError, match="no answer in time"):
            standby.do(pg.AskRemoteHistory(primary.url), SHORT_S)
    finally:
        os.kill(pid, signal.SIGCONT)


def _streams_from(node: Node, upstream: Node) -> bool:
    seen = node.monitoring()
    is_there = seen.upstream is not None and seen.upstream.port == upstream.config.port
    return is_there and seen.replication_state == "streaming"


def _walsenders(node: Node, user: str) -> int:
    titles = [process.title(pid) for pid in process.children(node.postmaster_pid())]
    return sum(f"walsender {user} " in title for title in titles)
