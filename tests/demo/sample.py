"""The checkout's sample files, moved to other ports and directories: what the demo shows is what the samples do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
NODES = 3
POSTGRES_PORTS = tuple(5432 + number for number in range(NODES))
REST_PORTS = tuple(8008 + number for number in range(NODES))
PRIMARY_PORT, REPLICA_PORT, STATISTICS_PORT = 5000, 5001, 7000
USER = "postgres"
HOST = "127.0.0.1"
# Below the samples' 30 s, so that the kill of a whole node is soon over; allowed by loop_wait + 2 * retry_timeout <= ttl.
TTL_S, LOOP_WAIT_S, RETRY_TIMEOUT_S = 10, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node of the demo lives."""

    directory: Path
    postgres_port: int
    rest_port: int


def node_configuration(number: int, place: Place, store: Mapping[str, object]) -> dict[str, object]:
    """Return the sample of this node at its place; store: the store's section, under its name."""
    text = (ROOT / f"postgres{number}.yml").read_text(encoding="utf-8")
    postgres, rest = f"{HOST}:{place.postgres_port}", f"{HOST}:{place.rest_port}"
    found: dict[str, object] = yaml.safe_load(text)
    del found["etcd3"]
    found |= store
    _section(found, "restapi").update(listen=rest, connect_address=rest)
    _section(found, "bootstrap", "dcs").update(ttl=TTL_S, loop_wait=LOOP_WAIT_S, retry_timeout=RETRY_TIMEOUT_S)
    _section(found, "postgresql").update(
        listen=postgres,
        connect_address=postgres,
        data_dir=str(place.directory / "data"),
        pgpass=str(place.directory / "pgpass"),
    )
    # A killed server leaves its shared memory behind; like this it goes with the directory.
    _section(found, "postgresql", "parameters").update(dynamic_shared_memory_type="mmap")
    return found


def superuser_password() -> str:
    """Return the password that the samples give Postgres' superuser."""
    found = yaml.safe_load((ROOT / "postgres0.yml").read_text(encoding="utf-8"))
    return str(_section(found, "postgresql", "authentication", "superuser")["password"])


def haproxy_configuration(ports: Mapping[int, int]) -> str:
    """Return the directives of haproxy.cfg with each of its ports replaced."""
    lines = (ROOT / "haproxy.cfg").read_text(encoding="utf-8").splitlines()
    directives = "\n".join(line.partition("#")[0].rstrip() for line in lines) + "\n"
    known = "|".join(str(port) for port in ports)
    return re.sub(rf"(?<=[: ])(?:{known})\b", lambda found: str(ports[int(found[0])]), directives)


def _section(found: dict[str, object], *path: str) -> dict[str, object]:
    for key in path:
        section = found[key]
        assert isinstance(section, dict), f"no section {key}"
        found = section
    return found
