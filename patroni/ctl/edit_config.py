"""`edit-config`: change the dynamic configuration in the store (contract/cli.md §4.5)."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click

from patroni.config.edit import edit_faults
from patroni.ctl import option
from patroni.ctl.config_change import Tree, Unusable, applied, assigned, difference, parsed_tree
from patroni.ctl.table import yaml_text
from patroni.ctl.tool import Tool
from patroni.dcs.store import Refusal, Refused

_STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The command line."""

    cluster_name: str | None
    group: int | None
    items: tuple[str, ...]
    parameters: tuple[str, ...]
    apply_file: str | None
    replace_file: str | None
    is_quiet: bool
    is_forced: bool

    @property
    def wants_editor(self) -> bool:
        return not self.items and not self.parameters and self.apply_file is None and self.replace_file is None

    @property
    def uses_stdin(self) -> bool:
        return _STDIN in (self.apply_file, self.replace_file)


@click.command("edit-config")
@option.optional_cluster
@option.group
@click.option("-s", "--set", "items", multiple=True, metavar="KEY=VALUE", help="Set a key; null or nothing deletes it.")
@click.option("-p", "--pg", "parameters", multiple=True, metavar="PARAM=VALUE", help="Set a parameter of Postgres.")
@click.option("--apply", "apply_file", metavar="FILE", help="Lay a YAML file over the configuration; - is stdin.")
@click.option("--replace", "replace_file", metavar="FILE", help="Take a YAML file as the configuration; - is stdin.")
@click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Do not show the difference.")
@option.force
@click.pass_obj
def edit_config(tool: Tool, /, **options: Any) -> None:  # noqa: ANN401  # parsed by click, made a record at once
    """Change the dynamic configuration; without options in an editor."""
    _edit(tool, _Asked(**options))


def _edit(tool: Tool, asked: _Asked) -> None:
    name = tool.cluster_name(asked.cluster_name)
    group = tool.citus_group if asked.group is None else asked.group
    config = tool.read(name, group).main.config
    if config is None:
        raise click.ClickException(f"cluster {name} has no configuration in the store")
    old: Tree = config.values or {}
    try:
        new = _edited(old, name) if asked.wants_editor else _changed(old, asked)
    except Unusable as error:
        raise click.ClickException(str(error)) from error
    if new == old:
        if not asked.is_quiet:
            click.echo("Not changed")
        return
    if faults := edit_faults(old, new):
        raise click.ClickException("\n".join(faults))
    if not asked.is_quiet:
        _show(difference(old, new))
    if not _is_confirmed(asked):
        return
    try:
        tool.drive(tool.coordinator(name, group).write_config(new, config.token))
    except Refused as error:
        if error.why is not Refusal.CHANGED:
            raise
        raise click.ClickException("somebody else changed the configuration meanwhile; nothing was written") from error
    click.echo("Configuration changed")


def _is_confirmed(asked: _Asked) -> bool:
    if asked.is_forced:
        return True
    if asked.uses_stdin:
        click.echo("Use --force to apply this: standard input is used up, so nothing can be asked")
        return False
    return click.confirm("Apply these changes?")


def _changed(old: Tree, asked: _Asked) -> Tree:
    """Return the configuration with the options applied in their fixed order."""
    new = old
    if asked.replace_file is not None:
        new = parsed_tree(_read(asked.replace_file), asked.replace_file)
    if asked.apply_file is not None:
        new = applied(new, _read(asked.apply_file), asked.apply_file)
    return assigned(assigned(new, asked.items), asked.parameters, "postgresql.parameters.")


def _read(path: str) -> str:
    try:
        if path == _STDIN:
            return sys.stdin.read()
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path}: cannot be read: {error.strerror if isinstance(error, OSError) else error}") from error


# --- editor and pager


def _edited(old: Tree, name: str) -> Tree:
    """Return what the operator makes of the configuration in an editor."""
    command = _program("EDITOR", ("editor", "vi"))
    if command is None:
        raise Unusable("no editor is found; name one in the environment variable EDITOR")
    opened, path = tempfile.mkstemp(prefix=f"{name.replace('/', '_')}-config-", suffix=".yaml")
    try:
        with open(opened, "w", encoding="utf-8") as file:
            file.write(yaml_text(dict(old)))
        status = subprocess.run([*command, path], check=False).returncode
        if status != 0:
            raise Unusable(f"the editor ended with status {status}; nothing was changed")
        return parsed_tree(_read(path), path)
    finally:
        with suppress(FileNotFoundError):  # an editor may have removed it
            os.unlink(path)


def _show(lines: Sequence[str]) -> None:
    """Show the difference: as it is, on a terminal coloured and by a pager."""
    if not sys.stdout.isatty():
        click.echo("\n".join(lines))
        return
    command = _program("PAGER", ("less", "more"))
    if command is None:
        raise click.ClickException("no pager is found; name one in the environment variable PAGER")
    text = "".join(f"{click.style(line, fg=_COLOURS.get(line[:1]))}\n" for line in lines)
    environment = {**os.environ, "LESS": "-FRX"}
    subprocess.run(command, input=text, text=True, env=environment, check=False)


_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def _program(variable: str, others: Sequence[str]) -> list[str] | None:
    """Return the program that the variable names, with its arguments, else the first of the others that is there."""
    wanted: list[str] = []
    with suppress(ValueError):  # a quotation mark that is never closed
        wanted = shlex.split(os.environ.get(variable, ""))
    if wanted and shutil.which(wanted[0]):
        return wanted
    return next(([path] for name in others if (path := shutil.which(name))), None)
