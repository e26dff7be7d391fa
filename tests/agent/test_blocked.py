"""What hangs in one thread keeps no other from its work: the lease is renewed, but never for a loop that hangs (§7.1-7.3)."""

from __future__ import annotations

import time
from pathlib import Path

from patroni.rest.snapshot import Authority
from tests.agent.living import TTL_S, living
from tests.support.waiting import wait_until

PATIENCE_S = 20.0
SLACK_S = 1.0  # of a busy machine


def test_a_loop_that_hangs_loses_the_lock(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with living(str(tmp_path / "data")) as agent:
        agent.await_renewals(1)
        began_s = time.monotonic()
        agent.loop_gate.close()
        wait_until(lambda: agent.authority is not Authority.HELD, PATIENCE_S, "the end of the lease")
        wait_until(lambda: not agent.postgres.is_running, PATIENCE_S, "the end of Postgres")
        assert time.monotonic() - began_s < TTL_S + 2.0 + SLACK_S
        wait_until(lambda: agent.cluster().leader is None, PATIENCE_S, "the end of the lock", agent.cluster)
        assert time.monotonic() - began_s < TTL_S + 2.0 + SLACK_S
