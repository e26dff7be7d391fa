"""script/demo, run as a person runs it: it does what it says, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.sample import HOST, ROOT
from tests.demo.site import STORES
from tests.demo.status import Status, are_healthy, sentence, table
from tests.support.backstop import processes_in
from tests.support.ports import is_listening
from tests.support.waiting import wait_until

CHECK_S = 110.0
START_S = 60.0
END_S = 30.0
COMMAND = [sys.executable, "-u", "-m", "tests.demo"]

PRIMARY = Status(
    name="a", role="primary", state="running", timeline=2, position=2_000, server_start="1", standbys=frozenset("bc")
)
STANDBY = Status(name="b", role="replica", state="streaming", timeline=2, position=1_000)
FRESH = Status(name="c", role="replica", state="streaming")
DEAD = Status(name="c")


def home_in(output: str) -> Path:
    """Return the directory that the demo said it lives in."""
    found = re.search(r"everything lives in (\S+)", output)
    assert found is not None, output
    return Path(found[1])


def assert_nothing_left(output: str) -> None:
    home = home_in(output)
    assert not home.exists()
    assert processes_in(home) == []
    ports = re.search(r"HAProxy started, ports (\d+) \S+ (\d+) \S+ (\d+)", output)
    assert ports is not None, output
    assert [port for port in ports.groups() if is_listening(int(port), HOST)] == []


@pytest.mark.parametrize("store", STORES)
def test_the_check_ends_well(store: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--check", "--store", store], cwd=ROOT, capture_output=True, text=True, timeout=CHECK_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert len(re.findall(r"writes were away for \d+\.\d\d s", done.stdout)) == 3
    assert re.search(r"\d{2,} rows were acknowledged, none is missing", done.stdout)
    assert_nothing_left(done.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_all_that_it_started(number: signal.Signals, tmp_path: Path) -> None:
    shown = tmp_path / "output"
    with shown.open("w") as output, subprocess.Popen(COMMAND, cwd=ROOT, stdout=output, start_new_session=True) as demo:
        try:
            wait_until(lambda: "worth trying" in shown.read_text(), START_S, "the commands", shown.read_text)
            os.kill(demo.pid, number)
            status = demo.wait(END_S)
        finally:
            demo.kill()
    assert status == (0 if number == signal.SIGINT else -number), shown.read_text()
    home = home_in(shown.read_text())
    # After SIGKILL it is the backstop process that ends them; the files stay.
    wait_until(lambda: not processes_in(home), END_S, "the end of all processes")
    if number == signal.SIGKILL:
        shutil.rmtree(home)
    assert_nothing_left(shown.read_text())


@pytest.mark.parametrize(
    ("statuses", "is_healthy"),
    [
        pytest.param([PRIMARY, STANDBY, FRESH], True, id="one leads, two stream, one has heard of no timeline yet"),
        pytest.param([PRIMARY, STANDBY, DEAD], False, id="one is dead"),
        pytest.param([STANDBY, FRESH], False, id="nobody leads"),
        pytest.param([PRIMARY, PRIMARY, STANDBY], False, id="two say that they lead"),
        pytest.param([Status(name="a", role="primary", state="running", timeline=3), STANDBY, FRESH], False, id="old timeline"),
        pytest.param([Status(name="a", role="primary", state="running", timeline=2), STANDBY], False, id="leader denies it"),
    ],
)
def test_health(statuses: list[Status], is_healthy: bool) -> None:
    assert are_healthy(statuses) is is_healthy


def test_what_is_shown() -> None:
    assert table([PRIMARY, STANDBY, DEAD]) == [
        "  node          role      state                timeline  behind",
        "  a             primary   running              2",
        "  b             replica   streaming            2         1,000 bytes",
        "  c                       no answer",
    ]
    assert sentence([PRIMARY, DEAD]) == "a: primary running on timeline 2, c: no answer"
