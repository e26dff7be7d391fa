"""`remove`: forget a cluster (contract/cli.md §4.14). Agents that run write their keys again."""

from __future__ import annotations

import click

from patroni.ctl import option
from patroni.ctl.member_list import Form, rendered
from patroni.ctl.tool import Tool

_AWARE = "Yes I am aware"


@click.command("remove")
@option.required_cluster
@option.group
@option.output_format
@click.pass_obj
def remove(tool: Tool, cluster_name: str, group: int | None, form: Form) -> None:
    """Delete everything that the store holds about a cluster."""
    view = tool.read(cluster_name, group)
    if view.is_citus and group is None:
        raise click.ClickException("name the group of the Citus cluster with --group")
    click.echo(rendered(view, form))
    _require(click.prompt("Name of the cluster to remove", type=str), cluster_name, "the name of the cluster")
    question = f'Everything stored about {cluster_name} will be deleted; type "{_AWARE}"'
    _require(click.prompt(question, type=str), _AWARE, f'"{_AWARE}"')
    leader = view.main.leader_name
    if leader is not None:
        _require(click.prompt("The cluster has a leader; type its name to go on", type=str), leader, "the name of the leader")
    tool.drive(tool.coordinator(cluster_name, group).delete_cluster())


def _require(answer: str, wanted: str, what: str) -> None:
    if answer != wanted:
        raise click.ClickException(f"{answer!r} is not {what}; nothing was removed")
