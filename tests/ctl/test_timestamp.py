"""`--scheduled` (contract/cli.md §2.12)."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from patroni.ctl.timestamp import parse_schedule

NOW = datetime(2031, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("2031-03-01T05:00:00+01:00", "2031-03-01T05:00:00+01:00"),
        ("2031-03-01 05:00 -3", "2031-03-01T05:00:00-03:00"),
        ("2031-03-01T05:00Z", "2031-03-01T05:00:00+00:00"),
        ("20310301T0500 UTC", "2031-03-01T05:00:00+00:00"),
        ("1 March 2031 5am +02:00", "2031-03-01T05:00:00+02:00"),
        ("05:00Z", "2031-01-02T05:00:00+00:00"),
    ],
)
def test_times(text: str, then: str) -> None:
    when = parse_schedule(text, NOW)
    assert when is not None
    assert when.isoformat() == then


@pytest.mark.parametrize("text", [None, "", "now"])
def test_immediately(text: str | None) -> None:
    assert parse_schedule(text, NOW) is None


def test_without_a_zone_it_is_the_local_one() -> None:
    when = parse_schedule("2031-07-01 05:00", NOW)
    assert when is not None
    assert when.isoformat() == datetime(2031, 7, 1, 5).astimezone().isoformat()


@pytest.mark.parametrize("text", ["nonsense", "2031-13-01", "Now", "99999999999999999999", "2031-03-01T05:00+99:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.ClickException, match="not a time"):
        parse_schedule(text, NOW)
