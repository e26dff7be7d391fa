"""Perform: carry out the requests of chains and jobs in the agent's threads, and see to it that an old epoch does nothing.

`drive` runs a generator: it sends answers, throws what went wrong, and closes it when it is cancelled. Before each request the
epoch is compared, so that a chain which was voided has no further effect (safety_rules.md §1.3, §6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from patroni.agent.request import Void
from patroni.dcs.store import DcsUnavailable, Refused
from patroni.decision.request import Request, Steps
from patroni.postgres.request import (
    AwaitDown,
    AwaitReady,
    BaseBackup,
    ChangeSlots,
    CreateRoles,
    Initdb,
    KillAll,
    MoveDataDirectoryAway,
    PostgresError,
    RemoveDataDirectory,
    RunCheckpoint,
    RunRewind,
    RunSingleUser,
)

T = TypeVar("T")
FAILURES = (DcsUnavailable, Refused, PostgresError, Void)

DAY_S = 86400.0
GRACE_S = 5.0  # for the step around a wait that has its own limit
DEFAULT_S = 10.0
LONGEST_START_S = 7 * DAY_S  # where `pg_ctl_timeout` decides; it may be without limit
LIMITS_S: Mapping[type[Request[Any]], float] = {
    Initdb: 3600.0,
    CreateRoles: 3600.0,  # `post_bootstrap` may load data
    BaseBackup: 7 * DAY_S,
    RunRewind: 7 * DAY_S,
    RunSingleUser: 7 * DAY_S,
    RemoveDataDirectory: 3600.0,
    MoveDataDirectoryAway: 60.0,
    KillAll: 10.0,
    ChangeSlots: 2.0,  # a promotion may wait for it
}


def limit_s(request: Request[Any]) -> float:
    """Return for how long a request to Postgres may take; all are bounded, the long ones are cancellable."""
    match request:
        case AwaitReady(None):
            return LONGEST_START_S
        case AwaitReady(int() | float() as within_s) | AwaitDown(within_s) | RunCheckpoint(within_s):
            return within_s + GRACE_S
        case _:
            return LIMITS_S.get(type(request), DEFAULT_S)


def drive(steps: Steps[T], perform: Callable[[Request[Any]], object]) -> T:
    """Run a generator of requests to its end; what it does not catch is raised."""
    try:
        request = next(steps)
        while True:
            try:
                answer = perform(request)
            except FAILURES as failure:
                request = steps.throw(failure)
            else:
                request = steps.send(answer)
    except StopIteration as end:
        return cast(T, end.value)
    finally:
        steps.close()
