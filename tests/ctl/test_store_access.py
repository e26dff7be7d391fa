"""How patronictl gets at the store: whose file it is, and a store that does not answer (contract/cli.md §2.11, §7)."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from patroni.config.environment import Environment
from patroni.ctl.main import _concerns_us
from patroni.ctl.tool import Surroundings, Tool
from patroni.dcs.store import DcsUnavailable
from patroni.decision.lease import Instant
from tests.ctl.trial import ENTRY, LIMIT_S, ROOT, Trial
from tests.support.directories import give_to_servers
from tests.support.ports import reserve_port


def test_nothing_of_another_owner_is_left_in_the_store(directory: Path) -> None:
    """Root becomes the file's owner first; everybody else is the owner."""
    trial = Trial(directory)
    trial.put({"config": "{}"})
    path = trial.write_configuration()
    trial.store.close()
    journal = Path(f"{trial.store_file}-journal")
    journal.unlink()
    give_to_servers(trial.store_file)
    command = [sys.executable, "-c", ENTRY, "-c", path, "edit-config", "-s", "a=1", "--force"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert journal.stat().st_uid == trial.store_file.stat().st_uid == directory.stat().st_uid


def test_a_store_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    tool = Tool(
        Surroundings(
            config_file=None,
            default_config_file="/nonexistent",
            dcs_url=f"etcd3://127.0.0.1:{reserve_port()}",
            is_insecure=False,
            environment=Environment(values={"retry_timeout": 1}),
            clock=lambda: Instant(boot_s=time.monotonic(), raw_s=time.monotonic()),
            wall=lambda: datetime.now(UTC),
            patience_s=0.2,
        )
    )
    with pytest.raises(DcsUnavailable):
        tool.read("demo")
    tool.close()
    assert "the store does not answer, asking again: " in caplog.text


@pytest.mark.parametrize(
    ("name", "level", "is_shown"),
    [
        ("patroni.dcs.etcd3_client", logging.WARNING, False),
        ("patroni.dcs.etcd3_client", logging.ERROR, True),
        ("patroni.ctl.tool", logging.WARNING, True),
    ],
)
def test_warnings_for_those_who_hold_a_lease_are_left_out(name: str, level: int, is_shown: bool) -> None:
    assert _concerns_us(logging.makeLogRecord({"name": name, "levelno": level})) is is_shown


def test_a_store_that_belongs_to_somebody_else_is_said(trial: Trial) -> None:
    os.truncate(trial.store_file, 0)
    trial.store_file.write_text("something else")
    done = trial.run("list")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"Error: local.path: {trial.store_file}: ")
    assert done.err.count("\n") == 1
