"""The log: levels, forms, files, heartbeats, and that nobody waits for its target (contract/logs_and_metrics.md §2-4)."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from patroni.agent.log_format import Heartbeats
from patroni.agent.logs import Logs
from patroni.config.fault import ConfigError
from patroni.config.sections import LogSection
from tests.support.waiting import wait_until

OWNER, FOLLOWS = "Lock owner: a; I am a", "no action. I am (a), the leader with the lock"
DEADLINE_S = 20.0


@pytest.fixture
def logs() -> Iterator[Logs]:
    """A log of its own; the root logger is as before afterwards."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    made = Logs()
    made.install()
    yield made
    made.close(DEADLINE_S)
    root.handlers[:] = handlers
    root.setLevel(level)


def in_file(directory: Path) -> str:
    return (directory / "patroni.log").read_text(encoding="utf-8")


def a_section(directory: Path, **more: object) -> LogSection:
    return LogSection(dir=str(directory), format="%(levelname)s %(message)s", **more)  # type: ignore[arg-type]  # tests state one field


def a_record(message: str, thread: int = 1) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": message})
    record.thread = thread
    return record


def passed(heartbeats: Heartbeats, *messages: str) -> list[str]:
    return [record.getMessage() for message in messages for record in heartbeats.pass_on(a_record(message))]


@pytest.mark.parametrize(
    ("messages", "then"),
    [
        pytest.param([OWNER, FOLLOWS], [FOLLOWS], id="owner is left out before a heartbeat"),
        pytest.param([OWNER, f"PAUSE: {FOLLOWS}"], [f"PAUSE: {FOLLOWS}"], id="in pause, too"),
        pytest.param([OWNER, "promoted"], [OWNER, "promoted"], id="owner is kept before anything else"),
        pytest.param([OWNER, "Lock owner: b; I am a", "x"], ["Lock owner: b; I am a", "x"], id="a newer one replaces it"),
        pytest.param(["x", FOLLOWS], ["x", FOLLOWS], id="alone"),
        pytest.param([OWNER, FOLLOWS, OWNER, FOLLOWS], [FOLLOWS, FOLLOWS], id="equal heartbeats are kept"),
    ],
)
def test_heartbeats(messages: list[str], then: list[str]) -> None:
    heartbeats = Heartbeats()
    heartbeats.is_active = True
    assert passed(heartbeats, *messages) == then


@pytest.mark.parametrize(
    ("messages", "then"),
    [
        pytest.param([OWNER, FOLLOWS, OWNER, FOLLOWS], [FOLLOWS], id="equal ones are left out"),
        pytest.param([OWNER, FOLLOWS, OWNER, f"{FOLLOWS}!"], [FOLLOWS, f"{FOLLOWS}!"], id="another one is written"),
        pytest.param([FOLLOWS, FOLLOWS], [FOLLOWS, FOLLOWS], id="only behind an owner"),
        pytest.param([FOLLOWS, OWNER, FOLLOWS], [FOLLOWS], id="the memory is of any heartbeat"),
        pytest.param(
            [OWNER, FOLLOWS, OWNER, "promoted", OWNER, FOLLOWS],
            [FOLLOWS, OWNER, "promoted", FOLLOWS],
            id="again after the unusual",
        ),
    ],
)
def test_heartbeats_deduplicated(messages: list[str], then: list[str]) -> None:
    heartbeats = Heartbeats()
    heartbeats.is_active = heartbeats.is_deduplicating = True
    assert passed(heartbeats, *messages) == then


def test_heartbeats_of_other_levels_and_threads() -> None:
    heartbeats = Heartbeats()
    assert passed(heartbeats, OWNER, FOLLOWS) == [OWNER, FOLLOWS]
    heartbeats.is_active = True
    assert passed(heartbeats, OWNER) == []
    assert [record.getMessage() for record in heartbeats.pass_on(a_record("other", thread=2))] == ["other"]
    heartbeats.is_active = False
    assert passed(heartbeats, "x") == [OWNER, "x"]
    assert heartbeats.flush() == ()


def test_everything_is_written_in_order_at_the_end(logs: Logs, tmp_path: Path) -> None:
    logs.apply(a_section(tmp_path))
    logging.getLogger("patroni.x").info("before %s", "start")
    logs.start()
    for number in range(100):
        logging.getLogger("patroni.x").warning("%d", number)
    logging.getLogger("patroni.ha").info(OWNER)
    assert logs.close(DEADLINE_S)
    assert in_file(tmp_path).splitlines() == ["INFO before start", *(f"WARNING {n}" for n in range(100)), f"INFO {OWNER}"]


def test_another_error_under_the_same_words_is_no_repeat(logs: Logs, tmp_path: Path) -> None:
    logs.apply(a_section(tmp_path))
    for number in range(5):
        try:
            raise ValueError(f"error {number}")
        except ValueError:
            logging.getLogger("patroni.agent.agent").exception("a turn failed")
    logs.close(DEADLINE_S)
    assert [f"ValueError: error {number}" in in_file(tmp_path) for number in range(5)] == [True] * 5


def test_the_same_error_again_and_again_is_a_repeat(logs: Logs, tmp_path: Path) -> None:
    logs.apply(a_section(tmp_path))
    for _ in range(5):
        try:
            raise ValueError("always this one")
        except ValueError:
            logging.getLogger("patroni.agent.agent").exception("a turn failed")
    logs.close(DEADLINE_S)
    assert in_file(tmp_path).count("ValueError: always this one") == 3


def test_levels(logs: Logs, tmp_path: Path) -> None:
    forgotten, chosen, below = (logging.getLogger(f"patroni.test{name}") for name in ("a", "b", "b.c"))
    forgotten.setLevel("DEBUG")
    logs.apply(a_section(tmp_path, level="WARNING", loggers={"patroni.testb": "DEBUG", "patroni.api": "ERROR"}))
    assert forgotten.getEffectiveLevel() == logging.WARNING
    assert (chosen.getEffectiveLevel(), below.getEffectiveLevel()) == (logging.DEBUG, logging.DEBUG)
    assert (
        logging.getLogger("patroni.rest.server").getEffectiveLevel() == logging.ERROR
    )  # the reference's name selects our part
    logs.apply(a_section(tmp_path))
    assert below.getEffectiveLevel() == logging.INFO
    assert logging.getLogger("patroni.rest.server").getEffectiveLevel() == logging.INFO


class Hanging(io.StringIO):
    """Standard error that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.released = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.released.wait(DEADLINE_S)
        return super().write(text)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Standard error hangs."""
    target, before = Hanging(), sys.stderr
    sys.stderr = target
    yield target
    target.released.set()
    sys.stderr = before


@pytest.fixture
def blocked(hanging: Hanging, logs: Logs) -> Iterator[Logs]:
    """A log whose writer hangs, with room for three."""
    logs.apply(LogSection(format="%(levelname)s %(message)s", max_queue_size=3))
    logs.start()
    logging.getLogger("patroni.x").info("hangs")
    assert hanging.reached.wait(DEADLINE_S)
    yield logs
    hanging.released.set()


def test_a_target_that_hangs_makes_nobody_wait(blocked: Logs, hanging: Hanging) -> None:
    logger = logging.getLogger("patroni.x")
    for number in range(8):
        logger.info("%d", number)
    assert (blocked.queued, blocked.lost) == (3, 5)
    hanging.released.set()
    wait_until(lambda: not blocked.queued, DEADLINE_S, "the writer to take what is queued")
    logger.info("fits again")
    assert blocked.lost == 0
    assert blocked.close(DEADLINE_S)
    assert hanging.getvalue().splitlines() == [
        "INFO hangs",
        "INFO 0",
        "INFO 1",
        "INFO 2",
        "WARNING 5 log records were lost: the queue was full",
        "INFO fits again",
    ]


def test_a_full_queue_at_the_end_is_said(blocked: Logs) -> None:
    for number in range(3):
        logging.getLogger("patroni.x").info("%d", number)
    assert not blocked.close(0.01)


def test_a_queue_that_is_not_full_at_the_end(blocked: Logs) -> None:
    for number in range(2):
        logging.getLogger("patroni.x").info("%d", number)
    assert blocked.close(0.01)


def test_files_rotate_and_have_their_mode(logs: Logs, tmp_path: Path) -> None:
    logs.apply(a_section(tmp_path, mode=0o640, file_num=2, file_size_bytes=100))
    for _ in range(20):
        logging.getLogger("patroni.x").info("0123456789" * 4)
    assert sorted(os.listdir(tmp_path)) == ["patroni.log", "patroni.log.1", "patroni.log.2"]
    for name in os.listdir(tmp_path):
        status = (tmp_path / name).stat()
        assert stat.S_IMODE(status.st_mode) == 0o640
        assert status.st_size < 100


@pytest.mark.parametrize("more", [{"file_num": 0, "file_size_bytes": 100}, {"file_num": 2, "file_size_bytes": 0}])
def test_files_that_do_not_rotate(logs: Logs, tmp_path: Path, more: dict[str, int]) -> None:
    logs.apply(a_section(tmp_path, **more))
    for _ in range(20):
        logging.getLogger("patroni.x").info("0123456789" * 4)
    assert os.listdir(tmp_path) == ["patroni.log"]
    assert len(in_file(tmp_path).splitlines()) == 20


def test_a_directory_that_is_not_there_refuses_the_start(logs: Logs, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        logs.apply(a_section(tmp_path / "absent"))
    assert caught.value.faults == (f"log.dir: {tmp_path / 'absent'}: cannot be written: No such file or directory",)


def test_the_target_changes_while_it_runs(logs: Logs, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    logs.apply(a_section(tmp_path / "a"))
    logs.start()
    logging.getLogger("patroni.x").info("in a")
    logs.apply(a_section(tmp_path / "b"))
    logging.getLogger("patroni.x").info("in b")
    logs.apply(a_section(tmp_path / "absent"))
    logging.getLogger("patroni.x").info("still in b")
    assert logs.close(DEADLINE_S)
    assert in_file(tmp_path / "a").splitlines() == ["INFO in a"]
    lines = in_file(tmp_path / "b").splitlines()
    assert [line for line in lines if not line.startswith("ERROR")] == ["INFO in b", "INFO still in b"]
    assert next(line for line in lines if line.startswith("ERROR")).endswith("the log goes on as before")


@pytest.mark.parametrize(
    ("form", "reason"),
    [("plain text", "Invalid format"), ("%(nothing)s", "not found in record: 'nothing'"), ("%(message)d", "%d format")],
)
def test_a_format_that_cannot_be_used(logs: Logs, tmp_path: Path, form: str, reason: str) -> None:
    logs.apply(LogSection(dir=str(tmp_path), format=form))
    text = in_file(tmp_path)
    assert f"WARNING: log.format: {form!r}: " in text
    assert reason in text
    assert text.rstrip().endswith("the default is used")


def test_json(logs: Logs, tmp_path: Path) -> None:
    fields = (("message", "message"), ("levelname", "level"), ("asctime", "@timestamp"))
    logs.apply(LogSection(dir=str(tmp_path), is_json=True, fields=fields, dateformat="%Y", static_fields={"service": "pg-ha"}))
    logging.getLogger("patroni.x").info("a\n%s", "b")
    (line,) = in_file(tmp_path).splitlines()
    found = json.loads(line)
    assert list(found) == ["message", "level", "@timestamp", "service"]
    assert (found["message"], found["level"], found["service"]) == ("a\nb", "INFO", "pg-ha")
    assert len(found["@timestamp"]) == 4


def test_json_fields_of_a_text_and_a_trace(logs: Logs, tmp_path: Path) -> None:
    logs.apply(LogSection(dir=str(tmp_path), is_json=True))
    _fail("patroni.x")
    found = json.loads(in_file(tmp_path))
    assert list(found) == ["asctime", "levelname", "message", "exc_info"]
    assert found["exc_info"].startswith("Traceback")


def _fail(name: str) -> None:
    try:
        raise ValueError("the cause")
    except ValueError:
        logging.getLogger(name).exception("went wrong")


@pytest.mark.parametrize(
    ("more", "first", "has_trace"),
    [
        pytest.param({}, "ERROR went wrong", True, id="trace with the error"),
        pytest.param({"is_traceback_at_debug_only": True}, "ERROR went wrong, DETAIL: 'the cause'", False, id="one line"),
        pytest.param({"is_traceback_at_debug_only": True, "level": "DEBUG"}, "DEBUG went wrong", True, id="trace at debug"),
        pytest.param(
            {"is_traceback_at_debug_only": True, "loggers": {"patroni.x": "DEBUG"}},
            "DEBUG went wrong",
            True,
            id="of one logger",
        ),
    ],
)
def test_traces(logs: Logs, tmp_path: Path, more: dict[str, object], first: str, has_trace: bool) -> None:
    logs.apply(a_section(tmp_path, **more))
    _fail("patroni.x")
    lines = in_file(tmp_path).splitlines()
    assert lines[0] == first
    assert (len(lines) > 1) is has_trace
