"""`flush`: discard what is scheduled (contract/cli.md §4.12)."""

from __future__ import annotations

import logging
from typing import Any

import click

from patroni.ctl import option
from patroni.ctl.api import ApiRequest, ApiUnreachable
from patroni.ctl.later import not_yet
from patroni.ctl.role import RoleFilter
from patroni.ctl.tool import Tool
from patroni.decision.cluster import Cluster, Member

logger = logging.getLogger(__name__)


@click.command("flush")
@option.required_cluster
@click.argument("member_names", nargs=-1)
@click.argument("target", type=click.Choice(["restart", "switchover"]))
@click.option("-r", "--role", type=click.Choice([str(role) for role in RoleFilter]), help="Only members of this role.")
@option.group
@option.force
@click.pass_obj
def flush(tool: Tool, /, cluster_name: str, group: int | None, target: str, **_restart_only: Any) -> None:  # noqa: ANN401  # of click
    """Discard a scheduled restart or switchover."""
    if target == "restart":
        raise not_yet("flush … restart")
    cluster = tool.read(cluster_name, group).main
    if cluster.failover is None or cluster.failover.scheduled_at is None:
        click.echo(f"No switchover is scheduled for cluster {cluster_name}")
    elif not _is_done_by_api(tool, cluster):
        click.echo(f"{tool.stamp()} No member could be asked; the request is removed from the store")
        tool.drive(tool.coordinator(cluster_name, group).write_failover(None, cluster.failover_token))


def _is_done_by_api(tool: Tool, cluster: Cluster) -> bool:
    """Ask one member after the other, the leader first; return whether one of them settled it."""
    for member in leader_first(cluster):
        try:
            answer = tool.api.call(member, ApiRequest(method="DELETE", endpoint="switchover"))
        except ApiUnreachable as error:
            logger.warning("%s", error)
            continue
        if answer.status in (200, 404):
            click.echo(f"{'Success' if answer.status == 200 else 'Failed'}: {answer.text}")
            return True
        click.echo(f"Failed: member={member.name}, status_code={answer.status}, ({answer.text})")
    return False


def leader_first(cluster: Cluster) -> list[Member]:
    """Return the members that have an address: the leader, then the others by name."""
    members = sorted(cluster.members.values(), key=lambda member: (member.name != cluster.leader_name, member.name))
    return [member for member in members if member.api_url]
