"""Processes of tests end, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.directories import server_directory, unprivileged_user
from tests.support.process import EndedEarly, Process
from tests.support.waiting import NotInTime, wait_until

_SLEEP = ["/bin/sleep", "600"]
_COUNT = ["/bin/sh", "-c", "i=0; while [ $i -lt 100000000 ]; do i=$((i+1)); echo $i; done"]
_CHILD_OUTSIDE = ["/bin/sh", "-c", "setsid sleep 600 & echo $!; exec sleep 600"]
# A run that dies without a chance to clean up.
_LOST_RUN = """
import os, signal
from tests.support.directories import server_directory
from tests.support.process import Process
with server_directory("lost") as path:
    process = Process(["/bin/sh", "-c", "setsid sleep 600 & echo $!; exec sleep 600"], path)
    process.start()
    child = process.wait_for(process.log_file.read_text, 10, "child").strip()
    print(process.pid, child, path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_runs_as_the_unprivileged_user_in_its_directory(directory: Path) -> None:
    with Process(["/bin/sh", "-c", "id -un; pwd; echo $COLOUR; touch made"], directory, {"COLOUR": "red"}) as process:
        assert process.wait_end(10.0) == 0
        user, *rest = process.log_file.read_text().split()
    assert rest == [str(directory), "red"]
    assert unprivileged_user() in (None, user)


def test_it_is_started_again_after_a_kill(directory: Path) -> None:
    process = Process(_SLEEP, directory)
    assert not process.is_running()
    with process:
        first = process.pid
        process.kill()
        assert not process.is_running()
        assert not _is_alive(first)
        process.start()
        assert process.is_running()
        assert process.stop() == -signal.SIGTERM


def test_a_pause_freezes_it_until_it_goes_on(directory: Path) -> None:
    with Process(_COUNT, directory) as process:
        process.wait_for(process.log_file.read_bytes, 10.0, "output")
        process.pause()
        frozen = process.log_file.stat().st_size
        with pytest.raises(NotInTime):
            process.wait_for(lambda: process.log_file.stat().st_size > frozen, 0.2, "more output")
        assert process.is_running()
        process.go_on()
        process.wait_for(lambda: process.log_file.stat().st_size > frozen, 10.0, "more output")
        process.pause()  # a paused one can be killed, too


def test_a_process_that_ends_early_fails_the_wait_with_its_log(directory: Path) -> None:
    with Process(["/bin/sh", "-c", "echo no such port; exit 3"], directory, name="broken") as process:
        seen = r"(?s)broken in .* status 3, before readiness.*no such port"
        with pytest.raises(EndedEarly, match=seen):
            process.wait_for(lambda: False, 10.0, "readiness")


def test_a_stop_that_is_ignored_ends_in_a_kill(directory: Path) -> None:
    with Process(["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 600; done"], directory) as process:
        process.wait_for(process.log_file.read_text, 10.0, "readiness")
        pid = process.pid
        with pytest.raises(NotInTime):
            process.stop(0.1)
        assert not _is_alive(pid)


def test_what_left_the_process_group_ends_with_the_directory() -> None:
    with server_directory("test") as path, Process(_CHILD_OUTSIDE, path) as process:
        child = int(process.wait_for(process.log_file.read_text, 10.0, "child"))
        process.wait_for(lambda: os.getsid(child) == child, 10.0, "the child's own session")
        process.kill()
        assert _is_alive(child)
    assert not _is_alive(child)
    assert not path.exists()


def test_everything_ends_when_the_run_is_killed() -> None:
    shown = subprocess.run([sys.executable, "-c", _LOST_RUN], capture_output=True, text=True, timeout=30, check=False)
    assert shown.returncode == -signal.SIGKILL, shown.stderr
    process, child, path = shown.stdout.split()
    wait_until(lambda: not _is_alive(int(process)) and not _is_alive(int(child)), 30.0, "the end of what a lost run left")
    assert os.path.isdir(path)  # its logs stay, for the person who looks for the reason
    subprocess.run(["rm", "-r", path], timeout=10, check=True)
