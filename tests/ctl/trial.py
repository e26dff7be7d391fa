"""patronictl on an embedded store whose keys a test writes, beside REST APIs that it scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from click.testing import CliRunner

from patroni.ctl.main import main
from patroni.dcs.layout import cluster_from
from patroni.dcs.local import LocalStore
from patroni.dcs.store import DeletePrefix, ReadPrefix, Timing, Write
from patroni.decision.cluster import Cluster
from patroni.decision.lease import Instant
from tests.ctl.builders import PREFIX
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
HOST = "127.0.0.1"
ENTRY = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal; a run in the background inherits "ignored"
from patroni.ctl.main import main
sys.exit(main())
"""


def _clock() -> Instant:
    now_s = time.monotonic()
    return Instant(boot_s=now_s, raw_s=now_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str


class Trial:
    """One store and the configuration that names it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store_file = directory / "store.db"
        self.store = LocalStore({"path": str(self.store_file)}, timing=Timing(), clock=_clock)
        self.configuration: dict[str, object] = {"scope": "demo", "local": {"path": str(self.store_file)}}

    def put(self, values: Mapping[str, str], prefix: str = PREFIX) -> None:
        """Make these the only keys of the cluster."""
        self.store.delete_prefix(DeletePrefix(prefix), LIMIT_S)
        for name, value in values.items():
            self.store.write(Write(prefix + name, value), LIMIT_S)

    def keys(self, prefix: str = PREFIX) -> dict[str, str]:
        """Return what stands under the prefix."""
        entries = self.store.read_prefix(ReadPrefix(prefix), LIMIT_S).entries
        return {key.removeprefix(prefix): entry.value for key, entry in entries.items()}

    def cluster(self) -> Cluster:
        """Return the cluster as it stands in the store."""
        return cluster_from(self.store.read_prefix(ReadPrefix(PREFIX), LIMIT_S), PREFIX)

    def run(self, *arguments: str, answers: Sequence[str] = (), **environment: str) -> Done:
        """Run a command with the configuration file; answers: lines of standard input."""
        return patronictl("-c", self.write_configuration(), *arguments, answers=answers, **environment)

    def write_configuration(self) -> str:
        """Write the configuration file and return its path."""
        path = self.directory / "patronictl.yml"
        path.write_text(yaml.safe_dump(self.configuration))
        return str(path)


def patronictl(*arguments: str, answers: Sequence[str] = (), **environment: str) -> Done:
    """Run patronictl in this process, with nothing of the caller's own configuration."""
    given = "".join(f"{answer}\n" for answer in answers)
    with CliRunner().isolation(given, environment_of(**environment)) as (out, err, _):
        status = main(arguments)
    return Done(status=status, out=out.getvalue().decode(), err=err.getvalue().decode())


def environment_of(**environment: str) -> dict[str, str | None]:
    """Return what differs from the caller's environment; None: not set."""
    foreign = dict.fromkeys(name for name in os.environ if name.startswith("PATRONI"))
    return {**foreign, "XDG_CONFIG_HOME": "/nonexistent", **environment}


def interrupted(arguments: Sequence[str], output: Path, lines: int) -> Done:
    """Run patronictl as a process, and press Ctrl-C as soon as it has written so many lines to a file."""
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, *arguments], cwd=ROOT, stdout=file, stderr=subprocess.PIPE, text=True
        )
    try:
        wait_until(lambda: output.read_text().count("\n") >= lines, LIMIT_S, "the output")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
        process.communicate()
    return Done(status=process.returncode, out=output.read_text(), err=err)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request that a scripted API got."""

    method: str
    path: str
    body: object  # None: there was none
    headers: Mapping[str, str]  # by lower-case name


@dataclass
class Api:
    """A REST API that answers as it is told."""

    port: int = 0
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)  # by `METHOD /path`; 404 to everything else
    heard: list[Heard] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/patroni"


@contextmanager
def an_api(**answers: tuple[int, str]) -> Iterator[Api]:
    """Serve an API; answers by `METHOD_path`."""
    api = Api(answers={name.replace("_", " /", 1): answer for name, answer in answers.items()})

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(method=self.command, path=self.path, body=json.loads(body) if body else None, headers=headers)
            api.heard.append(heard)
            status, text = api.answers.get(f"{self.command} {self.path}", (404, "nothing here"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815  # names of the library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as above
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    api.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join(LIMIT_S)
        server.server_close()
