"""Is the leader's timeline of a number the one that we have? Postgres itself compares numbers only.

Two servers that were promoted without knowing of each other take the same number. A standby of one of them would stream from
the other, over what it has, without a word or until a record does not fit; pg_rewind says "no rewind required". So what only
one history can have is compared: the switch points before the timeline, from both history files, then the WAL's bytes before
the end of ours, which are the same to the letter on every server of one history. What is not there any more proves nothing.
"""

from __future__ import annotations

import logging

from patroni.decision.cluster import HistoryRow, Timeline, Twin
from patroni.postgres.call import Call
from patroni.postgres.control_data import read_words
from patroni.postgres.history import local_rows
from patroni.postgres.request import PostgresError, PostgresTimeout, RemoteHistory
from patroni.postgres.server import Server
from patroni.postgres.session import Session

logger = logging.getLogger(__name__)

_WINDOW_BYTES = 1024  # holds whole records, with their checksums and what points to the one before


def twin(server: Server, call: Call, session: Session, ours: tuple[Timeline, int], theirs: RemoteHistory) -> Twin:
    """Compare our timeline, up to where we have it, with the one of this number in the leader's history.

    session: an SQL session of the leader, as a user that may read its files (the rewind user may).
    """
    timeline, until_lsn = ours
    ended = next((row.lsn for row in theirs.rows if row.timeline == timeline), None)
    if ended is None and timeline != theirs.timeline:
        return Twin.UNKNOWN  # it never had such a number
    mine, their_rows = _switches(local_rows(server, timeline), timeline), _switches(theirs.rows, timeline)
    if mine and mine != their_rows:
        return Twin.BY_BEGIN
    try:
        return _compared_wal(server, call, session, timeline, until_lsn if ended is None else min(until_lsn, ended))
    except PostgresTimeout:
        raise
    except (PostgresError, OSError, KeyError, ValueError) as error:
        logger.info("whether timeline %s is the leader's is not known: %s", timeline, error)
        return Twin.UNKNOWN


def _switches(rows: tuple[HistoryRow, ...], timeline: Timeline) -> list[tuple[int, int]]:
    return [(row.timeline, row.lsn) for row in rows if row.timeline < timeline]


def _compared_wal(server: Server, call: Call, session: Session, timeline: Timeline, until_lsn: int) -> Twin:
    segment_bytes = int(read_words(server, call)["Bytes per WAL segment"])
    number, end = divmod(until_lsn - 1, segment_bytes)
    begin = max(0, end + 1 - _WINDOW_BYTES)
    high, low = divmod(number, (1 << 32) // segment_bytes)
    name = f"{timeline:08X}{high:08X}{low:08X}"
    with open(server.path("pg_wal", name), "rb") as file:
        file.seek(begin)
        mine = file.read(end + 1 - begin)
    [(theirs,)] = session.run(call, "SELECT pg_read_binary_file(%s, %s, %s, true)", (f"pg_wal/{name}", begin, len(mine)))
    if theirs is None or len(mine) != end + 1 - begin:
        return Twin.UNKNOWN
    assert isinstance(theirs, bytes | memoryview)
    return Twin.NONE if bytes(theirs) == mine else Twin.BY_WAL
