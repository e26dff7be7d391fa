"""`list` and `topology` (contract/cli.md §4.1)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import click

from patroni.ctl import option
from patroni.ctl.member_list import Form, rendered
from patroni.ctl.tool import Tool
from patroni.ctl.watch import repeat

logger = logging.getLogger(__name__)

_clusters = click.argument("cluster_names", nargs=-1, metavar="[CLUSTER_NAME]...")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The options of both commands."""

    cluster_names: tuple[str, ...]
    group: int | None
    watch_s: float | None
    is_watched: bool
    form: Form = Form.TOPOLOGY
    is_extended: bool = False
    has_time: bool = False


@click.command("list")
@_clusters
@option.group
@click.option("-e", "--extended", "is_extended", is_flag=True, help="Show all columns.")
@click.option("-t", "--timestamp", "has_time", is_flag=True, help="Print the time first.")
@option.output_format
@option.watch
@option.watch_2s
@click.pass_obj
def list_members(tool: Tool, /, **options: Any) -> None:  # noqa: ANN401  # parsed by click, made a record at once
    """List the members of clusters."""
    _list(tool, _Asked(**options))


@click.command("topology")
@_clusters
@option.group
@option.watch
@option.watch_2s
@click.pass_obj
def topology(tool: Tool, /, **options: Any) -> None:  # noqa: ANN401  # as above
    """Show who replicates from whom."""
    _list(tool, _Asked(**options))


def _list(tool: Tool, asked: _Asked) -> None:
    scope = tool.configuration.scope
    names = asked.cluster_names or ((scope,) if scope else ())
    if not names:
        logger.warning("nothing to list: no cluster is named on the command line or as `scope` in the configuration")
        return

    def show() -> None:
        if asked.has_time:
            click.echo(f"{tool.now():%Y-%m-%d %H:%M:%S}")
        for name in names:
            click.echo(rendered(tool.read(name, asked.group), asked.form, is_extended=asked.is_extended))

    repeat(show, tool.clock, asked.watch_s, is_watched=asked.is_watched)
