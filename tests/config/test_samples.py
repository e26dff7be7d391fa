"""The sample files of the checkout can be used as they are, side by side on one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from patroni.config.environment import Environment
from patroni.config.keys import find
from patroni.config.load import load_local
from patroni.config.settings import Configuration, build
from patroni.config.tree import differences, leaves

ROOT = Path(__file__).parents[2]
SAMPLES = [ROOT / f"postgres{number}.yml" for number in range(3)]


def sample(path: Path) -> Configuration:
    return build(load_local(str(path), Environment()), None)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_has_no_fault_no_warning_and_no_unknown_key(path: Path) -> None:
    found = sample(path)
    assert found.warnings == ()
    assert [key for key, _ in leaves(found.local.values) if find(key) is None] == []
    assert found.store.kind == "etcd3"
    assert found.settings.has_bootstrap_section
    assert found.settings.use_pg_rewind


@pytest.mark.parametrize("number", [1, 2])
def test_they_differ_in_name_ports_and_directories_only(number: int) -> None:
    first, other = sample(SAMPLES[0]), sample(SAMPLES[number])
    assert sorted(differences(first.local.values, other.local.values)) == [
        "name",
        "postgresql.connect_address",
        "postgresql.data_dir",
        "postgresql.listen",
        "postgresql.pgpass",
        "restapi.connect_address",
        "restapi.listen",
    ]
    assert other.settings == first.settings
    assert str(number) in other.name


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_it_says_on_of_synchronous_commit_as_a_word(path: Path) -> None:
    found = sample(path).effective["postgresql"]
    assert isinstance(found, dict)
    assert found["parameters"] == {
        "password_encryption": "scram-sha-256",
        "synchronous_commit": "on",
        "synchronous_standby_names": "*",
        "unix_socket_directories": "",
    }


def test_the_embedded_store_of_the_comment_can_be_used(tmp_path: Path) -> None:
    text = SAMPLES[0].read_text(encoding="utf-8")
    without = text.replace("\netcd3:", "\nunused:").replace("#local:", "local:").replace("#  path:", "  path:")
    (tmp_path / "p.yml").write_text(without, encoding="utf-8")
    assert sample(tmp_path / "p.yml").store.kind == "local"
    assert sample(tmp_path / "p.yml").settings == sample(SAMPLES[0]).settings
