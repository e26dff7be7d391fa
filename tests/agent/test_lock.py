"""One agent a data directory: who comes second is told who was first; whoever dies lets go (safety_rules.md §4.2)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patroni.fence import lock
from patroni.fence.lock import DataDirectoryTaken, lock_data_directory, page_name
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
HOLDER = """
import sys
from patroni.fence.lock import lock_data_directory
held = lock_data_directory(sys.argv[1], "pg-a")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[str]:
    """Return a data directory; its lock's file is removed in the end."""
    path = str(tmp_path / "data")
    yield path
    for left in (lock_file(path), lock_file(str(tmp_path / "elsewhere"))):
        if os.path.lexists(left):
            os.unlink(left)


def lock_file(data_dir: str) -> str:
    return os.path.join(lock.DIRECTORY, f"{page_name(data_dir, os.getuid())}.lock")


@contextmanager
def holder(data_dir: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run another process that holds the lock."""
    running = subprocess.Popen(
        [sys.executable, "-c", HOLDER, data_dir], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert running.stdout is not None and running.stdout.readline() == b"held\n"
        yield running
    finally:
        running.kill()
        running.communicate()


def test_the_second_one_is_told_who_holds_it(data_dir: str) -> None:
    with holder(data_dir) as first, pytest.raises(DataDirectoryTaken) as refused:
        lock_data_directory(data_dir, "pg-b")
    assert str(refused.value) == f"postgresql.data_dir: {data_dir} is in use by pg-a, pid {first.pid}"


def test_another_name_of_the_same_directory_is_the_same(data_dir: str) -> None:
    os.mkdir(data_dir)
    other = f"{data_dir}-link"
    os.symlink(data_dir, other)
    with holder(data_dir), pytest.raises(DataDirectoryTaken):
        lock_data_directory(other, "pg-b")


def test_the_lock_is_gone_when_its_holder_was_killed(data_dir: str) -> None:
    with holder(data_dir) as first:
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE_S)
        lock_data_directory(data_dir, "pg-b").close()


def test_it_outlives_no_holder_through_a_program_that_it_started(data_dir: str) -> None:
    held = lock_data_directory(data_dir, "pg-a")
    child = subprocess.Popen(["sleep", "600"])
    held.close()
    lock_data_directory(data_dir, "pg-b").close()
    child.kill()
    child.wait(PATIENCE_S)


def test_let_go_and_taken_again(data_dir: str) -> None:
    for name in ("a long name of a member", "b"):
        held = lock_data_directory(data_dir, name)
        assert Path(lock_file(data_dir)).read_text() == f"{name}, pid {os.getpid()}"
        held.close()


def test_two_directories_have_two_locks(data_dir: str, tmp_path: Path) -> None:
    first = lock_data_directory(data_dir, "a")
    lock_data_directory(str(tmp_path / "elsewhere"), "b").close()
    first.close()
    assert page_name(data_dir, 1) != page_name(data_dir, 2), "users do not meet"


def test_a_holder_that_has_not_said_its_name_yet(data_dir: str) -> None:
    with holder(data_dir):
        os.truncate(lock_file(data_dir), 0)
        with pytest.raises(DataDirectoryTaken, match="is in use by an agent that did not say its name"):
            lock_data_directory(data_dir, "pg-b")


def test_a_lock_file_that_cannot_be_opened_is_named(data_dir: str) -> None:
    """Such as a link that somebody left there."""
    os.symlink("/nowhere", lock_file(data_dir))
    with pytest.raises(DataDirectoryTaken) as refused:
        lock_data_directory(data_dir, "pg-b")
    assert lock_file(data_dir) in str(refused.value) and "\n" not in str(refused.value)


def test_something_else_in_its_place_is_named(data_dir: str) -> None:
    os.mkdir(lock_file(data_dir))
    try:
        with pytest.raises(DataDirectoryTaken, match=page_name(data_dir, os.getuid())):
            lock_data_directory(data_dir, "pg-b")
    finally:
        os.rmdir(lock_file(data_dir))


def test_a_lock_file_of_another_user_is_not_used(data_dir: str) -> None:
    """Whoever is not root cannot make one that it may open all the same."""
    if os.geteuid() == 0:
        Path(lock_file(data_dir)).touch()
        os.chown(lock_file(data_dir), 12345, 12345)
        with pytest.raises(DataDirectoryTaken, match="belongs to another user"):
            lock_data_directory(data_dir, "pg-b")


def test_nobody_waits_for_the_lock(data_dir: str) -> None:
    with holder(data_dir):
        refusals: list[str] = []

        def is_refused() -> bool:
            try:
                lock_data_directory(data_dir, "pg-b")
            except DataDirectoryTaken as refused:
                refusals.append(str(refused))
            return True

        wait_until(is_refused, 1.0, "the refusal")
        assert len(refusals) == 1
