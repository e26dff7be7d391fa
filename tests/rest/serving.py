"""A served API on a port of its own, and clients that speak bytes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from patroni.rest.config import RestConfig
from patroni.rest.server import RestServer
from patroni.rest.service import Limits
from tests.rest.builders import FakeAgent, a_living_snapshot

PATIENCE_S = 20.0  # for what must happen; no test waits for it to pass
HOST = "127.0.0.1"
KEPT = b"GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n"  # a request that keeps its connection


def an_agent() -> FakeAgent:
    """Return a healthy leader."""
    return FakeAgent(snapshot=a_living_snapshot())


@contextmanager
def served(agent: FakeAgent, limits: Limits | None = None, **config: object) -> Iterator[int]:
    """Serve this agent; yields the port."""
    settings: dict[str, Any] = {"host": HOST, "port": 0}
    server = RestServer(RestConfig(**(settings | config)), agent.ports(), limits or Limits())
    port = server.bind()
    server.start()
    try:
        yield port
    finally:
        agent.may_answer.set()
        agent.may_read.set()
        server.stop(PATIENCE_S)


def connected(port: int, host: str = HOST) -> socket.socket:
    """Return a client's socket whose waits are bounded."""
    return socket.create_connection((host, port), PATIENCE_S)


def until_end(client: socket.socket) -> bytes:
    """Return all bytes until the server closes; a reset counts as its end."""
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes on a connection of their own; return all bytes until the server closes."""
    with connected(port) as client:
        client.sendall(request)
        return until_end(client)


def one_answer(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer with a Content-Length from a kept connection: status, headers by lower-case name, body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            raise ConnectionError(f"closed after {head!r}")
        head += byte
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = b""
    while missing := int(headers.get("content-length", 0)) - len(body):
        chunk = client.recv(missing)
        if not chunk:
            raise ConnectionError(f"closed {missing} bytes before the end")
        body += chunk
    return int(first.split()[1]), headers, body


def get(port: int, target: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send a GET in HTTP/1.1 and return its answer."""
    with connected(port) as client:
        lines = [f"GET {target} HTTP/1.1", "Host: x", *headers]
        client.sendall("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
        return one_answer(client)


def document(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body."""
    parsed = json.loads(body)
    assert isinstance(parsed, dict)
    return parsed
