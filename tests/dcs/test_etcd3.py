"""etcd v3 behind something that is none: a proxy that answers for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from patroni.agent import clock
from patroni.dcs.etcd3 import Etcd3Store
from patroni.dcs.store import DcsUnavailable, RenewSession, Timing
from patroni.decision.cluster import SessionId


class Empty(BaseHTTPRequestHandler):
    """Answers everything with an empty object."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that the base class gives it
        """Say nothing."""


@pytest.fixture
def store() -> Iterator[Etcd3Store]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = Etcd3Store({"host": f"127.0.0.1:{server.server_port}"}, timing=Timing(), clock=clock.now)
        yield made
        made.close()
        server.shutdown()


def test_an_answer_without_a_header_does_not_end_a_session(store: Etcd3Store) -> None:
    with pytest.raises(DcsUnavailable):
        store.renew_session(RenewSession(SessionId("1")), 2.0)
