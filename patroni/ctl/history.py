"""`history`: the timelines that ended (contract/cli.md §4.6)."""

from __future__ import annotations

import click

from patroni.ctl import option
from patroni.ctl.member_list import Form
from patroni.ctl.table import Align, Column, boxed, json_text, separated, yaml_text
from patroni.ctl.tool import Tool
from patroni.decision.cluster import HistoryRow

_COLUMNS = (
    Column("TL", Align.RIGHT),
    Column("LSN", Align.RIGHT),
    Column("Reason"),
    Column("Timestamp"),
    Column("New Leader"),
)


@click.command("history")
@option.optional_cluster
@option.group
@option.output_format
@click.pass_obj
def history(tool: Tool, cluster_name: str | None, group: int | None, form: Form) -> None:
    """Show the history of timelines."""
    cluster = tool.read(tool.cluster_name(cluster_name), tool.citus_group if group is None else group).main
    click.echo(history_text(cluster.history.rows, form))


def history_text(rows: tuple[HistoryRow, ...], form: Form) -> str:
    """Return the rows in one of the forms; a short row is filled up with empty texts."""
    cells = [(row.timeline, row.lsn, row.reason, row.timestamp or "", row.leader or "") for row in rows]
    headers = [column.header for column in _COLUMNS]
    if form in (Form.JSON, Form.YAML):
        records = [dict(zip(headers, row, strict=True)) for row in cells]
        return json_text(records) if form is Form.JSON else yaml_text(records)
    texts = [[str(cell) for cell in row] for row in cells]
    return separated(headers, texts) if form is Form.TSV else boxed(_COLUMNS, texts)
