"""The demo without a person: three acts against the leader while a client writes, and no acknowledged row may be missing."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.demo.sample import HOST, TTL_S
from tests.demo.screen import say
from tests.demo.site import Site
from tests.demo.status import Status, leader_of
from tests.demo.writer import Writer
from tests.support.waiting import wait_until

_PERIOD_S = 0.01
_WRITES_BACK_S = 60.0
_SWITCHOVER_S = 30.0


class CheckFailed(Exception):
    """What went wrong, for the person who reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that is done to the cluster."""

    title: str
    run: Callable[[Site, Status], None]
    keeps_leader: bool = False  # whether the same node may lead afterwards
    ends_agent: bool = False


def check(site: Site) -> None:
    """Run the acts, then look for every acknowledged row; raise CheckFailed or what a wait raises."""
    with Writer(site.primary_port, _PERIOD_S) as writer:
        wait_until(lambda: writer.count > 0, _WRITES_BACK_S, "the first write through HAProxy", lambda: writer.last_error)
        say("a client writes through HAProxy all the time")
        for act in ACTS:
            _perform(act, site, writer)
        writer.stop()
        missing = writer.missing()
        if missing:
            raise CheckFailed(f"{len(missing)} of {writer.count} acknowledged rows are missing: {missing[:20]}")
        say(f"{writer.count} rows were acknowledged, none is missing")


def _perform(act: Act, site: Site, writer: Writer) -> None:
    leader = site.wait_healthy()
    say(f"{act.title} ({leader.name}) ...")
    began_s = time.monotonic()
    act.run(site, leader)
    successor = wait_until(lambda: _successor(act, site, leader), _WRITES_BACK_S, "a leader", site.logs)
    assert successor is not None
    seen_s = time.monotonic()
    wait_until(
        lambda: writer.has_written_since(seen_s), _WRITES_BACK_S, "writes", lambda: f"{writer.last_error}\n{site.logs()}"
    )
    away_s = writer.longest_pause_s(began_s)
    who = "leads again" if successor.name == leader.name else f"was replaced by {successor.name}"
    say(f"  writes were away for {away_s:.2f} s; {leader.name} {who}")
    if act.ends_agent:
        say(f"  starting {leader.name} again ...")
        site.node(leader.name).restart()
        began_s = time.monotonic()
    site.wait_healthy()
    say(f"  all three nodes are healthy, {time.monotonic() - began_s:.1f} s after {_counted_from(act)}")


def _successor(act: Act, site: Site, old: Status) -> Status | None:
    """Return who leads after the act: another node, or the same with another life of its server; None: not yet."""
    leader = leader_of(site.statuses())
    if leader is None or (leader.name == old.name and not act.keeps_leader):
        return None
    return leader if (leader.name, leader.server_start) != (old.name, old.server_start) else None


def _counted_from(act: Act) -> str:
    return "its start" if act.ends_agent else "the act"


def _kill_postgres(site: Site, leader: Status) -> None:
    site.node(leader.name).kill_postgres()


def _kill_node(site: Site, leader: Status) -> None:
    site.node(leader.name).kill()


def _switch_over(site: Site, leader: Status) -> None:
    node = site.node(leader.name)
    connection = http.client.HTTPConnection(HOST, node.place.rest_port, timeout=_SWITCHOVER_S)
    try:
        connection.request("POST", "/switchover", json.dumps({"leader": leader.name}))
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise CheckFailed(f"the switchover was refused: {answer.status} {text}")


ACTS = (
    Act(title="killing the leader's Postgres", run=_kill_postgres, keeps_leader=True),
    Act(
        title=f"killing the leader's whole node, agent and Postgres; its lock lasts up to {TTL_S} s",
        run=_kill_node,
        ends_agent=True,
    ),
    Act(title="switching over from the leader", run=_switch_over),
)
