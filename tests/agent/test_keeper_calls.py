"""What the keeper's thread and subprocess calls never do, since a dead disk would then stop everything (§7.2-7.3)."""

from __future__ import annotations

import ast
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from patroni.agent import clock
from patroni.agent.lease_keeper import LeaseKeeper
from patroni.agent.threads import KeeperThread
from patroni.dcs.coordinator import Coordinator
from patroni.dcs.store import Store, Timing
from patroni.dcs.stores import open_store
from patroni.decision.view import GuardState
from patroni.fence.client import InProcessFence
from tests.support.etcd import Etcd
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PREFIX = "/service/batman/"
TTL_S = 5.0
PATIENCE_S = 30.0
FORBIDDEN = ("open", "import", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.fork", "os.system")


class Audit:
    """What the keeper's thread did that it must not; the hook stays for the process's life, so it is switched off."""

    def __init__(self) -> None:
        self.is_on = False
        self.seen: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.is_on or event not in FORBIDDEN or threading.current_thread().name != "keeper":
            return
        if event != "socket.getaddrinfo" or not is_address(arguments[0]):  # an address is only written in another form
            self.seen.append(f"{event} {arguments[0]}")


def is_address(host: object) -> bool:
    try:
        ip_address(str(host))
    except ValueError:
        return False
    return True


AUDIT = Audit()


@contextmanager
def audited() -> Iterator[None]:
    AUDIT.seen.clear()
    AUDIT.is_on = True
    try:
        yield
    finally:
        AUDIT.is_on = False
    assert AUDIT.seen == []


class Renewing:
    """A keeper on its real thread, whose loop takes each turn that is asked for."""

    def __init__(self, store: Store) -> None:
        fence = InProcessFence(lambda: None, lambda: None)
        self.renewals = 0
        self.keeper = LeaseKeeper("a", fence, ttl_s=TTL_S, emit=lambda _, said: self.told(), chance=random.Random(1))
        self.thread = KeeperThread(self.keeper, Coordinator(prefix=PREFIX, name="a"), store, lambda said: None)

    def told(self) -> None:
        self.renewals += 1

    def await_session(self) -> None:
        wait_until(lambda: self.keeper.session, PATIENCE_S, "a session")

    def await_renewal(self) -> None:
        """Wait for an answer to a renewal that is asked for now."""
        before = self.keeper.lease(clock.now()).session_age_s
        self.keeper.renew_soon()
        wait_until(lambda: is_younger(self.keeper.lease(clock.now()).session_age_s, before), PATIENCE_S, "a renewal")


def is_younger(age_s: float | None, before_s: float | None) -> bool:
    return age_s is not None and before_s is not None and age_s < before_s


@pytest.fixture
def etcd(directory: Path) -> Iterator[Etcd]:
    with Etcd(directory) as running:
        yield running


def test_renewing_on_etcd_opens_loads_resolves_and_spawns_nothing(etcd: Etcd) -> None:
    """Also where each connection is lost and made anew, to an endpoint that has a name."""
    (member,) = etcd.members
    section = {"host": f"localhost:{member.proxy.port}"}
    store = open_store("etcd3", section, timing=Timing(ttl_s=TTL_S, loop_wait_s=1.0, retry_timeout_s=1.0), clock=clock.now)
    renewing = Renewing(store)
    renewing.thread.start()
    try:
        renewing.await_session()
        with audited():
            for _ in range(3):
                renewing.await_renewal()
            member.restart()
            renewing.await_renewal()
        assert renewing.keeper.guard() is GuardState.IDLE
    finally:
        renewing.thread.close(PATIENCE_S)
        store.close()


# --- subprocesses


def calls_of_subprocess(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("subprocess."):
            yield node


def test_no_subprocess_call_of_the_agent_changes_the_directory_or_runs_python_in_between() -> None:
    rooms = ("agent", "postgres", "fence", "dcs", "rest", "config")
    files = [path for room in rooms for path in (ROOT / "patroni" / room).rglob("*.py")]
    calls = [(path.name, call) for path in files for call in calls_of_subprocess(path)]
    assert calls
    faults = [
        f"{name}:{call.lineno} {word.arg}"
        for name, call in calls
        for word in call.keywords
        if word.arg in ("cwd", "preexec_fn")
    ]
    assert faults == []


def test_the_agent_never_uses_vfork() -> None:
    """A vfork holds the GIL until the program is loaded: from a dead disk, for ever."""
    program = "import subprocess, patroni.agent.main; print(subprocess._USE_VFORK)"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert said.stdout == "False\n"
