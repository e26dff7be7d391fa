"""The log: every record goes through one bounded queue to one thread that writes (contract/logs_and_metrics.md §3).

Promised: a logging call never waits for the target, however long that hangs; what does not fit is dropped and counted, and
the next record that fits is preceded by how many were lost (safety_rules.md §7.2). Before `start` records are written by the
caller, so that nothing needs a thread while root is being dropped. Not promised: that a target which hangs at the end gets
everything; `close` has a deadline.
"""

from __future__ import annotations

import copy
import logging
import sys
import threading
from queue import SimpleQueue

from patroni.agent.log_format import Heartbeats, formatter_of
from patroni.agent.log_repeats import Repeats
from patroni.config.fault import ConfigError
from patroni.config.sections import LogSection

EXIT_FULL = 5  # exit status of an agent whose queue is full at the end (contract/configuration.md §3.2)

# Names of the reference's modules that users' files hold, and our part that each selects (contract/logs_and_metrics.md §2.2).
_ALIASES = {
    "patroni.__main__": ("patroni.agent",),
    "patroni.ha": ("patroni.agent.loop", "patroni.agent.execute", "patroni.agent.job"),
    "patroni.async_executor": ("patroni.agent.lane",),
    "patroni.daemon": ("patroni.agent.main",),
    "patroni.log": ("patroni.agent.logs",),
    "patroni.api": ("patroni.rest",),
    "patroni.postgresql": ("patroni.postgres",),
    "patroni.postgresql.config": ("patroni.postgres.parameters",),
    "patroni.postgresql.connection": ("patroni.postgres.session",),
    "patroni.postgresql.postmaster": ("patroni.postgres.process", "patroni.postgres.launch"),
    "patroni.dcs.etcd3": ("patroni.dcs.etcd3_client", "patroni.dcs.etcd3_gateway", "patroni.dcs.etcd3_watch"),
    "patroni.dcs.etcd": ("patroni.dcs.etcd_endpoints", "patroni.dcs.etcd_transport"),
    "patroni.watchdog.base": ("patroni.fence",),
}


class Logs:
    """The log of this process. `apply` before `start` acts at once and raises ConfigError; later the writer does it."""

    def __init__(self) -> None:
        self._handler = _QueueHandler(_Output())
        self._thread = threading.Thread(target=self._handler.write_all, name="log writer", daemon=True)

    def install(self) -> None:
        """Take over the root logger: level DEBUG, standard error, until `apply` says otherwise."""
        logging.root.handlers[:] = [self._handler]
        logging.root.setLevel(logging.DEBUG)

    def apply(self, section: LogSection) -> None:
        """Use these settings from now on; a `dir` that cannot be written is a ConfigError at the start, later an ERROR line."""
        self._handler.configure(section)
        _set_levels(section)

    def start(self) -> None:
        """Begin to write by the thread; from here on no logging call waits for the target."""
        self._handler.is_direct = False
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Write out what is queued; return False if the queue was full (the process then ends with EXIT_FULL)."""
        was_full = self._handler.is_full
        self._handler.end()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not was_full

    @property
    def queued(self) -> int:
        """Return how many records wait."""
        return self._handler.queued

    @property
    def lost(self) -> int:
        """Return how many records were dropped and not reported yet."""
        return self._handler.lost


class _QueueHandler(logging.Handler):
    """Makes each record complete and queues it; `emit` runs under the handler's lock, which spans no system call."""

    def __init__(self, output: _Output) -> None:
        super().__init__()
        self._output = output
        self._queue: SimpleQueue[logging.LogRecord | LogSection | None] = SimpleQueue()
        self._limit = LogSection().max_queue_size
        self._is_traceback_at_debug_only = False
        self._repeats = Repeats()
        self.is_direct = True
        self.lost = 0

    @property
    def queued(self) -> int:
        """Return how many items wait."""
        return self._queue.qsize()

    @property
    def is_full(self) -> bool:
        """Return whether nothing more fits."""
        return 0 < self._limit <= self.queued

    def configure(self, section: LogSection) -> None:
        """Use these settings; the target is changed by who writes to it."""
        self._limit = section.max_queue_size
        self._is_traceback_at_debug_only = section.is_traceback_at_debug_only
        if self.is_direct:
            self._output.configure(section)
        else:
            self._queue.put(section)

    def end(self) -> None:
        """Tell the writer that nothing follows."""
        if self.is_direct:
            self._output.close()
        self._queue.put(None)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record, or count it as lost."""
        complete = self._repeats.judged(_completed(record, is_traceback_at_debug_only=self._is_traceback_at_debug_only))
        if complete is None:
            return
        if self.is_direct:
            self._output.write(complete)
        elif self.is_full:
            self.lost += 1
        else:
            self._report_lost()
            self._queue.put(complete)

    def _report_lost(self) -> None:
        if self.lost:
            self._queue.put(_note(logging.WARNING, f"{self.lost} log records were lost: the queue was full"))
            self.lost = 0

    def write_all(self) -> None:
        """Write what comes until the end: the body of the writer's thread."""
        while (item := self._queue.get()) is not None:
            if isinstance(item, LogSection):
                self._reconfigure(item)
            else:
                self._output.write(item)
        self._output.close()

    def _reconfigure(self, section: LogSection) -> None:
        try:
            self._output.configure(section)
        except ConfigError as error:
            self._output.write(_note(logging.ERROR, f"{error}; the log goes on as before"))


class _Output:
    """The target; used by one thread at a time."""

    def __init__(self) -> None:
        self._heartbeats = Heartbeats()
        self._target: logging.Handler = logging.StreamHandler(sys.stderr)
        self._section = LogSection()
        self._target.setFormatter(formatter_of(self._section)[0])

    def configure(self, section: LogSection) -> None:
        """Use these settings; raise ConfigError, with nothing changed, if the file cannot be opened."""
        before = self._section
        is_same = (section.dir, section.mode, section.file_num, section.file_size_bytes) == (
            before.dir,
            before.mode,
            before.file_num,
            before.file_size_bytes,
        )
        if not is_same:
            old, self._target = self._target, _target_of(section)
            old.close()
        formatter, warning = formatter_of(section)
        self._target.setFormatter(formatter)
        self._heartbeats.is_active = section.level == "INFO"
        self._heartbeats.is_deduplicating = section.deduplicate_heartbeat_logs
        self._section = section
        if warning:
            self.write(_note(logging.WARNING, warning))

    def write(self, record: logging.LogRecord) -> None:
        """Write one record, or what it releases; a target that fails loses it, and says so on standard error."""
        for each in self._heartbeats.pass_on(record):
            self._target.handle(each)

    def close(self) -> None:
        """Write what is held back; a file is closed, standard error stays."""
        for each in self._heartbeats.flush():
            self._target.handle(each)
        self._target.flush()
        self._target.close()


def _target_of(section: LogSection) -> logging.Handler:
    if section.dir is None:
        return logging.StreamHandler(sys.stderr)
    from patroni.agent.log_file import LogFile  # noqa: PLC0415  # logging.handlers is half a megabyte that most logs do without

    try:
        return LogFile(section)
    except OSError as error:
        raise ConfigError([f"log.dir: {section.dir}: cannot be written: {error.strerror}"]) from error


def _completed(record: logging.LogRecord, *, is_traceback_at_debug_only: bool) -> logging.LogRecord:
    """Return a copy with its text made, that refers to nothing any more; the trace as `log.traceback_level` asks (§3.3)."""
    complete = copy.copy(record)
    complete.msg, complete.args = record.getMessage(), None
    complete.exc_info = None
    error = record.exc_info[1] if record.exc_info else None
    if record.exc_info is None or error is None:
        return complete
    if is_traceback_at_debug_only and record.levelno == logging.ERROR:
        if logging.getLogger(record.name).getEffectiveLevel() > logging.DEBUG:
            complete.msg = f"{complete.msg}, DETAIL: '{error}'"
            return complete
        complete.levelno, complete.levelname = logging.DEBUG, "DEBUG"
    complete.exc_text = logging.Formatter().formatException(record.exc_info)
    return complete


def _note(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, level, __file__, 0, text, None, None)


def _set_levels(section: LogSection) -> None:
    """Set the levels; every existing logger that is not named inherits again (§2.3)."""
    for existing in logging.root.manager.loggerDict.values():
        if isinstance(existing, logging.Logger):
            existing.setLevel(logging.NOTSET)
    for name, level in sorted(section.loggers.items()):
        for ours in (*_ALIASES.get(name, ()), name):
            logging.getLogger(ours).setLevel(level)
    logging.root.setLevel(section.level)
