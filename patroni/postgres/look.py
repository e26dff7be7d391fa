"""Look at the data directory: what it holds, what lives on it, what pg_control says."""

from __future__ import annotations

import os

from patroni.decision.node import ControlData, DataDirectory, Process
from patroni.postgres import process
from patroni.postgres.call import Call
from patroni.postgres.control_data import ControlReader
from patroni.postgres.request import Files, PostgresError, PostgresTimeout, ReadFiles
from patroni.postgres.server import Server


class Looker:
    """Answers ReadFiles."""

    def __init__(self) -> None:
        self._control = ControlReader()

    def read_files(self, server: Server, call: Call, request: ReadFiles) -> Files:
        """Look at everything; what cannot be read is said in `detail`."""
        directory, detail = _directory(server)
        living = server.postmaster()
        control, fault = self._read_control(server, call) if directory is DataDirectory.PRESENT else (None, "")
        return Files(
            data_directory=directory,
            process=Process.ALIVE if living is not None else look_at_processes(server),
            postmaster_pid=living.pid if living is not None else None,
            has_recovery_signal=server.is_standby_on_disk(),
            has_backup_label=os.path.exists(server.path("backup_label")),
            control=control,
            major=server.major(),
            is_torn=directory is DataDirectory.PRESENT and server.is_torn(),
            detail=detail or fault,
        )

    def _read_control(self, server: Server, call: Call) -> tuple[ControlData | None, str]:
        try:
            return self._control.read(server, call), ""
        except PostgresTimeout:
            raise
        except PostgresError as error:
            return None, str(error)
        except OSError as error:
            return None, f"{error.filename}: {error.strerror}"


def look_at_processes(server: Server) -> Process:
    """Say whether Postgres is down as of safety_rules.md §5."""
    if server.postmaster() is not None:
        return Process.ALIVE
    if process.leftovers(server.data_dir, server.server_names, server.tools.sessions()):
        return Process.ORPHANS
    file = process.read_pid_file(server.data_dir)
    if file is not None and file.pid > 0 and file.shared_memory is not None and process.attached(file.shared_memory) > 0:
        return Process.ORPHANS
    return Process.DOWN


def _directory(server: Server) -> tuple[DataDirectory, str]:
    """Return what the directory looks like, and why it is inaccessible."""
    try:
        names = os.listdir(server.data_dir)
    except FileNotFoundError:
        return DataDirectory.EMPTY, ""
    except OSError as error:
        return DataDirectory.INACCESSIBLE, f"{server.data_dir}: {error.strerror}"
    is_empty = all(name.startswith(".") or name == "lost+found" for name in names)
    if not is_empty and server.is_incomplete():
        return DataDirectory.EMPTY, f"{server.data_dir} holds an incomplete copy"
    return (DataDirectory.EMPTY if is_empty else DataDirectory.PRESENT), ""
