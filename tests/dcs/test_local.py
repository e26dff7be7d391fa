"""The embedded store beyond the suite: its clock, its file, and other processes on it."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from patroni.dcs.local import LocalStore
from patroni.dcs.local_file import owner_uid
from patroni.dcs.store import (
    Create,
    DcsUnavailable,
    OpenSession,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Snapshot,
    StoreConfigError,
    Timing,
    perform,
)
from patroni.dcs.stores import AVAILABLE, open_store
from patroni.decision.lease import Instant
from tests.contract.harness import now

PREFIX = "/service/batman/"
KEY = PREFIX + "leader"


class HandClock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> Instant:
        return Instant(boot_s=self.now_s, raw_s=self.now_s)


@pytest.fixture
def clock() -> HandClock:
    """Return a clock that a test sets."""
    return HandClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store's file will be, in a directory that does not exist yet."""
    return tmp_path / "data" / "store.sqlite"


def _open(path: Path, clock: HandClock) -> LocalStore:
    return LocalStore({"path": str(path)}, timing=Timing(), clock=clock)


def _read(store: LocalStore) -> Snapshot:
    return perform(store, ReadPrefix(PREFIX), 5.0)


def test_a_session_ends_at_its_ttl_and_not_before(path: Path, clock: HandClock) -> None:
    with closing(_open(path, clock)) as store:
        session = perform(store, OpenSession(10.0), 5.0)
        perform(store, Create(KEY, "a", session.id), 5.0)
        clock.now_s += 9.999
        assert KEY in _read(store).entries
        perform(store, RenewSession(session.id), 5.0)
        clock.now_s += 9.999
        before = _read(store)
        clock.now_s += 0.001
        after = _read(store)
        assert (list(before.entries), list(after.entries)) == ([KEY], [])
        assert before.revision is not None
        assert after.revision is not None
        assert after.revision > before.revision  # one revision never has two contents


def test_a_restart_of_the_machine_ends_every_session(path: Path, clock: HandClock) -> None:
    """Whatever the new clock says, even if it is earlier."""
    with closing(_open(path, clock)) as store:
        session = perform(store, OpenSession(1e6), 5.0)
        perform(store, Create(KEY, "a", session.id), 5.0)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE session SET boot_id = 'an earlier one'")
        clock.now_s = 5.0
        assert not _read(store).entries
        with pytest.raises(Refused) as caught:
            perform(store, RenewSession(session.id), 5.0)
        assert caught.value.why is Refusal.SESSION_GONE


def test_a_file_that_was_removed_is_another_store(path: Path, clock: HandClock) -> None:
    """The agents that had it open follow to the new one, so that there are never two."""
    with closing(_open(path, clock)) as store, closing(_open(path, clock)) as other:
        session = perform(store, OpenSession(60.0), 5.0)
        entry = perform(store, Create(KEY, "a", session.id), 5.0)
        watcher = other.watcher(PREFIX)
        first = watcher.next(0.0)
        path.unlink()
        path.with_name(path.name + "-journal").unlink()
        with pytest.raises(Refused) as caught:
            perform(store, RenewSession(session.id), 5.0)
        assert caught.value.why is Refusal.SESSION_GONE
        anew = perform(other, Create(KEY, "b", perform(other, OpenSession(60.0), 5.0).id), 5.0)
        assert anew.incarnation != entry.incarnation
        assert _read(store).entries == {KEY: anew}
        second = watcher.next(0.0)
        assert first is not None
        assert second is not None
        assert (first.store_id != second.store_id, second.entries) == (True, {KEY: anew})
        watcher.close()


def test_the_file_belongs_to_its_user(path: Path, clock: HandClock) -> None:
    assert owner_uid({"path": str(path)}) is None
    _open(path, clock).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert owner_uid({"path": str(path)}) == path.stat().st_uid


def test_a_locked_file_is_waited_for(path: Path, clock: HandClock) -> None:
    _open(path, clock).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        store = _open(path, clock)
        with pytest.raises(DcsUnavailable, match="locked"):
            perform(store, ReadPrefix(PREFIX), 0.1)
        connection.execute("ROLLBACK")
        assert not _read(store).entries
        store.close()


def test_a_closed_store_answers_nothing(path: Path, clock: HandClock) -> None:
    store = _open(path, clock)
    store.close()
    with pytest.raises(DcsUnavailable):
        _read(store)


@pytest.mark.parametrize("section", [{}, {"path": ""}, {"path": 5}])
def test_no_path_is_one_line(section: dict[str, object], clock: HandClock) -> None:
    with pytest.raises(StoreConfigError, match=r"^local\.path: "):
        LocalStore(section, timing=Timing(), clock=clock)


def _text_file(path: Path) -> None:
    path.write_text("postgresql:\n" * 100)


def _foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customer (name TEXT)")


def _later_format(path: Path) -> None:
    _open(path, HandClock()).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 2")


@pytest.mark.parametrize("make", [_text_file, _foreign_database, _later_format, Path.mkdir])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, clock: HandClock, make: object) -> None:
    path = tmp_path / "store.sqlite"
    assert callable(make)
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreConfigError) as caught:
        _open(path, clock)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_path_below_a_file_is_one_line(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "store.sqlite"
    with pytest.raises(StoreConfigError) as caught:
        _open(path, clock)
    assert str(caught.value) == f"local.path: {path}: {tmp_path}/file: File exists"


def test_a_directory_as_the_file_is_named_as_such(tmp_path: Path, clock: HandClock) -> None:
    with pytest.raises(StoreConfigError) as caught:
        _open(tmp_path, clock)
    assert str(caught.value) == f"local.path: {tmp_path}: is a directory, not a file"


COUNT = """
import sys, time
from patroni.dcs.local import LocalStore
from patroni.dcs.store import ReadPrefix, Refused, Timing, Write, perform
from patroni.decision.lease import Instant

def clock():
    return Instant(boot_s=time.monotonic(), raw_s=time.monotonic())


store = LocalStore({"path": sys.argv[1]}, timing=Timing(), clock=clock)
done = 0
while done < 40:
    entry = perform(store, ReadPrefix("/count/"), 20.0).entries["/count/n"]
    try:
        perform(store, Write(entry.key, str(int(entry.value) + 1), token=entry.token), 20.0)
        done += 1
    except Refused:
        continue
"""


def test_processes_do_not_overwrite_each_other(path: Path) -> None:
    store = LocalStore({"path": str(path)}, timing=Timing(), clock=now)
    perform(store, Create("/count/n", "0"), 5.0)
    arguments = [sys.executable, "-c", COUNT, str(path)]
    processes = [subprocess.Popen(arguments) for _ in range(4)]
    assert [process.wait(60.0) for process in processes] == [0, 0, 0, 0]
    assert perform(store, ReadPrefix("/count/"), 5.0).entries["/count/n"].value == "160"
    store.close()


# --- stores


def test_open_store(path: Path, clock: HandClock) -> None:
    store = open_store("local", {"path": str(path)}, timing=Timing(), clock=clock)
    assert not perform(store, ReadPrefix(PREFIX), 5.0).entries
    store.close()


@pytest.mark.parametrize("kind", ["zookeeper", "raft", "x"])
def test_a_store_that_there_is_not(kind: str, clock: HandClock) -> None:
    with pytest.raises(StoreConfigError, match=rf"^{kind}: .*available: etcd3, local$"):
        open_store(kind, {}, timing=Timing(), clock=clock)
    assert kind not in AVAILABLE
