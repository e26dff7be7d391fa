"""`why`: the last decision of each member and its reason, and what keeps a member from becoming leader. An own command.

The decision is the agent's word (`agent.decision` of `GET /patroni`). What speaks against a member are the facts that
candidates are judged by (contract/ha_behaviour.md §1.6, §2.20), as they are now; who really wins is decided in a race.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from patroni.ctl import option
from patroni.ctl.api import ApiRequest, ApiUnreachable
from patroni.ctl.cluster_view import switches_of
from patroni.ctl.member_list import role_of
from patroni.ctl.tool import Tool
from patroni.decision.cluster import Cluster, Member
from patroni.decision.scalar import integer
from patroni.decision.tags import tags_from

_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a member answers."""

    document: Mapping[str, object] | None  # None: no answer
    fault: str = ""  # why there is none


@click.command("why")
@click.argument("member_names", nargs=-1, metavar="[MEMBER_NAME]...")
@click.option("--cluster", "cluster_name", help="Name of the cluster; without it `scope` of the configuration.")
@option.group
@click.pass_obj
def why(tool: Tool, member_names: tuple[str, ...], cluster_name: str | None, group: int | None) -> None:
    """Show the last decision of members, and what speaks against them as leader."""
    members = tool.read(tool.cluster_name(cluster_name), group).members()
    unknown = sorted(set(member_names) - {member.name for member, _ in members})
    if unknown:
        raise click.ClickException(f"no such member: {', '.join(unknown)}")
    for member, cluster in members:
        if not member_names or member.name in member_names:
            click.echo("\n".join(explained(member, cluster, _told(tool, member))))


def _told(tool: Tool, member: Member) -> Told:
    try:
        document = json.loads(tool.api.call(member, ApiRequest(endpoint="patroni", answer_s=_ANSWER_S)).text)
    except ApiUnreachable as error:
        return Told(document=None, fault=str(error))
    except (ValueError, RecursionError):
        document = None
    return Told(document=document) if isinstance(document, dict) else Told(document=None, fault="the answer is no JSON object")


def explained(member: Member, cluster: Cluster, told: Told) -> list[str]:
    """Return the lines about one member; pure."""
    role = role_of(member, cluster, switches_of(cluster))
    lines = [f"{member.name} ({role}): {_decision(told)}"]
    agent = _mapping(told, "agent")
    lines.extend(f"    under way: {agent[name]}" for name in ("job", "chain") if name in agent)
    bars = list(_bars(cluster, told)) if member.name != cluster.leader_name else []
    return [*lines, *(f"    against it as leader: {bar}" for bar in bars)]


def _decision(told: Told) -> str:
    if told.document is None:
        return f"no answer ({told.fault})"
    decision = _mapping(told, "agent").get("decision")
    return decision if isinstance(decision, str) else "says nothing of its decisions"


def _bars(cluster: Cluster, told: Told) -> Iterator[str]:
    """Yield what keeps a member from becoming leader as it stands now."""
    if told.document is None:
        yield "it does not answer"
        return
    tags = tags_from(_mapping(told, "tags"))
    if tags.nofailover or tags.failover_priority <= 0:
        yield "its tags (nofailover, or failover_priority 0)"
    if told.document.get("watchdog_failed"):
        yield "its watchdog is required and cannot be used"
    positions = _mapping(told, "xlog")
    lsn = max(integer(positions.get(name)) or 0 for name in ("location", "received_location", "replayed_location"))
    limit_bytes = switches_of(cluster).maximum_lag_on_failover_bytes
    lag_bytes = (cluster.status.lsn or 0) - lsn
    if not lsn:
        yield f"its position is unknown (state: {told.document.get('state')})"
    elif lag_bytes > limit_bytes:
        yield f"{lag_bytes} bytes behind the last published position, more than maximum_lag_on_failover ({limit_bytes})"


def _mapping(told: Told, name: str) -> Mapping[str, object]:
    value = told.document.get(name) if told.document else None
    return value if isinstance(value, Mapping) else {}
