"""What pg_control says, where a shutdown ended, and recovery in single-user mode."""

from __future__ import annotations

import os

import pytest

from patroni.decision.node import ClusterState, Process
from patroni.postgres import request as pg
from patroni.postgres.control_data import lsn, lsn_text, record_end
from patroni.postgres.request import PostgresError, StopMode
from tests.postgres.conftest import MakeNode
from tests.postgres.node import LIMIT_S, Node


def test_control_data_follows_a_primary(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    node.copy_of(template)
    control = node.files().control
    assert control is not None and control.cluster_state is ClusterState.SHUT_DOWN
    assert control.timeline == 1 and control.can_rewind and control.minimum_recovery_lsn is None
    assert control.previous_lsn == control.checkpoint_lsn
    assert control.checkpoint_end_lsn is not None and 0 < control.checkpoint_end_lsn - control.checkpoint_lsn < 256
    assert node.files().control == control

    node.start(is_standby=False)
    running = node.files().control
    assert running is not None and running.cluster_state is ClusterState.IN_PRODUCTION
    assert running.checkpoint_end_lsn is None
    node.sql("SELECT pg_switch_wal()")
    node.do(pg.RunCheckpoint(within_s=LIMIT_S))
    later = node.files().control
    assert later is not None and later.checkpoint_lsn > running.checkpoint_lsn


def test_a_switch_before_the_shutdown_checkpoint_counts_as_published(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    node.copy_of(template)
    node.change(local_parameters={**node.config.local_parameters, "archive_mode": "on", "archive_command": "true"})
    node.start(is_standby=False)
    node.sql("CREATE TABLE t ()")
    node.stop()
    control = node.files().control
    assert control is not None and control.previous_lsn is not None
    assert control.previous_lsn < control.checkpoint_lsn


def test_a_crashed_server_recovers_in_single_user_mode(primary: Node) -> None:
    primary.sql("CREATE TABLE t AS SELECT 1 AS a")
    with pytest.raises(PostgresError, match="something still runs on"):
        primary.do(pg.RunSingleUser())
    primary.sql("SELECT pg_switch_wal()")
    primary.stop(StopMode.IMMEDIATE)
    (primary.data_dir / "standby.signal").touch()
    archive = primary.directory / "archive"
    archive.mkdir()
    status = primary.data_dir / "pg_wal" / "archive_status"
    segment = min(path.name for path in (primary.data_dir / "pg_wal").glob("0000*"))
    (status / f"{segment}.ready").touch()
    command = {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}
    primary.change(local_parameters={**primary.config.local_parameters, **command})
    primary.do(pg.RunSingleUser())
    assert [path.name for path in archive.iterdir()] == [segment]
    files = primary.files()
    assert files.process is Process.DOWN and not files.has_recovery_signal
    assert files.control is not None and files.control.cluster_state is ClusterState.SHUT_DOWN
    primary.start(is_standby=False)
    assert primary.sql("SELECT a FROM t") == [(1,)]


def test_a_pid_that_was_not_reaped_yet_hinders_no_start(make_node: MakeNode, template: Node) -> None:
    """A killed postmaster stays a zombie until somebody reaps it; or its number names a stranger by now."""
    node = make_node("a")
    node.copy_of(template)
    (node.data_dir / "postmaster.pid").write_text(f"{os.getppid()}\n{node.data_dir}\n")
    socket_lock = node.directory / f".s.PGSQL.{node.config.port}.lock"
    socket_lock.write_text(f"{os.getppid()}\n{node.data_dir}\n")
    node.do(pg.RunSingleUser())
    assert not (node.data_dir / "postmaster.pid").exists()
    node.start(is_standby=False)


def test_control_data_that_cannot_be_read_is_said(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    node.copy_of(template)
    (node.data_dir / "global" / "pg_control").unlink()
    files = node.files()
    assert files.control is None
    assert files.detail == f"{node.data_dir}/global/pg_control: No such file or directory"


@pytest.mark.parametrize(
    ("start", "length", "end"),
    [
        pytest.param("0/1500028", 114, "0/15000A0", id="aligned to 8"),
        pytest.param("0/1501F80", 128, "0/1502000", id="up to a page's end"),
        pytest.param("0/1501F88", 128, "0/1502020", id="over a page's end: its header counts"),
        pytest.param("0/1FFFFF8", 114, "0/2000098", id="over a segment's end: its long header counts"),
        pytest.param("0/1501F88", 16384, "0/1505FB8", id="over several pages"),
    ],
)
def test_where_a_record_ends(start: str, length: int, end: str) -> None:
    assert lsn_text(record_end(lsn(start), length, 8192, 16 << 20)) == end
