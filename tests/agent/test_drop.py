"""Dropping the lock in a chain: a newer epoch may begin between the look at it and the drop."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import cast

import pytest

from patroni.agent import clock, order
from patroni.agent import request as own
from patroni.agent.dispatch import Aside, ChainRunner
from patroni.agent.lease_keeper import LeaseKeeper
from patroni.agent.request import Void
from patroni.decision.reasons import Code
from tests.agent.builders import proof
from tests.agent.rig import TTL_S, rigged


class OvertakenKeeper(LeaseKeeper):
    """Another thread begins an epoch just after this one was looked at."""

    is_overtaken = False

    @property
    def epoch(self) -> int:
        seen = super().epoch
        if self.is_overtaken:
            self.is_overtaken = False
            self.begin_epoch()
        return seen


def test_a_drop_that_a_newer_epoch_overtakes_drops_nothing() -> None:
    """The lock may be another one by then, which nobody wants to release."""
    with rigged() as rig:
        keeper = OvertakenKeeper("a", rig.fence, ttl_s=TTL_S, emit=lambda _, said: None, chance=random.Random(1))
        keeper.take(replace(proof(), sent=clock.now()), if_epoch=keeper.epoch)
        wanted = order.StartChain(
            number=1, epoch=keeper.epoch, actions=(), code=Code.LEADER_OK, facts=0, facts_at=clock.now(), is_primary=False
        )
        runner = ChainRunner(replace(rig.parts, keeper=keeper), wanted, cast(Aside, None))
        keeper.is_overtaken = True
        with pytest.raises(Void):
            runner.perform(own.DropLock())
        assert keeper.lease(clock.now()).is_held
