"""The project's files as the rules see them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Named, not asked of git: a copy of the checkout has no repository.
_FOLDERS = ("patroni", "tests", "script", "docs", ".ci")
_LEFT_OUT = {"__pycache__", "data"}
_BINARY = {".pyc", ".png", ".svg", ".gif", ".ico"}


@dataclass(frozen=True)
class Source:
    """One Python file; path is relative to the checkout, with `/`."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, self.path)

    @property
    def module(self) -> str:
        """The dotted name by which others import this file."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def at(self, node: ast.stmt | ast.expr, what: str) -> str:
        """Return a fault as text, with its place."""
        return f"{self.path}:{node.lineno}: {what}"


def files() -> Iterator[Path]:
    """Yield the project's own text files."""
    for path in sorted(ROOT.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield path
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix not in _BINARY and not _LEFT_OUT & set(path.parts):
                yield path


def python_sources() -> list[Source]:
    """Return all Python files, those without the suffix included."""
    return [Source(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in files() if _is_python(path)]


def _is_python(path: Path) -> bool:
    if path.suffix:
        return path.suffix == ".py"
    return path.read_bytes()[:64].split(b"\n")[0].endswith(b"python3")
