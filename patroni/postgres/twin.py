"""Is the leader's timeline of a number the one that we have? Postgres itself compares numbers only.

Two servers that were promoted without knowing of each other take the same number. A standby of one of them would stream from
the other, over what it has, without a word or until a record does not fit; pg_rewind says "no rewind required". So what only
one history can have is compared: the switch points before the timeline, from both history files, then the WAL's bytes before
the end of ours, which are the same to the letter on every server of one history.

A file of WAL may hold zeros, or what it held before it was recycled, wherever nobody has written yet: a standby that has just
asked for a timeline, and streams it from the begin of the segment, differs from its leader in the most innocent way. Hence
bytes count only where both sides have written them for certain: ours on a server that is down, before the end that its control
data tell, and whole in records whose checksums hold; theirs on a primary that is on this very timeline, before what it has
flushed. Each page must name its place and timeline. All else is unknown, and proves nothing.
"""

from __future__ import annotations

import logging
import os
import re
import struct

from patroni.decision.cluster import HistoryRow, Timeline, Twin
from patroni.decision.node import Process
from patroni.postgres.call import Call
from patroni.postgres.control_data import lsn, lsn_text, read_words
from patroni.postgres.history import local_rows
from patroni.postgres.look import look_at_processes
from patroni.postgres.request import OwnTimeline, OwnWal, PostgresError, PostgresTimeout, ReadOwnTimeline, RemoteHistory
from patroni.postgres.server import Server
from patroni.postgres.session import Session
from patroni.postgres.tool import C_LOCALE

logger = logging.getLogger(__name__)

_WINDOW_BYTES = 16384  # two pages or more, so that a record begins in it
_PAGE_HEADER = struct.Struct("=HHIQ")  # magic, flags, timeline, address: in the order of bytes of all servers of one cluster


def read_own_timeline(server: Server, call: Call, request: ReadOwnTimeline) -> OwnTimeline:
    """Read what the data directory has of a timeline; its WAL only while nothing runs there."""
    timeline = request.timeline
    rows = local_rows(server, timeline)
    wal = None
    try:
        if look_at_processes(server) is Process.DOWN:
            wal = _own_wal(server, call, request, rows[-1].lsn if rows else 0)
    except PostgresTimeout:
        raise
    except (PostgresError, OSError, KeyError, ValueError) as error:
        logger.info("the own WAL of timeline %s can't be compared: %s", timeline, error)
    return OwnTimeline(timeline=timeline, rows=rows, wal=wal)


def twin(call: Call, session: Session, own: OwnTimeline, theirs: RemoteHistory) -> Twin:
    """Compare our timeline, up to where we have it, with the one of this number in the history of a primary.

    session: an SQL session of it, as a user that may read its files (the rewind user may).
    """
    timeline = own.timeline
    if timeline != theirs.timeline and all(row.timeline != timeline for row in theirs.rows):
        return Twin.UNKNOWN  # it never had such a number
    mine, their_rows = _switches(own.rows, timeline), _switches(theirs.rows, timeline)
    if mine and mine != their_rows:
        return Twin.BY_BEGIN
    if own.wal is None or timeline != theirs.timeline:
        return Twin.UNKNOWN
    try:
        return _compared_wal(call, session, timeline, own.wal)
    except PostgresTimeout:
        raise
    except PostgresError as error:
        logger.info("whether timeline %s is the leader's is not known: %s", timeline, error)
        return Twin.UNKNOWN


def _switches(rows: tuple[HistoryRow, ...], timeline: Timeline) -> list[tuple[int, int]]:
    return [(row.timeline, row.lsn) for row in rows if row.timeline < timeline]


def _own_wal(server: Server, call: Call, request: ReadOwnTimeline, switch_lsn: int) -> OwnWal | None:
    """Return the last whole records before the end, as pg_waldump can read them; it fails where one is not whole."""
    words = read_words(server, call)
    segment_bytes = int(words["Bytes per WAL segment"])
    number = (request.until_lsn - 1) // segment_bytes
    window_lsn = max(number * segment_bytes, switch_lsn, request.until_lsn - _WINDOW_BYTES)
    if window_lsn >= request.until_lsn:
        return None  # nothing of it is ours
    high, low = divmod(number, (1 << 32) // segment_bytes)
    name = f"{request.timeline:08X}{high:08X}{low:08X}"
    os.stat(server.path("pg_wal", name))  # pg_waldump would wait for 5 s for a file that is not there
    span = ["-s", lsn_text(window_lsn), "-e", lsn_text(request.until_lsn)]
    tool = [server.binaries().path("pg_waldump"), "-p", server.path("pg_wal"), "-t", str(request.timeline)]
    first = re.search(r"lsn: ([0-9A-F]+/[0-9A-F]+),", server.tools.require(call, [*tool, *span], C_LOCALE))
    if first is None:
        return None
    begin_lsn = lsn(first[1])
    offset = begin_lsn - number * segment_bytes
    with open(server.path("pg_wal", name), "rb") as file:
        file.seek(offset)
        content = file.read(request.until_lsn - begin_lsn)
    page_bytes = int(words["WAL block size"])
    return OwnWal(segment=name, offset=offset, begin_lsn=begin_lsn, page_bytes=page_bytes, content=content)


def _compared_wal(call: Call, session: Session, timeline: Timeline, own: OwnWal) -> Twin:
    query = "SELECT pg_current_wal_flush_lsn() - '0/0', pg_read_binary_file(%s, %s, %s, true)"
    [(flushed, theirs)] = session.run(call, query, (f"pg_wal/{own.segment}", own.offset, len(own.content)))
    if theirs is None:
        return Twin.UNKNOWN  # removed already
    length = min(len(own.content), len(theirs), int(flushed) - own.begin_lsn)
    return verdict(timeline, own, own.content[: max(0, length)], bytes(theirs[: max(0, length)]))


def verdict(timeline: Timeline, own: OwnWal, mine: bytes, theirs: bytes) -> Twin:
    """Compare what both have written, unless a page on either side is not what it should be. mine: our part of this length."""
    if not mine or not all(_is_written(timeline, own, content) for content in (mine, theirs)):
        return Twin.UNKNOWN
    return Twin.NONE if mine == theirs else Twin.BY_WAL


def _is_written(timeline: Timeline, own: OwnWal, content: bytes) -> bool:
    """Return whether each page that begins in there names its place and timeline: a recycled file does not."""
    first = -own.begin_lsn % own.page_bytes
    for at in range(first, len(content) - _PAGE_HEADER.size + 1, own.page_bytes):
        _, _, page_timeline, address = _PAGE_HEADER.unpack_from(content, at)
        if (page_timeline, address) != (timeline, own.begin_lsn + at):
            return False
    return True
