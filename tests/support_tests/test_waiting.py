"""Waiting with a deadline."""

from __future__ import annotations

import pytest

from tests.support.waiting import NotInTime, wait_until


def test_the_true_value_is_returned() -> None:
    values = iter([None, "", "there"])
    assert wait_until(lambda: next(values), 10.0, "a word") == "there"


def test_the_failure_says_what_was_waited_for_and_what_was_seen() -> None:
    with pytest.raises(NotInTime, match=r"(?s)in vain for a leader: 0.1 s; last value \[\].*three members"):
        wait_until(list, 0.1, "a leader", lambda: "three members")


def test_the_condition_is_asked_once_even_without_time() -> None:
    assert wait_until(lambda: 1, 0.0, "one") == 1
