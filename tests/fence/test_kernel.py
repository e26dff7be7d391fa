"""How processes are found and told apart, on real processes that are no Postgres but bear its name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from patroni.fence import sweep
from patroni.fence.kernel import Kernel
from tests.fence.server import LIMIT_S, state_of
from tests.support.waiting import wait_until

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a starter of sleeping processes with a name of their own, in a directory."""
    with ExitStack() as started:

        def begin(name: str = "postgres", where: Path = tmp_path) -> subprocess.Popen[bytes]:
            program = tmp_path / name
            if not program.exists():
                shutil.copy(shutil.which("sleep") or "", program)
            process = subprocess.Popen([program, "600"], cwd=where)
            started.callback(process.wait)
            started.callback(process.kill)
            return process

        yield begin


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    opened = Kernel(str(tmp_path.resolve()), frozenset({"postgres"}))
    yield opened
    opened.close()


def found(kernel: Kernel) -> list[int]:
    answer = kernel.answer(sweep.FindProcesses())
    assert isinstance(answer, tuple)
    return sorted(each.pid for each in answer if isinstance(each, sweep.Seen))


def looked(kernel: Kernel, pid: int) -> sweep.Seen | None:
    answer = kernel.answer(sweep.Look(pid))
    assert answer is None or isinstance(answer, sweep.Seen)
    return answer


def test_who_runs_postgres_in_the_directory_is_found_and_nobody_else(start: Start, kernel: Kernel, tmp_path: Path) -> None:
    mine = start()
    start("psql")
    (tmp_path / "below").mkdir()
    start(where=tmp_path / "below")
    assert found(kernel) == [mine.pid]


def test_a_replaced_executable_and_a_removed_directory_count_under_their_old_names(
    start: Start, kernel: Kernel, tmp_path: Path
) -> None:
    process = start()
    (tmp_path / "postgres").unlink()
    assert os.readlink(f"/proc/{process.pid}/exe").endswith(" (deleted)")
    assert found(kernel) == [process.pid]
    tmp_path.rmdir()
    assert found(kernel) == [process.pid]


def test_a_zombie_is_not_found(start: Start, kernel: Kernel) -> None:
    process = start()
    process.kill()
    wait_until(lambda: state_of(process.pid) == "Z", LIMIT_S, "a zombie")
    assert found(kernel) == []
    seen = looked(kernel, process.pid)
    assert seen is not None
    assert seen.is_quiet


def test_a_name_full_of_parentheses_is_read_past(start: Start, tmp_path: Path) -> None:
    process = start("a) S 1 (b")
    kernel = Kernel(str(tmp_path.resolve()), frozenset({"a) S 1 (b"}))
    assert found(kernel) == [process.pid]
    seen = looked(kernel, process.pid)
    assert seen is not None
    assert (seen.parent, seen.session) == (os.getpid(), os.getsid(0))
    kernel.close()


def test_states(start: Start, kernel: Kernel) -> None:
    process = start()
    seen = looked(kernel, process.pid)
    assert seen is not None
    assert not seen.is_quiet
    assert kernel.answer(sweep.Send(process.pid, seen.started, signal.SIGSTOP)) is True
    wait_until(lambda: (now := looked(kernel, process.pid)) is not None and now.is_stopped, LIMIT_S, "stopped")
    process.kill()
    process.wait()
    assert looked(kernel, process.pid) is None
    assert kernel.answer(sweep.Send(process.pid, None, signal.SIGSTOP)) is False


def test_a_signal_never_reaches_another_process_with_the_pid(start: Start, kernel: Kernel) -> None:
    process = start()
    seen = looked(kernel, process.pid)
    assert seen is not None
    assert kernel.answer(sweep.Send(process.pid, seen.started + 1, signal.SIGKILL)) is False
    assert process.poll() is None


def test_children_dead_ones_included_with_and_without_the_kernels_list(start: Start, kernel: Kernel, tmp_path: Path) -> None:
    one, two = start(), start()
    two.kill()
    wait_until(lambda: state_of(two.pid) == "Z", LIMIT_S, "a zombie")
    listed = kernel.answer(sweep.ListChildren(os.getpid()))
    assert isinstance(listed, tuple)
    assert {one.pid, two.pid} <= {each for each in listed if isinstance(each, int)}
    scanned = [pid for pid in kernel._own_pids() if kernel._parent(pid) == os.getpid()]
    assert {one.pid, two.pid} <= set(scanned)
    assert kernel.answer(sweep.ListChildren(one.pid)) == ()


# Clones itself as vfork does, but with memory of its own: the parent waits in the kernel (D) until the child ends.
_WAITS_IN_THE_KERNEL = """
import ctypes, platform, signal
clone, vfork = {"x86_64": 56, "aarch64": 220}[platform.machine()], 0x4000
ctypes.CDLL(None).syscall(clone, vfork | signal.SIGCHLD, 0, 0, 0, 0)
signal.pause()
"""


def test_a_stop_that_is_pending_in_the_kernel_is_quiet_but_not_stopped(kernel: Kernel) -> None:
    with subprocess.Popen([sys.executable, "-c", _WAITS_IN_THE_KERNEL], start_new_session=True) as process:
        try:
            wait_until(lambda: state_of(process.pid) == "D", LIMIT_S, "a process in the kernel", lambda: state_of(process.pid))
            seen = looked(kernel, process.pid)
            assert seen is not None
            assert (seen.is_stopped, seen.is_quiet) == (False, False)
            kernel.answer(sweep.Send(process.pid, seen.started, signal.SIGSTOP))
            seen = looked(kernel, process.pid)
            assert seen is not None
            assert (seen.letter, seen.is_stopped, seen.is_quiet) == ("D", False, True)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
