"""Ports of tests."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.support.ports import BLOCK, FIRST_PORT, is_listening, reserve_port

_RESERVE_MANY = "from tests.support.ports import reserve_port; print(*(reserve_port() for _ in range(40)))"


def test_each_port_is_given_once_also_to_other_runs() -> None:
    ours = {reserve_port() for _ in range(40)}
    shown = subprocess.run([sys.executable, "-c", _RESERVE_MANY], capture_output=True, text=True, timeout=30, check=True)
    theirs = {int(port) for port in shown.stdout.split()}
    assert len(ours) == len(theirs) == 40
    assert ours.isdisjoint(theirs)
    assert min(ours | theirs) >= FIRST_PORT


def test_a_listener_is_seen() -> None:
    port = reserve_port()
    assert not is_listening(port)
    with socket.create_server(("127.0.0.1", port)):
        assert is_listening(port)


def test_a_port_in_use_is_passed_over() -> None:
    port = next(port for port in iter(reserve_port, 0) if (port + 1) % BLOCK)  # so that the next one is ours, too
    with socket.create_server(("127.0.0.1", port + 1)):
        assert reserve_port() != port + 1
