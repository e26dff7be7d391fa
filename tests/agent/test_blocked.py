"""What hangs in one thread keeps no other from its work: the lease is renewed, but never for a loop that hangs (§7.1-7.3)."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest

from patroni.agent.logs import Logs
from patroni.postgres import request as pg
from patroni.rest.snapshot import Authority
from tests.agent.living import TTL_S, Living, living
from tests.support.waiting import wait_until

PATIENCE_S = 20.0
SLACK_S = 1.0  # of a busy machine
PIPE_BYTES = 4096


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """Return an agent that leads, for tests that leave it so."""
    with living(str(tmp_path_factory.mktemp("data"))) as made:
        yield made


# --- one thread hangs


def test_a_data_directory_on_a_dead_disk_costs_no_lease(agent: Living) -> None:
    agent.postgres.hold(pg.ReadFiles)
    wait_until(lambda: pg.ReadFiles in agent.postgres.hanging, PATIENCE_S, "the look at the files")
    agent.await_renewals()
    agent.postgres.let_go(pg.ReadFiles)


def test_an_effect_that_hangs_costs_no_lease(agent: Living) -> None:
    agent.postgres.hold(pg.ChangeSlots)
    agent.join("b", "c", "d", "e")
    wait_until(lambda: pg.ChangeSlots in agent.postgres.hanging, PATIENCE_S, "the slots", agent.said)
    agent.await_renewals()
    agent.postgres.let_go(pg.ChangeSlots)


def test_workers_that_hang_cost_no_lease(agent: Living) -> None:
    """The peers' all, as where names are not resolved, and whoever of the others comes to the store."""
    agent.join("b", "c", "d", "e")
    agent.worker_gate.close()
    agent.ask_for_switchover()
    peers = {f"peer-{number}" for number in range(4)}
    wait_until(lambda: peers <= agent.worker_gate.held, PATIENCE_S, "the workers", lambda: agent.worker_gate.held)
    agent.await_renewals()
    agent.worker_gate.open()


def test_a_log_that_hangs_costs_no_lease(agent: Living) -> None:
    with logged_to_a_full_pipe() as logs:
        logging.getLogger("patroni.agent").info("the writer of the log hangs from here on")
        agent.join("f")
        agent.await_renewals()
        wait_until(lambda: logs.queued > 0, PATIENCE_S, "records that wait")
        agent.await_renewals(1)


@contextmanager
def logged_to_a_full_pipe() -> Iterator[Logs]:
    """Log as the agent does, to a standard error that takes nothing; afterwards it is read, and the log is as before."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    ours, theirs = os.pipe()
    fill(theirs)
    reader = threading.Thread(target=read_to_the_end, args=(ours,))
    with open(theirs, "w") as stream:
        with redirect_stderr(stream):
            logs = Logs()
        logs.install()
        logs.start()
        try:
            yield logs
        finally:
            reader.start()
            root.handlers[:] = handlers
            root.setLevel(level)
            logs.close(PATIENCE_S)
    reader.join(PATIENCE_S)


def read_to_the_end(pipe: int) -> None:
    with open(pipe, "rb") as stream:
        stream.readlines()


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    try:
        while True:
            os.write(pipe, b"x" * PIPE_BYTES)
    except BlockingIOError:
        os.set_blocking(pipe, True)


# --- the loop hangs


def test_a_loop_that_hangs_loses_the_lock(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with living(str(tmp_path / "data")) as agent:
        agent.await_renewals(1)
        began_s = time.monotonic()
        agent.loop_gate.close()
        wait_until(lambda: agent.authority is not Authority.HELD, PATIENCE_S, "the end of the lease")
        wait_until(lambda: not agent.postgres.is_running, PATIENCE_S, "the end of Postgres")
        wait_until(lambda: agent.cluster().leader is None, PATIENCE_S, "the end of the lock", agent.cluster)
        assert time.monotonic() - began_s < TTL_S + 2.0 + SLACK_S


# --- all at once


def test_threads_that_change_places_all_the_time(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    before_s, others = sys.getswitchinterval(), set(threading.enumerate())
    sys.setswitchinterval(1e-6)
    try:
        with living(str(tmp_path / "data")) as agent:
            agent.join("b")
            agent.await_renewals(2)
        assert agent.status == 0
        assert agent.cluster().leader is None
        left = {thread.name for thread in threading.enumerate() if thread not in others}
        assert not left & {"keeper", "watch", "exits", "job", "effects", "files", "worker-0"}
    finally:
        sys.setswitchinterval(before_s)
