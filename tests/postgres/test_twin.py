"""Two timelines of one number are told apart by what only one history can have: real servers, each promoted by itself."""

from __future__ import annotations

import pytest

from patroni.decision.cluster import Timeline, Twin
from patroni.postgres import request as pg
from tests.postgres.conftest import MakeNode
from tests.postgres.node import Node

SECOND = Timeline(2)


@pytest.fixture
def standbys(primary: Node, make_node: MakeNode) -> tuple[Node, Node]:
    """Return two standbys that have replayed the same."""
    nodes = make_node("b"), make_node("c")
    for node in nodes:
        node.do(pg.BaseBackup(primary.url))
        node.start(is_standby=True, upstream=primary)
    for node in nodes:
        node.wait_for_stream(primary)
    return nodes


def end_of(node: Node) -> int:
    """Return where the history of a stopped node ends."""
    control = node.files().control
    assert control is not None
    end = control.checkpoint_end_lsn or control.minimum_recovery_lsn
    assert end is not None
    return end


def compared(node: Node, leader: Node, timeline: Timeline = SECOND, end: int | None = None) -> Twin:
    """Return what a stopped node finds that asks the leader. end: of its history; None: as its control data say."""
    end = end_of(node) if end is None else end
    return node.do(pg.AskRemoteHistory(leader.url, (timeline, end))).twin


def test_promoted_at_the_same_position_they_differ_in_their_wal(primary: Node, standbys: tuple[Node, Node]) -> None:
    first, second = standbys
    primary.stop()
    first.promote()
    second.promote()
    assert first.do(pg.ReadLocalHistory(SECOND))[0].lsn == second.do(pg.ReadLocalHistory(SECOND))[0].lsn
    first.stop()
    assert compared(first, second) is Twin.BY_WAL
    assert compared(primary, second, Timeline(1)) is Twin.NONE  # both have all of it


def test_promoted_at_different_positions_they_differ_in_their_begin(primary: Node, standbys: tuple[Node, Node]) -> None:
    first, second = standbys
    first.stop()
    primary.sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS a")
    second.wait_for_stream(primary)
    primary.stop()
    first.start(is_standby=True)
    first.promote()
    second.promote()
    first.stop()
    assert compared(first, second) is Twin.BY_BEGIN


def test_a_standby_on_the_leaders_timeline_is_no_twin(primary: Node, standbys: tuple[Node, Node]) -> None:
    first, second = standbys
    primary.stop()
    first.promote()
    second.do(pg.WriteConfiguration(is_standby=True, upstream=first.upstream))
    second.do(pg.Reload())
    second.wait_for_stream(first)
    first.sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS a")
    second.wait_for_stream(first)
    seen = second.monitoring()
    assert seen.replay_lsn is not None and seen.timeline == SECOND
    assert second.do(pg.AskRemoteHistory(first.url, (SECOND, seen.replay_lsn))).twin is Twin.NONE
    second.stop()
    assert compared(second, first) is Twin.NONE


def test_what_is_not_there_proves_nothing(primary: Node, standbys: tuple[Node, Node]) -> None:
    first, second = standbys
    primary.stop()
    first.promote()
    second.promote()
    first.stop()
    assert compared(first, second, Timeline(3)) is Twin.UNKNOWN  # the leader never had it
    for path in (second.data_dir / "pg_wal").glob("00000002*[0-9A-F]"):
        path.rename(path.with_name(f"{path.name}.away"))
    assert compared(first, second) is Twin.UNKNOWN
    end = end_of(first)
    for path in (first.data_dir / "pg_wal").glob("00000002*[0-9A-F]"):
        path.unlink()
    assert compared(first, second, end=end) is Twin.UNKNOWN


def test_nothing_is_compared_unasked_or_with_a_standby(primary: Node, standbys: tuple[Node, Node]) -> None:
    first, second = standbys
    assert first.do(pg.AskRemoteHistory(primary.url)).twin is Twin.UNKNOWN
    said = first.do(pg.AskRemoteHistory(second.url, (Timeline(1), 1)))
    assert (said.is_primary, said.twin) == (False, Twin.UNKNOWN)
