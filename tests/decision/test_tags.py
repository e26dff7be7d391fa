"""Tags and scalars: every rule of contract/ha_behaviour.md §2.29, and values of the wrong kind."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from patroni.decision.scalar import boolean, integer
from patroni.decision.tags import published_tags, tags_from


@pytest.mark.parametrize(
    ("given", "then"),
    [
        (5, 5),
        (0, 0),
        (-3, -3),
        ("5", 5),
        (" +7 ", 7),
        ("-1", -1),
        (5.0, 5),
        (5.5, None),
        (float("inf"), None),
        (float("nan"), None),
        (True, None),
        (None, None),
        ("", None),
        ("5 6", None),
        ("0x10", None),
        ("1_000", None),
        ("٣", None),
        ("9" * 5000, None),
        ([5], None),
    ],
)
def test_integer(given: object, then: int | None) -> None:
    assert integer(given) == then


@pytest.mark.parametrize(
    ("given", "then"),
    [
        (True, True),
        ("ON", True),
        ("yes", True),
        (1, True),
        (False, False),
        ("Off", False),
        ("no", False),
        (0, False),
        ("maybe", None),
        (None, None),
        ("", None),
    ],
)
def test_boolean(given: object, then: bool | None) -> None:
    assert boolean(given) is then


@pytest.mark.parametrize(
    ("given", "nofailover", "priority"),
    [
        pytest.param({}, False, 1, id="nothing said"),
        pytest.param({"nofailover": True}, True, 0, id="flag"),
        pytest.param({"nofailover": "false"}, True, 0, id="any text is true"),
        pytest.param({"nofailover": ""}, False, 1, id="empty text is false"),
        pytest.param({"failover_priority": 0}, True, 0, id="priority 0"),
        pytest.param({"failover_priority": -1}, True, 0, id="negative priority"),
        pytest.param({"failover_priority": "2"}, False, 2, id="priority as text"),
        pytest.param({"failover_priority": "high"}, False, 1, id="priority that is none"),
        pytest.param({"nofailover": False, "failover_priority": 0}, False, 0, id="the flag decides: false"),
        pytest.param({"nofailover": True, "failover_priority": 5}, True, 0, id="the flag decides: true"),
        pytest.param({"nofailover": None, "failover_priority": 0}, True, 0, id="null is not given"),
    ],
)
def test_flag_and_priority(given: Mapping[str, object], nofailover: bool, priority: int) -> None:
    tags = tags_from(given)
    assert (tags.nofailover, tags.failover_priority) == (nofailover, priority)
    sync = tags_from({name.replace("failover", "sync"): value for name, value in given.items()})
    assert (sync.nosync, sync.sync_priority) == (nofailover, priority)


def test_other_tags() -> None:
    tags = tags_from({"noloadbalance": 1, "clonefrom": "yes", "nostream": "on", "replicatefrom": "pg2", "rack": "b"})
    assert (tags.noloadbalance, tags.clonefrom, tags.nostream, tags.replicatefrom) == (True, True, True, "pg2")
    assert tags.published["rack"] == "b"


def test_tags_of_the_wrong_kind() -> None:
    tags = tags_from({"nostream": "maybe", "replicatefrom": 5, "clonefrom": None, "noloadbalance": []})
    assert (tags.nostream, tags.replicatefrom, tags.clonefrom, tags.noloadbalance) == (False, None, False, False)
    assert tags_from({"replicatefrom": ""}).replicatefrom is None


@pytest.mark.parametrize(
    ("given", "then"),
    [
        pytest.param(
            {"clonefrom": False, "nofailover": False, "noloadbalance": False, "nosync": False, "nostream": False},
            [],
            id="left out",
        ),
        pytest.param({"nofailover": False, "failover_priority": 2}, ["nofailover", "failover_priority"], id="kept"),
        pytest.param({"nosync": False, "sync_priority": 2}, ["nosync", "sync_priority"], id="kept for sync"),
        pytest.param({"nosync": False, "failover_priority": 2}, ["failover_priority"], id="another's priority"),
        pytest.param({"clonefrom": True, "rack": "", "datacenter": None}, ["clonefrom", "rack", "datacenter"], id="others"),
    ],
)
def test_published_tags(given: Mapping[str, object], then: list[str]) -> None:
    assert list(published_tags(given)) == then
