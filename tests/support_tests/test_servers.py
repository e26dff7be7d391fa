"""The real servers: etcd, HAProxy, Postgres' binaries."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.directories import server_directory, unprivileged_user
from tests.support.etcd import Etcd
from tests.support.haproxy import running_haproxy
from tests.support.ports import is_listening, reserve_port
from tests.support.postgres_binaries import PostgresBinaries, installed_postgres
from tests.support.process import EndedEarly, Process
from tests.support.program import find_program
from tests.support.waiting import wait_until

_CONF = """
defaults
    mode tcp
    timeout connect 1s
    timeout client 10s
    timeout server 10s
listen primary
    bind 127.0.0.1:{port}
"""


def _etcdctl(endpoint: str, *arguments: str) -> str:
    command = [
        find_program("etcdctl"),
        f"--endpoints={endpoint}",
        "--dial-timeout=2s",
        "--command-timeout=5s",
        *arguments,
    ]
    environment = {**os.environ, "ETCDCTL_API": "3"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=True).stdout


def test_etcd_keeps_its_data_over_kill_and_restart(directory: Path) -> None:
    with Etcd(directory) as etcd:
        member = etcd.members[0]
        _etcdctl(member.endpoint, "put", "colour", "red")
        member.restart()
        assert _etcdctl(member.endpoint, "get", "colour", "--print-value-only") == "red\n"
        assert member.proxy.connections >= 2
        pid = member.process.pid
    assert not Path(f"/proc/{pid}").exists()
    assert not is_listening(member.port)


def test_three_members_outlive_the_pause_of_one(directory: Path) -> None:
    with Etcd(directory, size=3) as etcd:
        first, second, third = etcd.members
        first.process.pause()

        def is_written() -> bool:
            try:
                return _etcdctl(f"{second.endpoint},{third.endpoint}", "put", "colour", "red") == "OK\n"
            except subprocess.CalledProcessError:
                return False

        wait_until(is_written, 30.0, "a write by two of three members")
        first.process.go_on()
        first.wait_healthy()
        assert _etcdctl(first.endpoint, "get", "colour", "--print-value-only") == "red\n"


def test_haproxy_listens_and_ends(directory: Path) -> None:
    port = reserve_port()
    with running_haproxy(_CONF.format(port=port), [port], directory):
        assert is_listening(port)
    assert not is_listening(port)


def test_a_bad_haproxy_configuration_is_shown(directory: Path) -> None:
    with pytest.raises(EndedEarly, match="unknown keyword 'blind'"):
        running_haproxy("defaults\n blind\n", [reserve_port()], directory).__enter__()


def test_there_is_an_older_and_a_newer_postgres() -> None:
    majors = [binaries.major for binaries in installed_postgres()]
    assert majors == sorted(set(majors))
    assert len(majors) >= 2


@pytest.mark.parametrize("binaries", installed_postgres(), ids=lambda found: f"postgres{found.major}")
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_postgres_leaves_nothing_behind_its_directory(binaries: PostgresBinaries, is_killed: bool) -> None:
    with server_directory("test") as path:
        port = reserve_port()
        with Process([binaries.bin_dir / "initdb", "--no-sync", "-D", path / "data"], path) as initdb:
            assert initdb.wait_end(60.0) == 0, initdb.log_tail()
        options = f"-c port={port} -c unix_socket_directories={path} -c dynamic_shared_memory_type=mmap"
        arguments: list[str | Path] = [
            binaries.bin_dir / "pg_ctl",
            "start",
            "-w",
            "-t",
            "30",
            "-D",
            path / "data",
            "-o",
            options,
        ]
        with Process(arguments, path) as pg_ctl:
            assert pg_ctl.wait_end(60.0) == 0, pg_ctl.log_tail()
        assert is_listening(port)
        pid, *_, memory, _ = (path / "data" / "postmaster.pid").read_text().splitlines()
        segment = memory.split()[1]
        if is_killed:
            os.kill(int(pid), signal.SIGKILL)
    assert not is_listening(port)
    assert segment not in [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    assert unprivileged_user() in (None, "postgres")
