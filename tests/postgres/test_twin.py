"""Two timelines of one number are told apart by what only one history can have: real servers, each promoted by itself."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from patroni.decision.cluster import Timeline, Twin
from patroni.decision.rewind import controlled
from patroni.postgres import request as pg
from patroni.postgres.twin import verdict
from tests.postgres.conftest import MakeNode
from tests.postgres.node import Node

SECOND = Timeline(2)
SEGMENT_BYTES = 1 << 20


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
    local = controlled(control) if control is not None else None
    assert local is not None
    return local.known[1]


def compared(node: Node, leader: Node, timeline: Timeline = SECOND, end: int | None = None) -> Twin:
    """Return what a stopped node finds that asks the leader. end: of its history; None: as its control data say."""
    end = end_of(node) if end is None else end
    return said_by(leader, node, node.do(pg.ReadOwnTimeline(timeline, end)))


def said_by(leader: Node, node: Node, own: pg.OwnTimeline) -> Twin:
    return node.do(pg.AskRemoteHistory(leader.url, own)).twin


def test_promoted_at_the_same_position_they_differ_in_their_wal(primary: Node, standbys: tuple[Node, Node]) -> None:
    first, second = standbys
    primary.stop()
    first.promote()
    second.promote()
    assert first.do(pg.ReadLocalHistory(SECOND))[0].lsn == second.do(pg.ReadLocalHistory(SECOND))[0].lsn
    first.stop()
    assert compared(first, second) is Twin.BY_WAL
    assert compared(primary, second, Timeline(1)) is Twin.UNKNOWN  # the leader left it: its file may be there in part only


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
    assert compared(second, first, end=seen.replay_lsn) is Twin.UNKNOWN  # it runs
    second.stop()
    assert compared(second, first) is Twin.NONE


def slow_link(target: int, until: threading.Event) -> int:
    """Serve on a port that is returned a link to another one, slow towards the client."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket, size: int, pause_s: float) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(size):
                sink.sendall(data)
                until.wait(pause_s)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", target))
                threading.Thread(target=pump, args=(client, server, 65536, 0.0), daemon=True).start()
                threading.Thread(target=pump, args=(server, client, 32768, 0.05), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def test_a_standby_that_has_part_of_the_segment_only_is_no_twin(primary: Node, standbys: tuple[Node, Node]) -> None:
    """Its receiver names the new timeline at once, and begins with the segment, behind what is replayed: that is zeros then."""
    first, second = standbys
    primary.sql("SELECT pg_switch_wal()")
    primary.sql("CREATE TABLE big AS SELECT repeat('x', 900) AS a, generate_series(1, 850) AS b")
    for node in standbys:
        node.wait_for_stream(primary)
    primary.stop()
    first.promote()
    until = threading.Event()
    upstream = replace(first.upstream, port=slow_link(first.config.port, until))
    second.do(pg.WriteConfiguration(is_standby=True, upstream=upstream))
    second.do(pg.Reload())
    answers: list[tuple[bool, Twin]] = []
    deadline_s = time.monotonic() + 30.0
    while not (answers and wal_of(second) == wal_of(first)) and time.monotonic() < deadline_s:
        seen = second.monitoring()
        if seen.timeline == SECOND:
            assert seen.replay_lsn is not None
            answers.append((wal_of(second) != wal_of(first), compared(second, first, end=seen.replay_lsn)))
    until.set()
    assert {said for _, said in answers} == {Twin.UNKNOWN}
    assert any(is_partial for is_partial, _ in answers), "nothing was seen in the making"


def wal_of(node: Node) -> list[bytes]:
    """Return the WAL of the second timeline before where it begins, which both will have."""
    end = node.do(pg.ReadLocalHistory(SECOND))[0].lsn % SEGMENT_BYTES
    return [path.read_bytes()[:end] for path in sorted((node.data_dir / "pg_wal").glob("00000002*[0-9A-F]"))[:1]]


def test_of_a_stopped_standby_that_has_part_only_nothing_is_judged(primary: Node, standbys: tuple[Node, Node]) -> None:
    """Zeros, or what a recycled file held before: no record is whole there, and no page is at its place."""
    first, second = standbys
    primary.stop()
    first.promote()
    second.do(pg.WriteConfiguration(is_standby=True, upstream=first.upstream))
    second.do(pg.Reload())
    second.wait_for_stream(first)
    first.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
    second.wait_for_stream(first)
    second.stop()
    end = end_of(second)
    path = second.data_dir / "pg_wal" / f"{SECOND:08X}{0:08X}{end // SEGMENT_BYTES:08X}"
    for tail in (bytes(4000), path.read_bytes()[:4000]):
        with path.open("r+b") as file:
            file.seek(end % SEGMENT_BYTES - 4000)
            file.write(tail)
        assert compared(second, first, end=end) is Twin.UNKNOWN


def test_beyond_what_the_leader_has_flushed_nothing_is_compared(primary: Node, standbys: tuple[Node, Node]) -> None:
    """There its file holds zeros, or another one's WAL."""
    first, second = standbys
    primary.stop()
    first.promote()
    second.promote()
    first.sql("CREATE TABLE t AS SELECT generate_series(1, 20000) AS a")
    first.stop()
    own = first.do(pg.ReadOwnTimeline(SECOND, end_of(first)))
    assert own.wal is not None
    flushed = int(second.sql("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")[0][0])
    assert own.wal.begin_lsn > flushed
    assert said_by(second, first, own) is Twin.UNKNOWN
    second.sql("CREATE TABLE t AS SELECT generate_series(1, 40000) AS a")
    assert said_by(second, first, own) is Twin.BY_WAL


def test_a_page_says_where_it_belongs() -> None:
    page = struct.pack("=HHIQI", 0xD110, 0, 2, 0x3002000, 0) + b"x" * 100
    own = pg.OwnWal(segment="", offset=0, begin_lsn=0x3001FF8, page_bytes=8192, content=b"before. " + page)
    mine, other = own.content, b"before. " + page[:-1] + b"y"
    assert verdict(SECOND, own, mine, mine) is Twin.NONE
    assert verdict(SECOND, own, mine, other) is Twin.BY_WAL
    assert verdict(SECOND, own, b"", b"") is Twin.UNKNOWN
    assert verdict(Timeline(3), own, mine, other) is Twin.UNKNOWN
    for wrong in (b"before. " + bytes(len(page)), other.replace(b"\x20\x00\x03", b"\x20\x00\x02")):
        assert verdict(SECOND, own, mine, wrong) is Twin.UNKNOWN
        assert verdict(SECOND, own, wrong, mine) is Twin.UNKNOWN


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
    assert first.do(pg.ReadOwnTimeline(SECOND, end)).wal is None
    assert compared(first, second, end=end) is Twin.UNKNOWN


def test_nothing_is_compared_unasked_or_with_a_standby(primary: Node, standbys: tuple[Node, Node]) -> None:
    first, second = standbys
    assert first.do(pg.AskRemoteHistory(primary.url)).twin is Twin.UNKNOWN
    said = first.do(pg.AskRemoteHistory(second.url, pg.OwnTimeline(timeline=Timeline(1), rows=(), wal=None)))
    assert (said.is_primary, said.twin) == (False, Twin.UNKNOWN)
