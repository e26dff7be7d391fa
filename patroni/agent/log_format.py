"""What a line of the log looks like, and which heartbeat lines are left out (contract/logs_and_metrics.md §3-4)."""

from __future__ import annotations

import json
import logging
import re

from patroni.config.sections import DEFAULT_FORMAT, LogSection

_FIELD = re.compile(r"%\((\w+)\)")
_OWNER = "Lock owner: "
_HEARTBEATS = ("no action. ", "PAUSE: no action")


class Heartbeats:
    """Holds a `Lock owner` line back until it is known whether an ordinary heartbeat follows it (§4.2); one thread uses it."""

    def __init__(self) -> None:
        self.is_active = False  # the root level is exactly INFO
        self.is_deduplicating = False
        self._held: logging.LogRecord | None = None
        self._last: str | None = None  # the last heartbeat that was written

    def pass_on(self, record: logging.LogRecord) -> tuple[logging.LogRecord, ...]:
        """Return what is to be written now that this record came."""
        message, held = record.getMessage(), self._held
        if not self.is_active:
            return (*self.flush(), record)
        if held is None:
            return self._alone(record, message)
        if record.thread != held.thread:
            return (record,)
        if message.startswith(_OWNER):
            self._held = record
            return ()
        self._held = None
        if not message.startswith(_HEARTBEATS):
            self._last = None
            return held, record
        is_known, self._last = message == self._last, message
        return () if self.is_deduplicating and is_known else (record,)

    def _alone(self, record: logging.LogRecord, message: str) -> tuple[logging.LogRecord, ...]:
        if message.startswith(_OWNER):
            self._held = record
            return ()
        if message.startswith(_HEARTBEATS):
            self._last = message
        return (record,)

    def flush(self) -> tuple[logging.LogRecord, ...]:
        """Return the line that is held back, if any."""
        held, self._held = self._held, None
        return () if held is None else (held,)


class JsonFormatter(logging.Formatter):
    """One object a line: the fields asked for, the static ones, the trace if there is one (§3.2)."""

    def __init__(self, section: LogSection) -> None:
        super().__init__(datefmt=section.dateformat)
        self._fields = section.fields or tuple((name, name) for name in _FIELD.findall(section.format))
        self._static = dict(section.static_fields)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        line = {shown: getattr(record, name, None) for name, shown in self._fields} | self._static
        if record.exc_text:
            line["exc_info"] = record.exc_text
        return json.dumps(line, default=str)


def formatter_of(section: LogSection) -> tuple[logging.Formatter, str | None]:
    """Return the formatter, and a warning where the format asked for cannot be used and the default is."""
    if section.is_json:
        return JsonFormatter(section), None
    try:
        asked = logging.Formatter(section.format, section.dateformat)
        asked.format(logging.makeLogRecord({"msg": "trial"}))
    except (TypeError, ValueError) as error:
        warning = f"log.format: {section.format!r}: {error}; the default is used"
        return logging.Formatter(DEFAULT_FORMAT, section.dateformat), warning
    return asked, None
