"""What is known of one key of the configuration; the tables of them are `keys.py` and its parts by subject.

Parsing, errors and the environment's variables come from these records, so a key is described in one place only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """How a value is read. What is written in YAML of another kind is a fault, see `Misuse`."""

    NAME = auto()  # text and nothing else: a bare 5 is a fault
    TEXT = auto()  # text; numbers are taken as written
    PATH = auto()  # a file or directory; relative ones are relative to where the agent was started
    FLAG = auto()  # the value's truth; text is bool-like (contract/configuration.md §9 row 14)
    SWITCH = auto()  # bool-like, other words are undefined (§2.1)
    SWITCH_OR_WORD = auto()  # bool-like or one of `words`, in any case; kept as written
    INTEGER = auto()  # §2.2
    NUMBER = auto()  # §2.2, with a fraction
    WORD = auto()  # one of `words`, in any case
    LEVEL = auto()  # a level of the log, upper case
    ADDRESS = auto()  # `host:port` (§2.5)
    LIST = auto()  # a list, or one text of words between commas
    LINES = auto()  # a list of lines; items that are no text are skipped
    OPTIONS = auto()  # an option list (§2.3), judged by the tool that gets it
    MAPPING = auto()
    ANY = auto()  # read by whoever uses it


class Apply(Enum):
    """What a changed value needs (§0)."""

    LIVE = "live"  # nothing: used from the next turn on
    RELOAD = "reload"  # Postgres' files are written and reloaded; Postgres says if it needs a restart for one
    PENDING = "pending"  # a restart of Postgres
    AGENT = "agent"  # a restart of the agent
    BOOT = "boot"  # read only while a new cluster is made


class Misuse(Enum):
    """What happens to a value that cannot be read (§8)."""

    FAULT = "fault"  # the configuration is refused
    WARN = "warn"  # the default, and a warning
    IGNORE = "ignore"  # the default


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key."""

    path: str  # dotted; `*` stands for a name that the user chooses
    kind: Kind
    help: str
    default: object = None  # None: absent
    unit: str | None = None  # what a bare number counts; of INTEGER and NUMBER other units are converted
    minimum: float | None = None  # smallest value that validation accepts
    maximum: float | None = None
    is_raised: bool = False  # a smaller value is raised to `minimum` when it is read; otherwise it is used as given
    words: tuple[str, ...] = ()  # of WORD, lower case
    default_port: int | None = None  # of ADDRESS; None: the port is mandatory
    forbidden: tuple[str, ...] = ()  # of OPTIONS: names that the agent sets itself
    layers: str = "LE"  # where it counts: Local file, Environment, Dynamic configuration
    apply: Apply = Apply.AGENT
    misuse: Misuse = Misuse.FAULT
    is_required: bool = False

    @property
    def variable(self) -> str | None:
        """Return the environment's variable, or None where there is none."""
        if "E" not in self.layers:
            return None
        name = self.path.upper().replace(".", "_")
        for inner, outer in _SHORTER:
            name = name.replace(inner, outer)
        return f"PATRONI_{name}"


_SHORTER = (
    ("POSTGRESQL_AUTHENTICATION_", ""),
    ("AUTHENTICATION_", ""),
    ("BIN_NAME_", "BIN_"),
)
