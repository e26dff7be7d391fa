"""The log in a file of its own, rotated (contract/logs_and_metrics.md §3)."""

from __future__ import annotations

import os
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler

from patroni.config.sections import LogSection

FILE = "patroni.log"


class LogFile(RotatingFileHandler):
    """A rotated file whose permissions are set each time one is opened."""

    def __init__(self, section: LogSection) -> None:
        """Open the file of a section that has a directory; OSError if that cannot be written."""
        self._mode = section.mode
        assert section.dir is not None
        size = section.file_size_bytes if section.file_num > 0 else 0
        path = os.path.join(section.dir, FILE)
        super().__init__(path, maxBytes=max(size, 0), backupCount=max(section.file_num, 0), encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        if self._mode is not None:
            os.fchmod(stream.fileno(), self._mode)
        return stream
