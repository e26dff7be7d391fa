"""`version`: of this tool and of members (contract/cli.md §4.7)."""

from __future__ import annotations

import json

import click

from patroni.ctl import option
from patroni.ctl.api import ApiAnswer, ApiRequest, ApiUnreachable
from patroni.ctl.tool import Tool
from patroni.decision.scalar import integer
from patroni.version import COMPATIBILITY


@click.command("version")
@option.optional_cluster
@click.argument("member_names", nargs=-1)
@option.group
@click.pass_obj
def version(tool: Tool, cluster_name: str | None, member_names: tuple[str, ...], group: int | None) -> None:
    """Show the version that this tool is compatible with, and those of members."""
    click.echo(f"patronictl version {COMPATIBILITY}")
    if not cluster_name:
        return
    click.echo()
    for member, _ in tool.read(cluster_name, group).members():
        if member.api_url is None or (member_names and member.name not in member_names):
            continue
        try:
            line = versions(tool.api.call(member, ApiRequest()))
        except ApiUnreachable as error:
            line = f"failed to get version: {error}"
        click.echo(f"{member.name}: {line}")


def versions(answer: ApiAnswer) -> str:
    """Return what a status document says of versions."""
    try:
        document = json.loads(answer.text)
        agent = document["patroni"]["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"failed to get version: the answer with status {answer.status} names none"
    server = integer(document.get("server_version"))
    return f"Patroni {agent} PostgreSQL {server_version(server)}" if server else f"Patroni {agent}"


def server_version(number: int) -> str:
    """Return a server's version number as people write it: two parts since 10, three before."""
    major, minor = divmod(number, 10000)
    return f"{major}.{minor}" if major >= 10 else f"{major}.{minor // 100}.{minor % 100}"
