"""The real parts of an agent, as factories: a deliberate bug replaces one of them (`bugs.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from patroni.agent.execute import Context, effects
from patroni.agent.job import work
from patroni.agent.lease_keeper import LeaseKeeper, Renewal, Renewed, send
from patroni.agent.loop import Loop, Turn
from patroni.dcs.coordinator import Coordinator
from patroni.decision.actions import Action, JobAction
from patroni.decision.lease import Instant
from patroni.decision.request import Steps
from patroni.fence.client import InProcessFence
from patroni.rest.snapshot import Authority
from tests.simulation.driver import Driver


def live_authority(keeper: LeaseKeeper, published: Turn | None, now: Instant) -> Authority:
    """Return what REST says of leadership at this very moment, as `agent/answers.py` does."""
    if keeper.lease(now).is_held:
        return Authority.OVER if published is not None and published.is_giving_up else Authority.HELD
    is_primary = published is not None and published.has_led and published.view.node.is_running_primary
    return Authority.OVER if is_primary else Authority.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an agent is made of."""

    fence: type[InProcessFence] = InProcessFence
    keeper: type[LeaseKeeper] = LeaseKeeper
    loop: type[Loop] = Loop
    coordinator: type[Coordinator] = Coordinator
    effects: Callable[[Action, Context], Steps[None]] = effects
    work: Callable[[JobAction], Steps[None]] = work
    send: Callable[[Renewal, Coordinator], Steps[Renewed]] = send
    driver: type[Driver] = Driver
    authority: Callable[[LeaseKeeper, Turn | None, Instant], Authority] = live_authority


REAL = Parts()
