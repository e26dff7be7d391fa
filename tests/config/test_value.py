"""Single values (contract/configuration.md §2): a table for each rule."""

from __future__ import annotations

import pytest

from patroni.config.value import (
    Address,
    Unreadable,
    is_true,
    parse_address,
    parse_boolean,
    parse_integer,
    parse_list,
    parse_real,
)


@pytest.mark.parametrize("value", ["on", "ON", "true", "True", "yes", "1", 1, True])
def test_true_words(value: object) -> None:
    assert parse_boolean(value) is True


@pytest.mark.parametrize("value", ["off", "Off", "false", "no", "0", 0, False])
def test_false_words(value: object) -> None:
    assert parse_boolean(value) is False


@pytest.mark.parametrize("value", ["t", "y", "", "1.0", 1.0, 2, None, [], "quorum"])
def test_words_that_are_no_boolean(value: object) -> None:
    assert parse_boolean(value) is None


@pytest.mark.parametrize(
    ("value", "then"),
    [
        (True, True),
        (False, False),
        ("off", False),
        ("no", False),
        ("on", True),
        ("maybe", True),
        ("", False),
        (None, False),
        ([], False),
        ([0], True),
        (2, True),
    ],
)
def test_truth(value: object, then: bool) -> None:
    assert is_true(value) is then


@pytest.mark.parametrize(
    ("value", "base", "then"),
    [
        (5, None, 5),
        ("5", None, 5),
        (" 7 ", None, 7),
        ("-3", None, -3),
        ("+3", None, 3),
        ("010", None, 8),
        ("08", None, None),
        ("0x1F", None, 31),
        ("-0x10", None, -16),
        ("1e3", None, 1000),
        (".5", None, 0),
        ("1.5", None, 2),
        ("2.5", None, 2),  # half to even
        (10.9, None, 11),
        ("64.4", None, 64),
        ("1MB", None, None),
        ("10s", None, None),
        ("1.5GB", "MB", 1536),
        ("512kB", "B", 524288),
        ("1TB", "kB", 1073741824),
        ("100", "MB", 100),
        ("16MB", "16MB", 1),
        ("64kB", "8kB", 8),
        ("90s", "min", 2),
        ("1500us", "ms", 2),
        ("30min", "s", 1800),
        ("1 h", "s", 3600),
        ("1d", "s", 86400),
        ("1mb", "MB", None),
        ("1S", "s", None),
        ("1kB", "s", None),
        ("1 x", "s", None),
        ("", None, None),
        ("-", None, None),
        ("abc", None, None),
        (None, None, None),
        (True, None, None),
        (False, None, None),
        ("1e999", None, None),
        ("1e308TB", "B", None),
        ("nan", None, None),
        ([1], None, None),
    ],
)
def test_integers(value: object, base: str | None, then: int | None) -> None:
    assert parse_integer(value, base) == then


@pytest.mark.parametrize(
    ("value", "base", "then"),
    [
        ("1.5", None, 1.5),
        (2, None, 2.0),
        ("1e-1", None, 0.1),
        ("1.5min", "s", 90.0),
        ("08.5", None, 8.5),
        ("x", None, None),
        (True, None, None),
    ],
)
def test_reals(value: object, base: str | None, then: float | None) -> None:
    assert parse_real(value, base) == then


@pytest.mark.parametrize(
    ("text", "default_port", "then"),
    [
        pytest.param("127.0.0.1:8008", None, Address(hosts=("127.0.0.1",), port=8008), id="host and port"),
        pytest.param("h", 5432, Address(hosts=("h",), port=5432), id="default port"),
        pytest.param("*:1", None, Address(hosts=("*",), port=1), id="all addresses"),
        pytest.param(":65535", None, Address(hosts=("",), port=65535), id="no host"),
        pytest.param("a, b:5433", None, Address(hosts=("a", "b"), port=5433), id="several hosts, one port"),
        pytest.param("[::1]:5432", None, Address(hosts=("::1",), port=5432), id="IPv6 in brackets"),
        pytest.param("::1:5432", None, Address(hosts=("::1",), port=5432), id="IPv6 without brackets"),
        pytest.param("[::1]", 5432, Address(hosts=("::1",), port=5432), id="IPv6 without port"),
        pytest.param("a,[::1]:1", None, Address(hosts=("a", "::1"), port=1), id="mixed"),
    ],
)
def test_addresses(text: str, default_port: int | None, then: Address) -> None:
    assert parse_address(text, default_port) == then


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("h", "no port"),
        ("[::1]", "no port"),
        ("h:", "no port"),
        ("h:x", "port 'x' is not a number from 1 to 65535"),
        ("h:0", "port '0' is not a number from 1 to 65535"),
        ("h:65536", "port '65536' is not a number from 1 to 65535"),
        ("h:-1", "port '-1' is not a number from 1 to 65535"),
        ("h:\u00b2", "port '\u00b2' is not a number from 1 to 65535"),
        ("", "'' is not host:port"),
        (8008, "8008 is not host:port"),
        (None, "None is not host:port"),
    ],
)
def test_addresses_that_are_none(text: object, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_address(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("value", "then"), [("a, b,c", ["a", "b", "c"]), ("a", ["a"]), (" ", []), (["a", 1], ["a", "1"]), ([], [])]
)
def test_lists(value: object, then: list[str]) -> None:
    assert parse_list(value) == then


@pytest.mark.parametrize("value", [5, {"a": 1}, None, True])
def test_lists_that_are_none(value: object) -> None:
    with pytest.raises(Unreadable):
        parse_list(value)
