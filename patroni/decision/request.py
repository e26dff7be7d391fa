"""The form of every multi-step effect: a generator that yields requests and is resumed with answers.

A thread drives it in the agent, the event queue in the simulation, and either may stop, delay or abandon it between any two
requests (design.md §3). A driver sends the answer of a request or throws what went wrong; it closes a generator to cancel.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from patroni.decision.lease import Instant

T = TypeVar("T")


class Request(Generic[T]):
    """One request to the outside; `T` is the type of its answer. Subclasses are frozen records."""

    __slots__ = ()


Steps = Generator[Request[Any], Any, T]  # Any: each request carries the type of its own answer, see `ask`


def ask(request: Request[T]) -> Steps[T]:
    """Yield one request and return its answer, with its type."""
    return cast(T, (yield request))


@dataclass(frozen=True, slots=True)
class ReadInstant(Request[Instant]):
    """The clocks, now: asked before a renewal is sent, answered by the driver."""
