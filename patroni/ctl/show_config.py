"""`show-config`: the dynamic configuration (contract/cli.md §4.4)."""

from __future__ import annotations

import click

from patroni.ctl import option
from patroni.ctl.table import yaml_text
from patroni.ctl.tool import Tool


@click.command("show-config")
@option.optional_cluster
@option.group
@click.pass_obj
def show_config(tool: Tool, cluster_name: str | None, group: int | None) -> None:
    """Show the dynamic configuration of a cluster."""
    config = tool.read(tool.cluster_name(cluster_name), tool.citus_group if group is None else group).main.config
    if config is not None and config.values is not None:
        click.echo(yaml_text(dict(config.values)))
