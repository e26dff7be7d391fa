"""`switchover` and `failover`: the questions, the request over REST, and the store where REST does not answer.

Steps, their order, prompts and outputs: contract/cli.md §4.8. What is asked here is for the operator's sake; leader and
candidates check everything again, so that a request that should not succeed does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from patroni.ctl import option
from patroni.ctl.api import ApiAnswer, ApiRequest, ApiUnreachable
from patroni.ctl.cluster_view import Switches, is_voter, switches_of
from patroni.ctl.member_list import rendered
from patroni.ctl.timestamp import NOW, parse_schedule
from patroni.ctl.tool import Tool
from patroni.decision.cluster import Cluster, FailoverRequest, Member
from patroni.decision.settings import SynchronousMode

logger = logging.getLogger(__name__)

_LEAST_WAIT_S = 10.0
_BEYOND_S = 15.0  # how much longer than an agent polls we wait for its answer

_candidate = click.option("--candidate", help="Member to become the leader.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The command line. None: not given."""

    is_failover: bool
    cluster_name: str | None
    group: int | None
    candidate: str | None
    is_forced: bool
    leader: str | None = None
    scheduled: str | None = None

    @property
    def word(self) -> str:
        return "failover" if self.is_failover else "switchover"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What is sent."""

    leader: str | None  # who is to give up the lock; None: nobody leads, or a failover
    candidate: str | None  # empty: left to the cluster at the prompt; None: left to it by the command line
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """The cluster that it is about, as read before the questions."""

    tool: Tool
    asked: _Asked
    name: str
    group: int | None
    cluster: Cluster
    switches: Switches


@click.command("switchover")
@option.optional_cluster
@option.group
@click.option("--leader", "--primary", "leader", help="Name of the present leader.")
@_candidate
@click.option("--scheduled", metavar="TIMESTAMP", help="When; without it at once. Without a zone: local time.")
@option.force
@click.pass_obj
def switchover(tool: Tool, /, **options: Any) -> None:  # noqa: ANN401  # parsed by click, made a record at once
    """Hand the leader's role over to another member."""
    _switch(tool, _Asked(is_failover=False, **options))


@click.command("failover")
@option.optional_cluster
@option.group
@_candidate
@option.force
@click.pass_obj
def failover(tool: Tool, /, **options: Any) -> None:  # noqa: ANN401  # as above
    """Make a member the leader even where a switchover is refused."""
    _switch(tool, _Asked(is_failover=True, **options))


def _switch(tool: Tool, asked: _Asked) -> None:
    name, group = tool.cluster_name(asked.cluster_name), asked.group
    view = tool.read(name, group)
    click.echo("Current cluster topology")
    click.echo(rendered(view))
    if view.is_citus and group is None:
        if asked.is_forced:
            raise click.ClickException("name the group of the Citus cluster with --group")
        group = click.prompt("Citus group", type=int)
        view = tool.read(name, group)
    cluster = view.main
    scene = _Scene(tool=tool, asked=asked, name=name, group=group, cluster=cluster, switches=switches_of(cluster))
    wish = _wish(scene)
    _confirm(scene, wish)
    try:
        answer = _requested(scene, wish)
    except ApiUnreachable as error:
        logger.warning("%s", error)
        click.echo(f"{tool.stamp()} Could not {asked.word} through the REST API; writing the request into the store")
        _write(scene, wish)
        click.echo(rendered(view))
        return
    _show(scene, answer)


# --- the questions


def _wish(scene: _Scene) -> _Wish:
    if scene.asked.is_failover:
        candidate = _chosen_candidate(scene)
        _confirm_asynchronous(scene, candidate)
        return _Wish(leader=None, candidate=candidate)
    leader = _chosen_leader(scene)
    candidate = _chosen_candidate(scene)
    return _Wish(leader=leader, candidate=candidate, scheduled_at=_chosen_time(scene))


def _chosen_leader(scene: _Scene) -> str:
    present = scene.cluster.leader_name
    if present is None:
        raise click.ClickException(f"cluster {scene.name} has no leader; only a failover is possible")
    given = scene.asked.leader
    if given is None:
        word = "Standby Leader" if scene.switches.is_standby_cluster else "Primary"
        given = present if scene.asked.is_forced else click.prompt(word, default=present)
    if given != present:
        raise click.ClickException(f"member {given} is not the leader of cluster {scene.name}")
    return given


def _chosen_candidate(scene: _Scene) -> str | None:
    asked, cluster = scene.asked, scene.cluster
    names = sorted(member.name for member in cluster.members.values() if _may_lead(member, cluster))
    if not names:
        raise click.ClickException(f"No candidates found to {asked.word} to")
    given = asked.candidate
    if given is None and not asked.is_forced:
        given = click.prompt(f"Candidate {names}", default="", type=str)
    if asked.is_failover and not given:
        raise click.ClickException("a failover needs a candidate")
    if given and given == cluster.leader_name:
        raise click.ClickException(f"candidate {given} is the leader already")
    if given and given not in names:
        raise click.ClickException(f"candidate {given} is not among {names}: no such member, or tagged not to become leader")
    return given


def _may_lead(member: Member, cluster: Cluster) -> bool:
    tags = member.tags
    return member.name != cluster.leader_name and not tags.nofailover and tags.failover_priority > 0


def _confirm_asynchronous(scene: _Scene, candidate: str | None) -> None:
    """Ask once more before a node becomes leader that may lack acknowledged transactions."""
    sync = scene.cluster.sync
    if scene.asked.is_forced or scene.switches.synchronous_mode is SynchronousMode.OFF or sync.leader is None:
        return
    name = candidate or ""
    if not is_voter(name, scene.cluster) and name.lower() != sync.leader.lower():
        _require(f"Fail over to the asynchronous node {candidate}, which may lack the last transactions?")


def _chosen_time(scene: _Scene) -> datetime | None:
    asked, now = scene.asked, scene.tool.now()
    given = asked.scheduled
    if given is None and not asked.is_forced:
        example = now + timedelta(hours=1)
        given = click.prompt(f"When to switch over (e.g. {example:%Y-%m-%dT%H:%M})", default=NOW, type=str)
    when = parse_schedule(given, now)
    if when is not None and scene.switches.is_paused:
        raise click.ClickException("Can't schedule switchover in the paused state")
    return when


def _confirm(scene: _Scene, wish: _Wish) -> None:
    if scene.asked.is_forced:
        return
    verb = "Fail over" if scene.asked.is_failover else "Switch over"
    when = "now" if wish.scheduled_at is None else f"at {wish.scheduled_at.isoformat()}"
    leader = scene.cluster.leader_name
    _require(f"{verb} cluster {scene.name} {when}{f', demoting leader {leader}' if leader else ''}?")


def _require(question: str) -> None:
    if not click.confirm(question):
        raise click.ClickException("nothing was done")


# --- the request


def _requested(scene: _Scene, wish: _Wish) -> ApiAnswer:
    """Send it to the leader, without one to the candidate, and wait for as long as an agent may take."""
    name = scene.cluster.leader_name or wish.candidate or ""
    member = scene.cluster.members.get(name)
    if member is None:
        raise ApiUnreachable(f"member {name} has no key in the store")
    request = ApiRequest(
        method="POST",
        endpoint=scene.asked.word,
        body=_body(wish, is_failover=scene.asked.is_failover),
        answer_s=2 * max(_LEAST_WAIT_S, scene.switches.loop_wait_s) + _BEYOND_S,
    )
    answer = scene.tool.api.call(member, request)
    if answer.status == 501 and not scene.asked.is_failover and "support" in answer.text:
        older = ApiRequest(method="POST", endpoint="failover", body=request.body, answer_s=request.answer_s)
        return scene.tool.api.call(member, older)
    return answer


def _body(wish: _Wish, *, is_failover: bool) -> Mapping[str, object]:
    body: dict[str, object] = {"candidate": wish.candidate}
    if is_failover:
        return body
    body["leader"] = wish.leader
    if wish.scheduled_at is not None:
        body["scheduled_at"] = wish.scheduled_at.isoformat()
    return body


def _write(scene: _Scene, wish: _Wish) -> None:
    request = FailoverRequest(leader=wish.leader, candidate=wish.candidate or None, scheduled_at=wish.scheduled_at)
    scene.tool.drive(scene.tool.coordinator(scene.name, scene.group).write_failover(request))


def _show(scene: _Scene, answer: ApiAnswer) -> None:
    if answer.status not in (200, 202):
        outcome = "result unknown" if "status unknown" in answer.text.lower() else "failed"
        click.echo(f"{scene.asked.word.capitalize()} {outcome}, details: {answer.status}, {answer.text}")
        return
    view = scene.tool.read(scene.name, scene.group)
    click.echo(f"{scene.tool.stamp()} {answer.text}")
    click.echo(rendered(view))
