"""How large things may get (style.md §6)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.tidy.source import Source

FUNCTION_LINES = 50  # from `def` to its last line, docstring included, decorators not
FILE_LINES = 500
PARAMETERS = 5  # without self and cls
NESTING = 3  # blocks within blocks of one function

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def too_large(source: Source) -> Iterator[str]:
    """Yield what is longer, wider or deeper than the limits."""
    lines = len(source.text.splitlines())
    if lines > FILE_LINES:
        yield f"{source.path}: {lines} lines, more than {FILE_LINES}"
    for node in ast.walk(source.tree):
        if isinstance(node, _Function):
            yield from _of_function(source, node)


def _of_function(source: Source, node: _Function) -> Iterator[str]:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES:
        yield source.at(node, f"{node.name}: {lines} lines, more than {FUNCTION_LINES}")
    parameters = _parameters(node)
    if parameters > PARAMETERS:
        yield source.at(node, f"{node.name}: {parameters} parameters, more than {PARAMETERS}")
    depth = max((_depth(child) for child in node.body), default=0)
    if depth > NESTING:
        yield source.at(node, f"{node.name}: {depth} blocks within each other, more than {NESTING}")


def _parameters(node: _Function) -> int:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args]
    if named and named[0].arg in {"self", "cls"}:
        named = named[1:]
    rest = [arguments.vararg, arguments.kwarg]
    return len(named) + len(arguments.kwonlyargs) + sum(argument is not None for argument in rest)


def _depth(node: ast.AST) -> int:
    """Return how many blocks lie within each other; `elif` is as deep as its `if`, an inner function counts for itself."""
    if isinstance(node, _SCOPES):
        return 0
    own = 1 if isinstance(node, _BLOCKS) else 0
    deepest = 0
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        deepest = max(deepest, _depth(child) - is_elif)
    return own + deepest
