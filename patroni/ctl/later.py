"""Commands that the agents of this version cannot carry out; each says so in one line, exit 1, and changes nothing."""

from __future__ import annotations

import click

_COMMANDS = {
    "demote-cluster": "Turn a cluster into a standby cluster.",
    "pause": "Leave Postgres alone for a while.",
    "promote-cluster": "Turn a standby cluster into one of its own.",
    "query": "Run SQL on a member.",
    "reinit": "Copy a replica anew.",
    "reload": "Read the configuration of members again.",
    "restart": "Restart Postgres on members.",
    "resume": "End the pause.",
}


def not_yet(command: str) -> click.ClickException:
    """Return the error of a command that does not exist yet."""
    return click.ClickException(f"`{command}`: this version cannot do it yet")


def commands() -> list[click.Command]:
    """Return these commands; they take whatever the complete ones will take."""
    return [_command(name, text) for name, text in _COMMANDS.items()]


def _command(name: str, text: str) -> click.Command:
    def refuse(arguments: tuple[str, ...]) -> None:
        raise not_yet(name)

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        help=f"{text} (Not in this version yet.)",
        short_help=f"Not yet: {text}",
        context_settings={"ignore_unknown_options": True},
    )
