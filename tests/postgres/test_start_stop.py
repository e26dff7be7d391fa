"""Starting, adopting, stopping and killing a server; who counts as alive, orphaned and down."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from patroni.decision.node import ClusterState, DataDirectory, Process
from patroni.postgres import process
from patroni.postgres import request as pg
from patroni.postgres.driver import Driver
from patroni.postgres.request import PostgresError, PostgresTimeout, Readiness, StopMode
from tests.postgres.conftest import MakeNode
from tests.postgres.node import LIMIT_S, Node
from tests.support.waiting import wait_until

SHORT_S = 0.3


def test_the_postmaster_leads_its_own_session_and_is_nobodys_child(primary: Node) -> None:
    pid = primary.postmaster_pid()
    assert os.getsid(pid) == pid
    assert pid not in process.children(os.getpid())


def test_another_driver_adopts_the_running_server(primary: Node) -> None:
    other = Driver(primary.config, time.monotonic)
    files = other.perform(pg.ReadFiles(), LIMIT_S)
    assert (files.process, files.postmaster_pid) == (Process.ALIVE, primary.postmaster_pid())
    assert other.perform(pg.Launch(), LIMIT_S) == primary.postmaster_pid()
    assert other.perform(pg.AwaitReady(within_s=LIMIT_S), LIMIT_S) is Readiness.ACCEPTING
    other.perform(pg.SignalStop(StopMode.FAST), LIMIT_S)
    assert other.perform(pg.AwaitDown(within_s=LIMIT_S), LIMIT_S)
    assert primary.files().process is Process.DOWN


def test_a_start_that_was_told_no_limit_takes_that_of_the_configuration(primary: Node) -> None:
    pid = primary.postmaster_pid()
    primary.change(pg_ctl_timeout_s=0.2)
    os.kill(pid, signal.SIGSTOP)  # it accepts no connection, and is not gone
    try:
        assert primary.do(pg.AwaitReady(within_s=None)) is Readiness.NO_RESPONSE
        primary.change(pg_ctl_timeout_s=0.0)
        began_s = time.monotonic()
        assert primary.do(pg.AwaitReady(within_s=None), 2.0) is Readiness.NO_RESPONSE
        assert time.monotonic() - began_s > 1.9  # without limit: as long as the request itself may take
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_pid_file_that_names_a_foreign_process_is_no_postmaster(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    node.copy_of(template)
    with subprocess.Popen(["sleep", "60"]) as sleep:
        (node.data_dir / "postmaster.pid").write_text(f"{sleep.pid}\n{node.data_dir}\n{int(time.time())}\n")
        try:
            assert node.files().process is Process.DOWN
            node.start(is_standby=False)  # the stale file is no obstacle, though that process lives
        finally:
            sleep.kill()


def test_a_start_that_fails_is_gone(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    node.copy_of(template)
    node.do(pg.WriteConfiguration(is_standby=False))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", node.config.port))
        taken.listen()
        node.do(pg.Launch())
        assert node.do(pg.AwaitReady(within_s=LIMIT_S)) is Readiness.GONE
    assert node.files().process is Process.DOWN


def test_a_start_that_takes_long_is_said_to_be_starting(primary: Node) -> None:
    (primary.data_dir / "postmaster.pid").write_text(
        (primary.data_dir / "postmaster.pid").read_text().replace("ready   ", "starting")
    )
    assert primary.do(pg.AwaitReady(within_s=SHORT_S)) is Readiness.REJECTING


def test_a_fast_stop_leaves_a_clean_shutdown(primary: Node) -> None:
    primary.do(pg.RunCheckpoint(within_s=LIMIT_S))
    primary.stop(StopMode.FAST)
    files = primary.files()
    assert files.process is Process.DOWN and files.postmaster_pid is None
    assert files.control is not None and files.control.cluster_state is ClusterState.SHUT_DOWN
    assert primary.do(pg.AwaitReady(within_s=LIMIT_S)) is Readiness.GONE
    primary.do(pg.SignalStop(StopMode.FAST))  # nobody there: no error


def test_an_immediate_stop_leaves_a_crash(primary: Node) -> None:
    primary.stop(StopMode.IMMEDIATE)
    control = primary.files().control
    assert control is not None and control.cluster_state is ClusterState.IN_PRODUCTION


def test_a_stop_that_hangs_is_bounded_and_killed(primary: Node) -> None:
    backend = _open_backend(primary)
    os.kill(backend, signal.SIGSTOP)
    primary.do(pg.SignalStop(StopMode.FAST))
    assert not primary.do(pg.AwaitDown(within_s=SHORT_S))
    primary.do(pg.EndBackends())
    assert not primary.do(pg.AwaitDown(within_s=SHORT_S))
    primary.do(pg.KillAll())
    assert primary.do(pg.AwaitDown(within_s=LIMIT_S))
    assert not process.leftovers(str(primary.data_dir), frozenset({"postgres"}), frozenset())


def test_waiting_for_the_end_can_be_cancelled(primary: Node) -> None:
    errors: list[PostgresError] = []

    def run() -> None:
        try:
            primary.do(pg.AwaitDown(within_s=LIMIT_S))
        except PostgresError as error:
            errors.append(error)

    job = threading.Thread(target=run)
    job.start()
    wait_until(lambda: primary.driver._cancellable, LIMIT_S, "the wait to begin")
    primary.driver.cancel()
    job.join(LIMIT_S)
    assert [str(error) for error in errors] == ["cancelled"]


def test_orphans_are_seen_and_killed(primary: Node) -> None:
    backend = _open_backend(primary)
    os.kill(backend, signal.SIGSTOP)  # one that is stopped does not see the postmaster's death
    os.kill(primary.postmaster_pid(), signal.SIGKILL)
    wait_until(lambda: primary.files().process is Process.ORPHANS, LIMIT_S, "orphans to be seen")
    assert not primary.do(pg.AwaitDown(within_s=SHORT_S))
    with pytest.raises(PostgresError, match="something still runs on"):
        primary.do(pg.RemoveDataDirectory())
    primary.do(pg.KillAll())
    assert primary.do(pg.AwaitDown(within_s=LIMIT_S))
    assert primary.files().process is Process.DOWN
    primary.start(is_standby=False)  # crash recovery, with what the kill left behind


def test_a_tool_of_a_former_agent_counts_as_alive(primary: Node, make_node: MakeNode) -> None:
    node = make_node("b")
    program = f"{node.config.bin_dir}/pg_basebackup"
    words = [f"--pgdata={node.data_dir}", "--max-rate=32k", "-h", str(primary.directory), "-p", str(primary.config.port)]
    subprocess.run(["setsid", "--fork", program, *words, "-U", "postgres", "--checkpoint=fast"], check=True)
    wait_until(node.data_dir.exists, LIMIT_S, "the copy to begin")
    assert node.files().process is Process.ORPHANS
    with pytest.raises(PostgresError, match="something still runs on"):
        node.do(pg.BaseBackup(primary.url))
    node.do(pg.KillAll())
    assert node.files().process is Process.DOWN


def test_what_a_killed_agent_left_of_a_copy_is_as_good_as_empty(primary: Node, make_node: MakeNode) -> None:
    node = make_node("b")
    node.data_dir.mkdir(mode=0o755)
    (node.data_dir / "PG_VERSION").write_text("15\n")
    mark = node.directory / "data.incomplete"
    mark.write_text("1")  # of another directory that was there before
    assert node.files().data_directory is DataDirectory.PRESENT
    mark.write_text(str(node.data_dir.stat().st_ino))
    assert node.files().data_directory is DataDirectory.EMPTY
    node.do(pg.BaseBackup(primary.url))
    assert node.files().data_directory is DataDirectory.PRESENT and not mark.exists()
    node.start(is_standby=True, upstream=primary)


def test_orphans_of_a_removed_data_directory_are_seen(primary: Node) -> None:
    backend = _open_backend(primary)
    os.kill(backend, signal.SIGSTOP)
    os.kill(primary.postmaster_pid(), signal.SIGKILL)
    shutil.rmtree(primary.data_dir)
    wait_until(lambda: primary.files().process is Process.ORPHANS, LIMIT_S, "orphans to be seen")
    primary.do(pg.KillAll())
    assert primary.files().process is Process.DOWN


def test_a_stopped_server_makes_the_probe_time_out(primary: Node) -> None:
    primary.monitoring()
    pid = primary.postmaster_pid()
    stopped = [pid, *process.children(pid)]
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    try:
        for driver in (primary.driver, Driver(primary.config, time.monotonic)):  # a kept connection and a new one
            began_s = time.monotonic()
            with pytest.raises(PostgresTimeout):
                driver.perform(pg.ReadMonitoring(), SHORT_S)
            assert time.monotonic() - began_s < SHORT_S + 5.0
        assert primary.do(pg.AwaitReady(within_s=SHORT_S)) is Readiness.NO_RESPONSE
    finally:
        for one in reversed(stopped):
            os.kill(one, signal.SIGCONT)
    assert not primary.monitoring().is_in_recovery


def test_kill_all_finds_nobody_where_nobody_is(make_node: MakeNode) -> None:
    node = make_node("a")
    node.do(pg.KillAll())
    assert node.do(pg.AwaitDown(within_s=LIMIT_S))


def _open_backend(node: Node) -> int:
    """Open the kept connection of the REST API and return its backend's pid."""
    node.do(pg.ReadMonitoring(is_for_rest=True))
    [(pid,)] = node.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'Patroni restapi'")
    assert isinstance(pid, int)
    return pid
