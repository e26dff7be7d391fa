"""The start with bad input: one clear line that names the key, file or address, exit status 1, and nothing is written."""

from __future__ import annotations

import fcntl
import os
import pwd
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from patroni.agent.privilege import PrivilegeError, drop_root
from patroni.config.tree import patched
from patroni.fence import lock
from patroni.fence.lock import page_name
from patroni.version import VERSION
from tests.support.directories import give_to_servers, subdirectory, unprivileged_user
from tests.support.ports import reserve_port
from tests.support.process import Process

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
LIMIT_S = 20.0


class Site:
    """A directory with a configuration that would work, and the agent that is started with what a test makes of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data_dir = directory / "node" / "data"
        self.store = directory / "store" / "patroni.db"
        self.rest_port = reserve_port()
        self.environment: dict[str, str] = {}
        subdirectory(directory, "node")
        subdirectory(directory, "store")

    @property
    def values(self) -> dict[str, Any]:
        return {
            "scope": "batman",
            "name": "pg-a",
            "restapi": {"listen": f"{HOST}:{self.rest_port}", "connect_address": f"{HOST}:{self.rest_port}"},
            "local": {"path": str(self.store)},
            "postgresql": {"listen": f"{HOST}:{reserve_port()}", "data_dir": str(self.data_dir)},
        }

    def write(self, changes: Mapping[str, object]) -> Path:
        return self.write_text(yaml.safe_dump(patched(self.values, changes)))

    def write_text(self, text: str) -> Path:
        file = self.directory / "patroni.yml"
        file.write_text(text)
        return give_to_servers(file)

    def start(self, *arguments: str | Path) -> Process:
        process = Process([sys.executable, ROOT / "patroni.py", *arguments], self.directory, self.environment, name="agent")
        process.start()
        return process

    def refused(self, *arguments: str | Path) -> str:
        """Start it, and return the one line that it says besides what it is."""
        process = self.start(*arguments)
        try:
            status = process.wait_end(LIMIT_S)
        finally:
            process.kill()
        text = process.log_file.read_text()
        lines = [line.partition("CRITICAL: ")[2] or line for line in text.splitlines() if " INFO: " not in line]
        assert status == 1, text
        assert len(lines) == 1 and "Traceback" not in text, text
        assert not self.data_dir.exists() and not list(self.store.parent.iterdir()), "something was written"
        return lines[0]


@pytest.fixture
def site(directory: Path) -> Site:
    return Site(directory)


# --- the configuration


def test_no_file_and_no_environment(site: Site) -> None:
    assert site.refused().startswith("Config is empty. Usage: patroni CONFIGFILE")


@pytest.mark.parametrize(("option", "said"), [("--help", "PATRONI_CONFIGURATION"), ("--version", f"patroni {VERSION}\n")])
def test_what_the_options_say(site: Site, option: str, said: str) -> None:
    process = site.start(option)
    try:
        assert process.wait_end(LIMIT_S) == 0
    finally:
        process.kill()
    assert said in process.log_file.read_text()


def test_a_missing_file(site: Site) -> None:
    path = site.directory / "missing.yml"
    assert site.refused(path) == f"Config is empty. There is no {path}."


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("scope: [", ":1:9: expected the node content, but found '<stream end>'"),
        ("a: b: c", ":1:5: mapping values are not allowed here"),
        ("- a", ": the top level is not a mapping of keys"),
        ("", ": is empty"),
        ("scope: !!python/object:os.system x", ":1:8: could not determine a constructor for the tag"),
    ],
)
def test_broken_yaml(site: Site, text: str, then: str) -> None:
    path = site.write_text(text)
    assert site.refused(path).startswith(f"{path}{then}")


def test_a_password_in_the_environment_alone_is_no_configuration(site: Site) -> None:
    site.environment = {"PATRONI_SUPERUSER_PASSWORD": "secret-of-somebody"}
    process = site.start()
    assert process.wait_end(LIMIT_S) == 1
    text = process.log_file.read_text()
    process.kill()
    assert "scope: is missing" in text.splitlines() and "secret-of-somebody" not in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("changes", "then"),
    [
        ({"scope": None}, "scope: is missing"),
        ({"name": ["a"]}, "name: ['a'] is not text; write it in quotes"),
        ({"local": None}, "no store is configured; write one of these sections: etcd3, local"),
        (
            {"local": None, "etcd9": {"host": "127.0.0.1:2379"}},
            "no store is configured; write one of these sections: etcd3, local",
        ),
        ({"local": None, "raft": {"self_addr": "h:1"}}, "raft: not supported yet; write one of these sections: etcd3, local"),
        ({"local": {"path": None}}, "local: does not say where it is; write path"),
        ({"local": {"path": "/proc/patroni.db"}}, "local.path: /proc/patroni.db: /proc is not writable"),
        ({"restapi": {"listen": "h:port"}}, "restapi.listen: port 'port' is not a number from 1 to 65535"),
        ({"restapi": {"listen": "192.0.2.1:8008"}}, "restapi.listen: 192.0.2.1:8008: Cannot assign requested address"),
        ({"restapi": {"certfile": "/nowhere/a.pem"}}, "restapi.certfile: /nowhere/a.pem: No such file or directory"),
        ({"ctl": {"cacert": "/nowhere/ca.pem"}}, "ctl.cacert: /nowhere/ca.pem: No such file or directory"),
        ({"ctl": {"certfile": "/nowhere/a.pem"}}, "ctl.certfile: /nowhere/a.pem: No such file or directory"),
        ({"postgresql": {"data_dir": None}}, "postgresql.data_dir: is missing"),
        ({"postgresql": {"parameters": ["a"]}}, "postgresql.parameters: is not a mapping"),
        ({"postgresql": {"bin_dir": "/nowhere"}}, "postgresql.bin_dir: no program postgres in /nowhere"),
        ({"log": {"dir": "/proc"}}, "log.dir: /proc: cannot be written: No such file or directory"),
        ({"tags": "x"}, "tags: is not a mapping"),
        ({"bootstrap": {"dcs": {"ttl": "soon"}}}, "bootstrap.dcs.ttl: 'soon' is not a whole number of seconds"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_by_its_key(site: Site, changes: dict[str, Any], then: str) -> None:
    assert site.refused(site.write(changes)) == then


@pytest.mark.parametrize(
    ("section", "key"), [("restapi", "restapi.certfile"), ("ctl", "ctl.certfile")], ids=["of the server", "of the client"]
)
def test_a_certificate_that_is_none(site: Site, section: str, key: str) -> None:
    wrong = site.directory / "wrong.pem"
    wrong.write_text("no certificate")
    give_to_servers(wrong)
    assert site.refused(site.write({section: {"certfile": str(wrong)}})).startswith(key)


# --- what somebody else has already


def test_a_rest_port_in_use(site: Site) -> None:
    with socket.create_server((HOST, site.rest_port)):
        said = site.refused(site.write({}))
    assert said.startswith(f"restapi.listen: {HOST}:{site.rest_port}: Address already in use")


def test_a_data_directory_in_use_by_another_agent(site: Site) -> None:
    user = unprivileged_user()
    uid = pwd.getpwnam(user).pw_uid if user else os.getuid()
    path = Path(lock.DIRECTORY, f"{page_name(str(site.data_dir), uid)}.lock")
    path.write_text("pg-b, pid 4711")
    give_to_servers(path)
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            assert site.refused(site.write({})) == f"postgresql.data_dir: {site.data_dir} is in use by pg-b, pid 4711"
        finally:
            path.unlink()


# --- a store that is away


def test_a_store_that_is_away_is_waited_for_and_the_wait_ends_with_a_signal(site: Site) -> None:
    address = f"{HOST}:{reserve_port()}"
    process = site.start(site.write({"local": None, "etcd3": {"host": address}}))
    try:
        process.wait_for(lambda: "waiting for the store (etcd3)" in process.log_file.read_text(), LIMIT_S, "the wait")
        assert process.stop(LIMIT_S) == 0
        text = process.log_file.read_text()
        assert address in text and "Traceback" not in text
        assert not site.data_dir.exists()
    finally:
        process.kill()


# --- root


def test_root_without_the_user_to_become(site: Site) -> None:
    """Who is not root stays who he is, and nothing is made."""
    made = site.directory / "made" / "data"
    if os.geteuid() != 0:
        assert drop_root(str(made), [], str(ROOT), user="no-such-user") is None
    else:
        with pytest.raises(PrivilegeError) as refused:
            drop_root(str(made), [], str(ROOT), user="no-such-user")
        assert "`no-such-user`" in str(refused.value) and "\n" not in str(refused.value)
    assert not made.parent.exists()


DROP = """
import os, sys
from patroni.agent.privilege import PrivilegeError, drop_root
try:
    said = drop_root(sys.argv[1], [sys.argv[2]], sys.argv[3])
except PrivilegeError as error:
    print(error)
else:
    print(said, os.getuid() != 0, os.getgroups() != [0], os.environ["USER"], os.access(sys.argv[1], os.W_OK))
"""


def dropped(site: Site, data_dir: Path, other: Path, checkout: Path) -> str:
    """Drop root's rights in a process of its own and return what it says."""
    process = Process(
        [sys.executable, "-c", DROP, data_dir, other, checkout], site.directory, {"PYTHONPATH": str(ROOT)}, "drop"
    )
    process.user = None
    process.start()
    try:
        assert process.wait_end(LIMIT_S) == 0
        return process.log_file.read_text().strip()
    finally:
        process.kill()


def test_root_becomes_the_user_that_owns_its_directories(site: Site) -> None:
    said = dropped(site, site.directory / "new" / "data", site.directory / "new" / "store", ROOT)
    if os.geteuid() != 0:
        assert said.startswith("None")
    else:
        assert said == "started as root: running as user postgres True True postgres True"
        owners = {path.name: path.owner() for path in (site.directory / "new").iterdir()}
        assert owners == {"data": "postgres", "store": "postgres"}


def test_root_whose_user_cannot_read_the_checkout(site: Site) -> None:
    closed = site.directory / "closed"
    closed.mkdir(mode=0o700)
    said = dropped(site, site.directory / "new" / "data", site.directory / "new" / "store", closed)
    if os.geteuid() == 0:
        assert said.startswith(f"user `postgres` cannot read {closed};")


def test_root_that_cannot_make_a_directory(site: Site) -> None:
    said = dropped(site, Path("/proc/nowhere/data"), site.directory / "new", ROOT)
    if os.geteuid() == 0:
        assert said == "cannot make /proc/nowhere for user `postgres`: No such file or directory"
