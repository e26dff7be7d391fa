"""`--scheduled`: when something is to happen; pure but for the local zone (contract/cli.md §2.12)."""

from __future__ import annotations

from datetime import datetime

import click
from dateutil import parser, tz

NOW = "now"


def parse_schedule(text: str | None, now: datetime) -> datetime | None:
    """Return the time with its zone, without one the local; None: immediately. A past time is the API's to refuse.

    now: what a value without a date or without an hour is completed from.
    """
    if not text or text == NOW:
        return None
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    try:
        when = parser.parse(text, default=midnight)
        if when.tzinfo is None:
            when = when.replace(tzinfo=tz.tzlocal())
        when.isoformat()  # a zone that is out of range shows only here
    except (ValueError, OverflowError) as error:
        raise click.ClickException(f"--scheduled: {text}: not a time; an example is 2031-03-01T05:00:00+01:00") from error
    return when
