"""`edit-config` and what it makes of a configuration (contract/cli.md §4.5)."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from patroni.ctl.config_change import Tree, Unusable, applied, assigned, parsed_tree
from tests.ctl.trial import ENTRY, LIMIT_S, ROOT, Trial, patronictl

CONFIG = {"loop_wait": 10, "retry_timeout": 10, "ttl": 30}
NESTED: Tree = {"postgresql": {"parameters": {"a": 1}}, "x": 5}


@pytest.mark.parametrize(
    ("given", "items", "then"),
    [
        ({}, ["ttl=45"], {"ttl": 45}),
        ({}, [" ttl =45"], {"ttl": 45}),
        ({"ttl": 30}, ["ttl=null"], {}),
        ({"ttl": 30}, ["ttl="], {}),
        ({"ttl": 30}, ["x="], {"ttl": 30}),
        ({}, ["a.b.c=on", "a.b.d=[1, 2]"], {"a": {"b": {"c": True, "d": [1, 2]}}}),
        ({}, ["a=b=c"], {"a": "b=c"}),
        ({"a": 5}, ["a.b=1"], {"a": {"b": 1}}),
        ({"a": {"b": 1}}, ["a.b="], {}),
        ({}, ["a.b.c="], {}),
        (NESTED, ["postgresql.parameters.pg_stat.max=9"], {"postgresql": {"parameters": {"a": 1, "pg_stat.max": 9}}, "x": 5}),
        (NESTED, ["postgresql.parameters.a="], {"x": 5}),
        (NESTED, ["postgresql.parameters="], {"x": 5}),
    ],
)
def test_assignments(given: Tree, items: list[str], then: Tree) -> None:
    before = json.dumps(given)
    assert assigned(given, items) == then
    assert json.dumps(given) == before


def test_parameters_have_a_prefix() -> None:
    assert assigned({}, ["a.b=1"], "postgresql.parameters.") == {"postgresql": {"parameters": {"a.b": 1}}}


def test_a_patch() -> None:
    assert applied(NESTED, "{x: null, postgresql: {parameters: {b: 2}}, new: {y: null}}", "f") == {
        "postgresql": {"parameters": {"a": 1, "b": 2}},
        "new": {"y": None},
    }


@pytest.mark.parametrize("text", ["", "5", "[1]", "{", "a: b: c", "2031-99-99"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(Unusable, match=r"^f: "):
        parsed_tree(text, "f")


@pytest.mark.parametrize("items", [["ttl"], ["a={"]])
def test_unusable_assignments(items: list[str]) -> None:
    with pytest.raises(Unusable, match=items[0][0]):
        assigned({}, items)


def config(trial: Trial) -> object:
    """Return the config key as it stands in the store."""
    return json.loads(trial.keys()["config"])


@pytest.fixture
def edited(trial: Trial) -> Trial:
    """Return a store with a configuration."""
    trial.put({"config": json.dumps(CONFIG)})
    return trial


def test_set_and_force(edited: Trial) -> None:
    done = edited.run("edit-config", "-s", "ttl=45", "-p", "max_connections=200", "--force", "demo")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "--- ",
        "+++ ",
        "@@ -1,3 +1,6 @@",
        " loop_wait: 10",
        "+postgresql:",
        "+  parameters:",
        "+    max_connections: 200",
        " retry_timeout: 10",
        "-ttl: 30",
        "+ttl: 45",
        "Configuration changed",
    ]
    value = '{"loop_wait":10,"retry_timeout":10,"ttl":45,"postgresql":{"parameters":{"max_connections":200}}}'
    assert edited.keys()["config"] == value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-s", "ttl=abc"], "ttl: 'abc' is not a whole number of seconds"),
        (["-s", "synchronous_mode=qourum"], "synchronous_mode: 'qourum' is neither on, off nor quorum"),
        (["--apply", "FILE"], "maximum_lag_on_failover: -1 is less than 0"),
        (["--replace", "FILE"], "maximum_lag_on_failover: -1 is less than 0"),
    ],
)
def test_a_value_that_no_agent_could_use_is_not_written(edited: Trial, tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / "given").write_text("{maximum_lag_on_failover: -1}")
    words = [str(tmp_path / "given") if word == "FILE" else word for word in options]
    done = edited.run("edit-config", *words, "--force")
    assert (done.status, done.out, done.err) == (1, "", f"Error: {said}\n")
    assert config(edited) == CONFIG


def test_the_options_in_their_order(edited: Trial, tmp_path: Path) -> None:
    (tmp_path / "replace").write_text("{a: 1, b: 1, postgresql: {parameters: {c: 1}}}")
    (tmp_path / "apply").write_text("{b: 2, d: 2, e: 2}")
    options = ["--apply", str(tmp_path / "apply"), "-p", "c=4", "-s", "postgresql.parameters.c=3", "-s", "d=3"]
    done = edited.run("edit-config", *options, "--replace", str(tmp_path / "replace"), "--force", "-q")
    assert done.out == "Configuration changed\n"
    assert config(edited) == {"a": 1, "b": 2, "d": 3, "e": 2, "postgresql": {"parameters": {"c": 4}}}


def test_nothing_changes(edited: Trial) -> None:
    assert edited.run("edit-config", "-s", "ttl=30").out == "Not changed\n"
    done = edited.run("edit-config", "-s", "ttl=30", "-q")
    assert (done.status, done.out) == (0, "")


@pytest.mark.parametrize(("answer", "ttl_s", "end"), [("y", 45, "]: y\nConfiguration changed\n"), ("n", 30, "]: n\n")])
def test_the_question(edited: Trial, answer: str, ttl_s: int, end: str) -> None:
    done = edited.run("edit-config", "-s", "ttl=45", answers=[answer])
    assert done.status == 0
    assert done.out.endswith(f"Apply these changes? [y/N{end}")
    assert config(edited) == {**CONFIG, "ttl": ttl_s}


def test_standard_input(edited: Trial) -> None:
    shown = edited.run("edit-config", "--apply", "-", answers=["ttl: 45"])
    assert (shown.status, "+ttl: 45" in shown.out, "--force" in shown.out) == (0, True, True)
    assert config(edited) == CONFIG
    assert edited.run("edit-config", "--replace", "-", "--force", answers=["ttl: 45"]).status == 0
    assert config(edited) == {"ttl": 45}


@pytest.mark.parametrize(
    ("options", "err"),
    [
        (["--apply", "/nonexistent"], "Error: /nonexistent: cannot be read: No such file or directory\n"),
        (["--replace", "/dev/null"], "Error: /dev/null: the top level is not a mapping of keys\n"),
        (["-s", "ttl"], "Error: ttl: not of the form KEY=VALUE\n"),
    ],
)
def test_unusable_options(edited: Trial, options: list[str], err: str) -> None:
    done = edited.run("edit-config", *options, "--force")
    assert (done.status, done.out, done.err) == (1, "", err)
    assert config(edited) == CONFIG


def test_no_configuration(trial: Trial) -> None:
    done = trial.run("edit-config", "-s", "ttl=45")
    assert (done.status, done.err) == (1, "Error: cluster demo has no configuration in the store\n")


def an_editor(directory: Path, script: str) -> str:
    """Make an editor of a shell script, whose first argument is told to it after another."""
    path = directory / "an editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"'{path}' --wait"


def test_an_editor(edited: Trial, tmp_path: Path) -> None:
    editor = an_editor(tmp_path, f'[ "$1" = --wait ] || exit 1; echo "$2" > {tmp_path}/name; sed -i s/30/45/ "$2"')
    done = edited.run("edit-config", answers=["y"], EDITOR=editor)
    assert done.out.endswith("Configuration changed\n")
    assert config(edited) == {**CONFIG, "ttl": 45}
    name = Path((tmp_path / "name").read_text().strip())
    assert (name.name.startswith("demo-config-"), name.suffix, name.exists()) == (True, ".yaml", False)


@pytest.mark.parametrize(
    ("script", "err"),
    [
        ("exit 3", "the editor ended with status 3"),
        ('echo "{" > "$2"', "while parsing"),
        ('echo 5 > "$2"', "not a mapping"),
        ('rm "$2"', "cannot be read"),
    ],
)
def test_an_editor_that_fails(edited: Trial, tmp_path: Path, script: str, err: str) -> None:
    done = edited.run("edit-config", "--force", EDITOR=an_editor(tmp_path, script))
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert err in done.err
    assert config(edited) == CONFIG


def test_no_editor(edited: Trial, tmp_path: Path) -> None:
    done = edited.run("edit-config", EDITOR="", PATH=str(tmp_path))
    assert (done.status, "EDITOR" in done.err) == (1, True)


def test_somebody_else_was_faster(edited: Trial, tmp_path: Path) -> None:
    """The editor's script is somebody else, too."""
    path = edited.write_configuration()
    other = f'cd {ROOT}; {sys.executable} -c "{ENTRY}"'
    script = f'{other} -c {path} edit-config -q -s ttl=40 --force >&2; sed -i s/30/45/ "$2"'
    done = edited.run("edit-config", "--force", EDITOR=an_editor(tmp_path, script))
    assert (done.status, "Error: somebody else changed" in done.err) == (1, True)
    assert config(edited) == {**CONFIG, "ttl": 40}


def test_a_pager_on_a_terminal(edited: Trial, tmp_path: Path) -> None:
    pager = an_editor(tmp_path, f"cat > {tmp_path}/shown")
    path = edited.write_configuration()
    main_side, other_side = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", ENTRY, "-c", path, "edit-config", "-s", "ttl=45", "--force"],
            cwd=ROOT,
            stdout=other_side,
            stderr=subprocess.PIPE,
            env={**os.environ, "PAGER": pager},
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        os.close(other_side)
        os.close(main_side)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\x1b[32m+ttl: 45\x1b[0m" in (tmp_path / "shown").read_text()


def test_a_group_of_citus(trial: Trial) -> None:
    trial.put({"1/config": "{}", "2/config": "{}"})
    trial.configuration["citus"] = {"group": 2, "database": "citus"}
    for options in (["--group", "1", "-s", "a=1"], ["-s", "a=2"]):
        assert trial.run("edit-config", *options, "--force").status == 0
    assert trial.keys() == {"1/config": '{"a":1}', "2/config": '{"a":2}'}
    assert trial.run("show-config").out == "a: 2\n\n"


# --- remove


def test_remove(trial: Trial) -> None:
    trial.put({"leader": "pg-a", "config": "{}"})
    trial.put({"leader": "x"}, "/service/demo2/")
    wrong = [["x"], ["demo", "yes I am aware"], ["demo", "Yes I am aware", "pg-b"]]
    for answers in wrong:
        done = trial.run("remove", "demo", answers=answers)
        assert (done.status, done.err.count("\n")) == (1, 1)
    assert trial.keys() != {}
    done = trial.run("remove", "demo", "-f", "json", answers=["demo", "Yes I am aware", "pg-a"])
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("[]\nName of the cluster to remove: demo\n")
    assert trial.keys() == {}
    assert trial.keys("/service/demo2/") == {"leader": "x"}


def test_remove_without_a_leader_asks_two_questions(trial: Trial) -> None:
    trial.put({"config": "{}"})
    assert trial.run("remove", "demo", answers=["demo", "Yes I am aware"]).status == 0
    assert trial.keys() == {}


def test_remove_needs_a_group(trial: Trial) -> None:
    trial.put({"1/leader": "a", "2/leader": "b"})
    trial.configuration["citus"] = {"group": 2, "database": "citus"}
    assert trial.run("remove", "demo", answers=["demo"]).status == 1
    assert trial.run("remove", "demo", "--group", "1", answers=["demo", "Yes I am aware", "a"]).status == 0
    assert trial.keys() == {"2/leader": "b"}


def test_a_usage_error_of_remove() -> None:
    assert patronictl("remove").status == 2
