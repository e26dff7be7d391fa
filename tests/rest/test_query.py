"""Sizes and tag values in query parameters."""

from __future__ import annotations

import pytest

from patroni.rest.query import parse_size, tag_text


@pytest.mark.parametrize(
    ("given", "then"),
    [
        (None, None),
        ("0", 0),
        ("1048576", 1048576),
        ("1B", 1),
        ("1kB", 1024),
        ("10MB", 10 * 1024**2),
        ("2 GB", 2 * 1024**3),
        ("1TB", 1024**4),
        ("1.5kB", 1536),
        ("1e3", 1000),
        (".5kB", 512),
        ("0x10", 16),
        ("0x1kB", 1024),
        ("010", 8),
        ("09", 9),
        ("-1", -1),
        (" 7 ", 7),
        ("1.4", 1),
        ("1M", None),
        ("1mb", None),
        ("1KB", None),
        ("nonsense", None),
        ("", None),
        ("1e999", None),
        ("inf", None),
        ("nan", None),
        ("٣", None),
        ("9" * 65, None),
    ],
)
def test_size(given: str | None, then: int | None) -> None:
    assert parse_size(given) == then


@pytest.mark.parametrize(("given", "then"), [(True, "true"), (False, "false"), (1, "1"), (1.4, "1.4"), ("True", "True")])
def test_tag_text(given: object, then: str) -> None:
    assert tag_text(given) == then
