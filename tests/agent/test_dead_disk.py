"""The fence's signals touch no file of the data directory: its disk may hang (safety_rules.md §7.2)."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from patroni.decision.request import Request
from patroni.postgres import request as pg
from patroni.postgres.config import PostgresConfig
from patroni.postgres.driver import Driver

PATIENCE_S = 20.0


@pytest.mark.parametrize("request_", [pg.SignalStop(pg.StopMode.IMMEDIATE), pg.KillAll()], ids=["quit", "kill"])
def test_what_the_fence_does_opens_no_file_of_a_dead_disk(tmp_path: Path, request_: Request[Any]) -> None:
    pipe = tmp_path / "postmaster.pid"
    os.mkfifo(pipe)  # whoever opens it to read hangs
    config = PostgresConfig(name="a", scope="c", listen_host="127.0.0.1", data_dir=str(tmp_path))
    driver = Driver(config, time.monotonic)
    thread = threading.Thread(target=lambda: driver.perform(request_, 5.0), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    has_ended = not thread.is_alive()
    os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # let go whoever hangs
    assert has_ended
