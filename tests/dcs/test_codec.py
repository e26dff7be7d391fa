"""Values byte for byte as contract/dcs.md §1 shows them, and every odd one of §1.3."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from patroni.dcs.codec import (
    NotJson,
    failover_from,
    failover_value,
    failsafe_from,
    failsafe_value,
    history_from,
    history_value,
    initialize_from,
    json_from,
    object_from,
    row_fields,
    status_from,
    status_value,
    string_from,
    sync_from,
    sync_value,
    text_of,
)
from patroni.decision.cluster import (
    FailoverRequest,
    History,
    HistoryRow,
    Initialize,
    Lsn,
    Status,
    SyncState,
    Timeline,
    Token,
)

TOKEN = Token("7")
TORN = [
    "",
    "{",
    '{"a":',
    "null",
    "5",
    '"x"',
    "[]",
    "[[",
    "true",
    "\x00",
    "\ufffd\ufffd",
    '{"\\ud800":1}',
    "[" * 100_000,
    "NaN",
    "9" * 5000,
]

STATUS = '{"optime":83886592,"slots":{"pg1":83886592,"pg2":83886432,"cdc_orders":83820000},"retain_slots":["pg1","pg2","pg3"]}'
FAILOVER = '{"leader":"pg1","member":"pg2","scheduled_at":"2031-05-04T03:30:00+00:00"}'
HISTORY = (
    '[[1,25165984,"no recovery target specified","2031-04-01T10:11:12.131415+00:00","pg1"],'
    '[2,50332064,"no recovery target specified","2031-04-09T00:01:02+00:00","pg2"]]'
)
FAILSAFE = '{"pg1":"http://10.0.0.11:8008/patroni","pg2":"http://10.0.0.12:8008/patroni","pg3":"http://10.0.0.13:8008/patroni"}'


def test_status_round_trip() -> None:
    status = status_from(STATUS)
    assert status.lsn == 83886592
    assert status.slots == {"pg1": 83886592, "pg2": 83886432, "cdc_orders": 83820000}
    assert status.retain_slots == ("pg1", "pg2", "pg3")
    assert status_value(status) == STATUS


@pytest.mark.parametrize(
    ("given", "then"),
    [
        pytest.param(Status(), '{"optime":0}', id="unknown position"),
        pytest.param(Status(lsn=Lsn(5)), '{"optime":5}', id="no slots"),
        pytest.param(Status(lsn=Lsn(5), retain_slots=("b", "a")), '{"optime":5,"retain_slots":["a","b"]}', id="sorted"),
    ],
)
def test_status_value(given: Status, then: str) -> None:
    assert status_value(given) == then


@pytest.mark.parametrize(
    ("given", "then"),
    [
        pytest.param("83886592", Status(lsn=Lsn(83886592)), id="a bare integer"),
        pytest.param('{"optime":"5"}', Status(lsn=Lsn(5)), id="an integer as text"),
        pytest.param('{"optime":"x"}', Status(), id="no integer"),
        pytest.param('{"optime":null}', Status(), id="null"),
        pytest.param('{"optime":-5}', Status(), id="negative"),
        pytest.param('{"optime":1e400}', Status(), id="beyond a float"),
        pytest.param('{"optime":18446744073709551616}', Status(), id="beyond 64 bits"),
        pytest.param('{"slots":{"a":1}}', Status(slots={"a": Lsn(1)}), id="no position"),
        pytest.param('{"optime":5,"slots":"{\\"a\\":1}"}', Status(lsn=Lsn(5), slots={"a": Lsn(1)}), id="slots as text"),
        pytest.param('{"optime":5,"slots":"{"}', Status(lsn=Lsn(5)), id="slots as torn text"),
        pytest.param('{"optime":5,"slots":"[]","retain_slots":"{}"}', Status(lsn=Lsn(5)), id="the wrong way round"),
        pytest.param('{"optime":5,"retain_slots":"[\\"a\\"]"}', Status(lsn=Lsn(5), retain_slots=("a",)), id="list as text"),
        pytest.param(
            '{"slots":{"a":"x","b":"2"},"retain_slots":["a",1,null]}',
            Status(slots={"b": Lsn(2)}, retain_slots=("a",)),
            id="rows",
        ),
    ],
)
def test_odd_status(given: str, then: Status) -> None:
    assert status_from(given) == then


def test_failover_round_trip() -> None:
    request = failover_from(FAILOVER, TOKEN)
    assert request == FailoverRequest(
        leader="pg1", candidate="pg2", scheduled_at=datetime(2031, 5, 4, 3, 30, tzinfo=UTC), token=TOKEN
    )
    assert failover_value(request) == FAILOVER


@pytest.mark.parametrize(
    ("given", "then"),
    [
        (None, "{}"),
        (FailoverRequest(leader="pg1"), '{"leader":"pg1"}'),
        (FailoverRequest(candidate="pg2"), '{"member":"pg2"}'),
        (FailoverRequest(leader="", candidate="pg2"), '{"member":"pg2"}'),
    ],
)
def test_failover_value(given: FailoverRequest | None, then: str) -> None:
    assert failover_value(given) == then


@pytest.mark.parametrize(
    ("given", "then"),
    [
        pytest.param("{}", None, id="none"),
        pytest.param("[]", None, id="no object"),
        pytest.param("5", None, id="a number"),
        pytest.param("null", None, id="null"),
        pytest.param("", None, id="empty"),
        pytest.param(" : ", None, id="empty, old form"),
        pytest.param('{"leader":"","member":null}', None, id="empty parts"),
        pytest.param('{"leader":5,"member":["a"]}', None, id="parts of the wrong kind"),
        pytest.param('{"scheduled_at":"2031-05-04T03:30:00+00:00"}', None, id="a time alone"),
        pytest.param("pg1:pg2", FailoverRequest(leader="pg1", candidate="pg2", token=TOKEN), id="old form"),
        pytest.param(" pg1 : pg2 :x", FailoverRequest(leader="pg1", candidate="pg2", token=TOKEN), id="old form, stripped"),
        pytest.param("pg1", FailoverRequest(leader="pg1", token=TOKEN), id="old form, one part"),
        pytest.param(":pg2", FailoverRequest(candidate="pg2", token=TOKEN), id="old form, candidate"),
        pytest.param('{"member":"pg2","x":1}', FailoverRequest(candidate="pg2", token=TOKEN), id="unknown field"),
    ],
)
def test_odd_failover(given: str, then: FailoverRequest | None) -> None:
    assert failover_from(given, TOKEN) == then


@pytest.mark.parametrize("given", ['"soon"', '"2031-05-04T03:30:00"', "5", "true", "[1]", '"2031-99-99T00:00:00+00:00"'])
def test_a_time_without_a_zone_or_sense_is_never_now(given: str) -> None:
    request = failover_from(f'{{"member":"pg2","scheduled_at":{given}}}', TOKEN)
    assert request is not None
    assert request.scheduled_at is not None
    assert request.scheduled_at.tzinfo is None


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (SyncState(leader="pg1", voters=("pg2", "pg3"), token=TOKEN), '{"leader":"pg1","quorum":0,"sync_standby":"pg2,pg3"}'),
        (SyncState(leader="pg1", token=TOKEN), '{"leader":"pg1","quorum":0,"sync_standby":null}'),
        (SyncState(leader="pg1", voters=("pg2",), quorum=1, token=TOKEN), '{"leader":"pg1","quorum":1,"sync_standby":"pg2"}'),
    ],
)
def test_sync_round_trip(state: SyncState, text: str) -> None:
    assert sync_value(state) == text
    assert sync_from(text, TOKEN) == state


def test_sync_names_are_sorted() -> None:
    assert '"b,c"' in sync_value(SyncState(leader="a", voters=("c", "b")))


@pytest.mark.parametrize(
    ("given", "then"),
    [
        pytest.param("{}", SyncState(token=TOKEN), id="empty"),
        pytest.param('{"leader":null,"sync_standby":"b"}', SyncState(token=TOKEN), id="no leader"),
        pytest.param('{"leader":"a","quorum":"x"}', SyncState(token=TOKEN), id="no integer"),
        pytest.param('{"leader":"a","quorum":1.5}', SyncState(token=TOKEN), id="half"),
        pytest.param('{"leader":"a","quorum":""}', SyncState(token=TOKEN), id="empty text"),
        pytest.param('{"leader":"a","quorum":false}', SyncState(token=TOKEN), id="a boolean"),
        pytest.param('{"leader":"a","quorum":"1"}', SyncState(leader="a", quorum=1, token=TOKEN), id="as text"),
        pytest.param('{"leader":"a","quorum":null}', SyncState(leader="a", token=TOKEN), id="null"),
        pytest.param('{"leader":"a"}', SyncState(leader="a", token=TOKEN), id="absent"),
        pytest.param(
            '{"leader":"a","sync_standby":" b, c,,"}', SyncState(leader="a", voters=("b", "c"), token=TOKEN), id="commas"
        ),
        pytest.param('{"leader":"a","sync_standby":["b"]}', SyncState(leader="a", token=TOKEN), id="a list: nobody"),
    ],
)
def test_odd_sync(given: str, then: SyncState) -> None:
    assert sync_from(given, TOKEN) == then


def test_history_round_trip() -> None:
    history = history_from(HISTORY)
    assert history.cluster_timeline == 3
    assert history.rows[0] == HistoryRow(
        timeline=Timeline(1),
        lsn=Lsn(25165984),
        reason="no recovery target specified",
        timestamp="2031-04-01T10:11:12.131415+00:00",
        leader="pg1",
    )
    assert history_value([row_fields(row) for row in history.rows]) == HISTORY


@pytest.mark.parametrize(
    "text",
    ["[]", '[[1,5,"r"]]', '[[1,5,"r","2031-04-01T10:11:12+00:00"]]', '[[1,0,""],[2,5,"r","2031-04-01T10:11:12+00:00","b"]]'],
)
def test_history_rows_keep_their_length(text: str) -> None:
    assert history_value([row_fields(row) for row in history_from(text).rows]) == text


@pytest.mark.parametrize(
    ("given", "timeline", "rows"),
    [
        pytest.param("[]", 1, 0, id="nothing ended yet"),
        pytest.param("{}", None, 0, id="no array"),
        pytest.param("[[1]]", None, 0, id="short row"),
        pytest.param('[[1,5,"r"],7]', None, 1, id="the last row is none"),
        pytest.param('[null,[2,5,"r"]]', 3, 1, id="an earlier row is none"),
        pytest.param('[["1","5","r"]]', 2, 1, id="integers as text"),
        pytest.param('[[1,5,"r",null,null,"x"]]', 2, 1, id="long row"),
        pytest.param("[[1,5,{}]]", 2, 1, id="a reason that is none"),
        pytest.param('[[0,5,"r"]]', None, 0, id="timeline 0"),
        pytest.param('[[99999999999,5,"r"]]', None, 0, id="timeline beyond 32 bits"),
    ],
)
def test_odd_history(given: str, timeline: int | None, rows: int) -> None:
    history = history_from(given)
    assert (history.cluster_timeline, len(history.rows)) == (timeline, rows)


def test_failsafe_round_trip() -> None:
    urls = failsafe_from(FAILSAFE)
    assert urls is not None
    assert failsafe_value(urls) == FAILSAFE


def test_odd_failsafe() -> None:
    assert failsafe_from('{"a":"http://a","b":5,"c":null}') == {"a": "http://a"}
    assert failsafe_from("[]") is None
    assert failsafe_from("{}") == {}


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ("", Initialize.RUNNING),
        ("7358219046127743210", "7358219046127743210"),
        ("1234567890", "1234567890"),
        ("123456789", Initialize.INVALID),
        ("735821904612774321O", Initialize.INVALID),
        ("7358219046127743210\n", Initialize.INVALID),
        (" ", Initialize.INVALID),
        ("٧٣٥٨٢١٩٠٤٦١٢", Initialize.INVALID),
    ],
)
def test_initialize(given: str, then: str) -> None:
    assert initialize_from(given) == then


@pytest.mark.parametrize("text", TORN, ids=lambda text: ascii(text)[:20])
def test_no_text_raises(text: str) -> None:
    assert status_from(text).slots == {}
    assert sync_from(text, TOKEN) == SyncState(token=TOKEN)
    assert history_from(text) in (History(), History(cluster_timeline=Timeline(1)))
    assert failsafe_from(text) is None
    assert object_from(text) is None
    assert initialize_from(text) in (Initialize.RUNNING, Initialize.INVALID, "9" * 5000)
    failover_from(text, TOKEN)


def test_json_is_compact_and_plain() -> None:
    assert (
        text_of({"a": [1, "é"], "b": datetime(2031, 5, 4, tzinfo=UTC)}) == '{"a":[1,"\\u00e9"],"b":"2031-05-04 00:00:00+00:00"}'
    )
    assert json_from('{ "a" : "\\ud83d\\udc18" }') == {"a": "🐘"}
    with pytest.raises(NotJson):
        json_from('"\\udc18"')


def test_a_string_that_no_system_call_takes_is_none() -> None:
    assert [string_from(value) for value in ("a", "", "a\0b", 5, None)] == ["a", None, None, None, None]
