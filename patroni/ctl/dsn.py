"""`dsn`: where to connect (contract/cli.md §4.2)."""

from __future__ import annotations

from typing import Any

import click

from patroni.ctl import option
from patroni.ctl.cluster_view import ClusterView
from patroni.ctl.member_list import Address, address_of
from patroni.ctl.role import RoleFilter, selected
from patroni.ctl.tool import Tool


@click.command("dsn")
@option.optional_cluster
@click.option("-r", "--role", type=click.Choice([str(role) for role in RoleFilter]), help="Connect to the first of this role.")
@click.option("-m", "--member", help="Connect to this member.")
@option.group
@click.pass_obj
def dsn(tool: Tool, /, cluster_name: str | None, group: int | None, **target: Any) -> None:  # noqa: ANN401  # of click
    """Print a connection string of a member, by default of the leader."""
    role, member = target["role"], target["member"]
    if role is not None and member is not None:
        raise click.ClickException("--role and --member exclude each other")
    address = _address(tool.read(tool.cluster_name(cluster_name), group), role, member)
    if address is None:
        raise click.ClickException(
            f"there is no member {member}" if member else f"there is no {role or 'leader'} to connect to"
        )
    click.echo(f"host={address.host} port={address.port}")


def _address(view: ClusterView, role: str | None, name: str | None) -> Address | None:
    members = selected(view, RoleFilter.ANY if name is not None else RoleFilter(role or RoleFilter.LEADER))
    meant = (member for member in members if name in (None, member.name))
    return next((address for member in meant if (address := address_of(member))), None)
