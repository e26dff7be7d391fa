"""Options and arguments that several commands share (contract/cli.md §2.6, §3, §3.8)."""

from __future__ import annotations

import click

from patroni.ctl.member_list import Form

optional_cluster = click.argument("cluster_name", required=False)
required_cluster = click.argument("cluster_name")
group = click.option("--group", type=int, help="Group of a Citus cluster.")
force = click.option("--force", "is_forced", is_flag=True, help="Ask nothing.")
_FORMS = ("pretty", "tsv", "json", "yaml", "yml")
output_format = click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(_FORMS),
    default="pretty",
    callback=lambda _context, _option, value: Form.YAML if value == "yml" else Form(value),
    help="How to write it.",
)
watch = click.option("-w", "--watch", "watch_s", type=float, help="Repeat every so many seconds.")
watch_2s = click.option("-W", "is_watched", is_flag=True, help="Repeat every 2 seconds.")
