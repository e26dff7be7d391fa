"""Files, directories and the environment (contract/configuration.md §1.1, §1.2, contract/cli.md §5.2, §2.2)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from patroni.config.environment import capture
from patroni.config.fault import ConfigError
from patroni.config.load import load_for_patronictl, load_local, read_cache, reload_local
from tests.config.builders import environment, from_file


def refusal(path: Path | str | None, **variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_local(None if path is None else str(path), environment(**variables))
    (line,) = caught.value.faults
    assert "\n" not in line
    return line


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    text = "scope: a\nrestapi: {listen: 'h:1', cafile: c}\n"
    found = from_file(tmp_path / "p.yml", text, SCOPE="b", RESTAPI_LISTEN="h:2", CTL_INSECURE="on")
    assert found == {"scope": "b", "restapi": {"listen": "h:2", "cafile": "c"}, "ctl": {"insecure": True}}


def test_yaml_is_version_1_1(tmp_path: Path) -> None:
    found = from_file(tmp_path / "p.yml", "a: on\nb: 0644\nc: 12:30\nd: 1\nd: 2\ne: 'on'\n")
    assert found == {"a": True, "b": 420, "c": 750, "d": 2, "e": "on"}


def test_a_null_at_the_top_is_absent_and_inside_it_stays(tmp_path: Path) -> None:
    assert from_file(tmp_path / "p.yml", "bootstrap:\ntags: {a: null}\n") == {"tags": {"a": None}}


def test_files_of_a_directory_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("scope: b\npostgresql: {listen: null, parameters: {x: 2}}\ntags: [1]\nkeep: '10'\n")
    (tmp_path / "a.yml").write_text("scope: a\npostgresql: {listen: l, parameters: {x: 1, y: 1}}\ntags: [0, 0]\nkeep: 10\n")
    (tmp_path / "c.txt").write_text("scope: c\n")
    (tmp_path / "d.yml").mkdir()
    found = load_local(str(tmp_path), capture({})).values
    assert found == {"scope": "b", "postgresql": {"parameters": {"x": 2, "y": 1}}, "tags": [1], "keep": 10}


def test_an_empty_directory_is_an_empty_configuration(tmp_path: Path) -> None:
    assert load_local(str(tmp_path), environment(SCOPE="a")).values == {"scope": "a"}


def test_a_path_that_is_absent_falls_to_the_whole_variable_and_then_to_the_others(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.yml")
    whole = load_local(absent, environment(CONFIGURATION="{scope: w, bootstrap: null}", SCOPE="v"))
    assert (whole.values, whole.path) == ({"scope": "w", "bootstrap": {}}, None)
    assert load_local(absent, environment(CONFIGURATION="null", SCOPE="v")).values == {"scope": "v"}
    assert load_local(None, environment(SCOPE="v")).values == {"scope": "v"}


def test_a_file_beats_the_whole_variable(tmp_path: Path) -> None:
    assert from_file(tmp_path / "p.yml", "scope: f", CONFIGURATION="{scope: w}") == {"scope": "f"}


def test_nothing_at_all(tmp_path: Path) -> None:
    assert refusal(None).startswith("Config is empty. Usage: patroni CONFIGFILE, a YAML file")
    assert "PATRONI_CONFIGURATION" in refusal(None)
    absent = tmp_path / "absent.yml"
    assert refusal(absent) == f"Config is empty. There is no {absent}."


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        pytest.param("", "", "is empty", id="empty"),
        pytest.param("# nothing\n", "", "is empty", id="comment only"),
        pytest.param("- a\n", "", "the top level is not a mapping of keys", id="list"),
        pytest.param("word", "", "the top level is not a mapping of keys", id="scalar"),
        pytest.param("a: 1\nb: [1\nc: 2\n", ":3:2", "expected ',' or ']', but got ':'", id="syntax"),
        pytest.param("a: b: c\n", ":1:5", "mapping values are not allowed here", id="colon"),
        pytest.param("\ta: 1\n", ":1:1", "found character '\\t' that cannot start any token", id="tab"),
        pytest.param("a: 1\n---\nb: 1\n", ":2:1", "but found another document", id="two documents"),
        pytest.param("a: !!python/object:os.system x\n", ":1:4", "could not determine a constructor", id="tag"),
        pytest.param("a: *b\n", ":1:4", "found undefined alias 'b'", id="alias"),
        pytest.param("a: \x00\n", "", "unacceptable character", id="control character"),
        pytest.param("a: 2001-99-99\n", "", "month must be in 1..12", id="date"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, place: str, words: str) -> None:
    path = tmp_path / "p.yml"
    path.write_text(text)
    assert refusal(path).startswith(f"{path}{place}: {words}")


def test_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    path.write_bytes(b"\xff\xfe")
    assert refusal(path) == f"{path}: cannot be read: it is not UTF-8"


def test_a_broken_file_in_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("scope: a\n")
    (tmp_path / "b.yml").write_text("[")
    assert refusal(tmp_path).startswith(f"{tmp_path / 'b.yml'}:1:")


def test_broken_whole_variable() -> None:
    assert refusal(None, CONFIGURATION="[1").startswith("PATRONI_CONFIGURATION:1:")
    assert refusal(None, CONFIGURATION="word") == "PATRONI_CONFIGURATION: the top level is not a mapping of keys"


def test_a_socket_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert refusal(path) == f"{path}: invalid config path: neither a file nor a directory"


def test_a_reload_keeps_the_variables_and_needs_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    path.write_text("scope: a\nname: n\n")
    first = load_local(str(path), environment(SCOPE="b"))
    path.write_text("scope: c\nname: m\n")
    assert reload_local(first).values == {"scope": "b", "name": "m"}
    path.unlink()
    with pytest.raises(ConfigError) as caught:
        reload_local(first)
    assert caught.value.faults == (f"{path}: there is no such file",)
    alone = load_local(None, environment(SCOPE="b"))
    assert reload_local(alone) is alone


def test_patronictl_wants_a_path_that_was_named(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.yml")
    with pytest.raises(ConfigError) as caught:
        load_for_patronictl(absent, "/nowhere/patronictl.yaml", environment(SCOPE="a"))
    assert caught.value.faults == (f"{absent}: there is no such file",)
    default = load_for_patronictl(None, absent, environment(SCOPE="a"))
    assert (default.values, default.path) == ({"scope": "a"}, None)
    assert load_for_patronictl(absent, absent, environment()).values == {}
    (tmp_path / "absent.yml").write_text("scope: f\n")
    assert load_for_patronictl(None, absent, environment(NAME="n")).values == {"scope": "f", "name": "n"}


@pytest.mark.parametrize(
    ("text", "then"), [('{"ttl": 20}', {"ttl": 20}), ("{", None), ("[]", None), ("", None), ("null", None), ("\x80", None)]
)
def test_the_cached_dynamic_configuration(tmp_path: Path, text: str, then: object) -> None:
    (tmp_path / "patroni.dynamic.json").write_bytes(text.encode("latin-1"))
    assert read_cache(str(tmp_path)) == then
    assert read_cache(os.devnull) is None
