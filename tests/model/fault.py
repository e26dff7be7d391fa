"""What goes wrong, each fault with its repair, under the assumptions of docs/safety.md.

Excluded, because the design promises nothing then: guard and agent of one node lost at the same time while it is armed.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.node import (
    Agent,
    Chain,
    Fault,
    Guard,
    Host,
    Known,
    Move,
    Node,
    Page,
    Phase,
    Postgres,
    Renewal,
    World,
    given_up,
    without_lock,
)


def messages(n: Node, world: World) -> Iterator[Move]:
    """A request or an answer is lost, or the sender waits no more; what is still under way may be carried out later."""
    if Fault.MESSAGE not in world.scope.faults or n.agent is not Agent.UP:
        return
    if n.renewal is not Renewal.NONE:
        yield Move("a renewal of {n} gets no answer", n._replace(renewal=Renewal.NONE), is_fault=True)
    if n.chain is not Chain.NONE:
        yield Move("{n} waits no more for the store's answer", given_up(n, Phase.IDLE), is_fault=True)


def agent(n: Node, world: World) -> Iterator[Move]:
    """The agent dies, freezes or hangs, while its guard is there; and the repairs."""
    faults = world.scope.faults
    if n.agent is Agent.UP and (n.guard is not Guard.DEAD or n.page is Page.IDLE):
        if Fault.AGENT_DIES in faults:
            yield Move("the agent of {n} dies", _dead(n), is_fault=True)
        if Fault.AGENT_FREEZES in faults:
            yield Move("the agent of {n} freezes", n._replace(agent=Agent.FROZEN), is_fault=True)
        if Fault.LOOP_HANGS in faults:
            yield Move("the loop of {n} hangs", n._replace(agent=Agent.HUNG), is_fault=True)
    elif not world.scope.has_repairs:
        return
    elif n.agent is Agent.DEAD and n.host is Host.RUNS:
        yield Move("an agent of {n} is started anew", n._replace(agent=Agent.UP), is_fault=True)
    elif n.agent in (Agent.FROZEN, Agent.HUNG):
        yield Move("the agent of {n} goes on", n._replace(agent=Agent.UP), is_fault=True)


def _dead(n: Node) -> Node:
    """Return the node without its agent: all that it knew is gone, but what is on the page and in the network."""
    left_behind = given_up(n, Phase.IDLE)
    return left_behind._replace(agent=Agent.DEAD, proof=Known.NOTHING, renewal=Renewal.NONE)


def guard(n: Node, world: World) -> Iterator[Move]:
    """The guard dies, while its agent is there. One that freezes is killed by the agent, which gets no answer."""
    if Fault.GUARD_DIES in world.scope.faults and n.guard is not Guard.DEAD and n.agent is Agent.UP and n.host is Host.RUNS:
        yield Move("the guard of {n} dies", n._replace(guard=Guard.DEAD), is_fault=True)


def crash(n: Node, world: World) -> Iterator[Move]:
    """The postmaster dies. A backend may live on, and acknowledges what it is about to commit (fence_facts.md row 6)."""
    if Fault.CRASH not in world.scope.faults or n.postgres in (Postgres.DOWN, Postgres.ORPHAN):
        return
    if n.is_stopped or n.host is Host.FROZEN:
        return
    yield Move("Postgres of {n} crashes", n._replace(postgres=Postgres.DOWN), is_fault=True)
    if n.postgres is Postgres.PRIMARY:
        yield Move("the postmaster of {n} dies and leaves an orphan", n._replace(postgres=Postgres.ORPHAN), is_fault=True)


def host(n: Node, world: World) -> Iterator[Move]:
    """The whole machine stands still, and goes on; its clocks count it."""
    is_guarded = n.guard is not Guard.DEAD or n.page is Page.IDLE
    if Fault.HOST_FREEZES in world.scope.faults and n.host is Host.RUNS and is_guarded:
        yield Move("the machine of {n} freezes", n._replace(host=Host.FROZEN), is_fault=True)
    if n.host is Host.FROZEN:
        yield Move("the machine of {n} goes on", n._replace(host=Host.WOKEN), is_fault=True)


def delete(n: Node, world: World) -> Iterator[Move]:
    """An operator deletes the lock. What is armed under it is excused until it is armed anew or ended."""
    if Fault.DELETE in world.scope.faults and n.key:
        after = without_lock(n)._replace(is_deleted=True)
        yield Move("an operator deletes the lock of {n}", after, is_fault=True)


RULES = (messages, agent, guard, crash, host, delete)
