"""Which names of other modules a file uses, whatever it calls them itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.tidy.source import Source


def used(source: Source) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
    """Yield each imported name, and each dotted use of one, by its full name.

    After `import time as t`, `t.sleep` is `time.sleep`.
    """
    meaning: dict[str, str] = {}
    for node, local, name in _imports(source):
        meaning[local] = name
        yield node, name
    for expression in ast.walk(source.tree):
        if isinstance(expression, ast.Attribute):
            full_name = _full_name(expression, meaning)
            if full_name is not None:
                yield expression, full_name


def is_within(name: str, package: str) -> bool:
    """Tell whether a full name is the package or lies in it."""
    return name == package or name.startswith(f"{package}.")


def _imports(source: Source) -> Iterator[tuple[ast.stmt, str, str]]:
    """Yield (statement, name here, full name)."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                yield node, alias.asname or top, alias.name if alias.asname else top
                yield node, alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = _base(source, node)
            for alias in node.names:
                yield node, alias.asname or alias.name, f"{base}.{alias.name}"


def _base(source: Source, node: ast.ImportFrom) -> str:
    """Return the full name of what is imported from; relative ones counted from the file's package."""
    if not node.level:
        return node.module or ""
    package = source.module.split(".")
    is_package = source.path.endswith("__init__.py")
    package = package[: len(package) - node.level + is_package]
    return ".".join([*package, *([node.module] if node.module else [])])


def _full_name(node: ast.expr, meaning: dict[str, str]) -> str | None:
    match node:
        case ast.Name():
            return meaning.get(node.id)
        case ast.Attribute():
            owner = _full_name(node.value, meaning)
            return f"{owner}.{node.attr}" if owner else None
        case _:
            return None
