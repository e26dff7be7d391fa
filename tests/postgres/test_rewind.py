"""What lies beside a data directory that is being rewound, and what is refused where a rewind was cut short: real servers."""

from __future__ import annotations

import os
import time

import pytest

from patroni.decision.cluster import SlotName
from patroni.decision.node import ClusterState, DataDirectory
from patroni.postgres import request as pg
from patroni.postgres.driver import Driver
from patroni.postgres.request import PostgresError, StopMode
from tests.postgres.conftest import MakeNode
from tests.postgres.node import LIMIT_S, Node


@pytest.fixture
def leader(primary: Node, make_node: MakeNode) -> Node:
    """Return a server that was promoted while the old primary went on writing; that one is killed."""
    node = make_node("b")
    primary.do(pg.ChangeSlots(create=(SlotName("b"),), drop=()))
    node.do(pg.BaseBackup(primary.url))
    node.start(is_standby=True, upstream=primary, slot="b")
    node.wait_for_stream(primary)
    node.promote()
    primary.sql("CREATE TABLE lost AS SELECT generate_series(1, 1000)")
    node.sql("CREATE TABLE kept AS SELECT 1 AS a")
    node.do(pg.RunCheckpoint(within_s=LIMIT_S))
    primary.stop(StopMode.IMMEDIATE)
    return node


@pytest.fixture
def torn(primary: Node, leader: Node) -> Node:
    """Return the old primary after a pg_rewind that failed in the middle: one of the files to copy can't be written."""
    stubborn = primary.data_dir / "global" / "pg_filenode.map"
    stubborn.chmod(0o400)
    with pytest.raises(PostgresError, match=r"pg_filenode\.map"):
        primary.do(pg.RunRewind(leader.url))
    stubborn.chmod(0o600)
    return primary


def test_a_rewind_that_succeeds_leaves_no_mark(primary: Node, leader: Node) -> None:
    primary.do(pg.RunRewind(leader.url))
    assert not primary.files().is_torn
    assert os.listdir(primary.directory).count("data.rewinding") == 0
    primary.start(is_standby=True, upstream=leader)
    assert primary.sql("SELECT a FROM kept") == [(1,)]


def test_a_rewind_cut_short_is_never_started_nor_repeated_not_even_by_a_new_agent(torn: Node, leader: Node) -> None:
    anew = Driver(torn.config, time.monotonic)
    try:
        assert anew.perform(pg.ReadFiles(), LIMIT_S).is_torn
        anew.perform(pg.WriteConfiguration(is_standby=True, upstream=leader.upstream), LIMIT_S)
        with pytest.raises(PostgresError, match="cut short"):
            anew.perform(pg.Launch(), LIMIT_S)
        with pytest.raises(PostgresError, match="cut short"):
            anew.perform(pg.RunSingleUser(), LIMIT_S)
        with pytest.raises(PostgresError, match="cut short"):
            anew.perform(pg.RunRewind(leader.url), LIMIT_S)
    finally:
        anew.close()
    assert torn.files().postmaster_pid is None


def test_a_clone_replaces_it(torn: Node, leader: Node) -> None:
    torn.do(pg.RemoveDataDirectory())
    assert torn.files().data_directory is DataDirectory.EMPTY
    torn.do(pg.BaseBackup(leader.url))
    assert not torn.files().is_torn
    torn.start(is_standby=True, upstream=leader)
    torn.wait_for_stream(leader)
    assert torn.sql("SELECT a FROM kept") == [(1,)]


def test_a_removal_that_is_cut_short_is_as_good_as_empty(torn: Node, leader: Node) -> None:
    (torn.directory / "data.incomplete").write_text(str(torn.data_dir.stat().st_ino))
    (torn.data_dir / "PG_VERSION").unlink()
    assert torn.files().data_directory is DataDirectory.EMPTY
    torn.do(pg.BaseBackup(leader.url))
    assert torn.files().data_directory is DataDirectory.PRESENT and not torn.files().is_torn


@pytest.mark.parametrize("text", ["", "no number", None])
def test_a_mark_that_names_nobody_counts_and_one_of_another_directory_does_not(primary: Node, text: str | None) -> None:
    mark = primary.directory / "data.rewinding"
    mark.write_text(str(primary.data_dir.stat().st_ino) if text is None else text)
    assert primary.files().is_torn
    mark.write_text("1")
    assert not primary.files().is_torn


def test_what_keeps_a_rewind_from_beginning_leaves_the_directory_as_it_was(primary: Node, leader: Node) -> None:
    primary.change(rewind_options=["nonsense"])
    with pytest.raises(PostgresError, match="pg_rewind failed"):
        primary.do(pg.RunRewind(leader.url))
    files = primary.files()
    assert not files.is_torn
    assert files.control is not None and files.control.cluster_state is ClusterState.SHUT_DOWN
    primary.start(is_standby=False)
    assert primary.sql("SELECT count(*) FROM lost") == [(1000,)]


def test_without_its_mark_nothing_is_begun(primary: Node, leader: Node) -> None:
    primary.change(pgpass=str(leader.directory / "pgpass"))
    primary.directory.chmod(0o500)
    try:
        with pytest.raises(PostgresError, match=r"cannot write .*data\.rewinding"):
            primary.do(pg.RunRewind(leader.url))
    finally:
        primary.directory.chmod(0o700)
    assert not primary.files().is_torn
    primary.start(is_standby=False)
