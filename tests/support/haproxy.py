"""A real HAProxy on a configuration that a test wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.directories import give_to_servers
from tests.support.ports import is_listening
from tests.support.process import Process
from tests.support.program import find_program

_START_TIMEOUT_S = 15.0


@contextmanager
def running_haproxy(conf: str, ports: Sequence[int], directory: Path) -> Iterator[Process]:
    """Run HAProxy, which listens on all its ports when the `with` begins; a refused configuration raises EndedEarly.

    ports: those that the configuration binds on loopback. directory: a `server_directory` or below.
    """
    conf_file = directory / "haproxy.cfg"
    conf_file.write_text(conf)
    give_to_servers(conf_file)
    with Process([find_program("haproxy"), "-db", "-f", conf_file], directory) as process:
        process.wait_for(lambda: all(is_listening(port) for port in ports), _START_TIMEOUT_S, "listening")
        yield process
