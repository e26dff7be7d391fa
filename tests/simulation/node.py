"""A node: its Postgres, whatever host that runs on now, and the agent that lives now."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.agent_model import Agent
from tests.simulation.driver import Driver
from tests.simulation.postgres_model import Postgres


@dataclass(slots=True, eq=False)
class Node:
    """See the module."""

    name: str
    postgres: Postgres
    driver: Driver
    boot_rate: float
    agent: Agent | None = None  # None: none lives
    is_orphaned: bool = False  # Postgres became, or may become, writable under an agent that is no more
    excused_until_s: float = 0.0  # agent or host have just gone on after a freeze
    is_wanted: bool = True  # somebody starts agent and host again when they end

    @property
    def is_frozen(self) -> bool:
        """Whether the agent stands still."""
        return self.agent is not None and self.agent.is_frozen
