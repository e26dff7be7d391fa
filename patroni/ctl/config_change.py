"""What `edit-config` makes of a configuration, and how the difference looks; pure (contract/cli.md §4.5)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import yaml

from patroni.config.tree import patched
from patroni.ctl.table import yaml_text

Tree = Mapping[str, object]
_PARAMETERS = ["postgresql", "parameters"]


class Unusable(Exception):
    """What was given cannot be used; the message is one line that names it."""


def assigned(tree: Tree, items: Sequence[str], prefix: str = "") -> Tree:
    """Return the tree with each `KEY=VALUE` set; a null value deletes, and mappings that end up empty vanish."""
    for item in items:
        path, is_given, text = item.partition("=")
        if not is_given:
            raise Unusable(f"{item}: not of the form KEY=VALUE")
        tree = _with(tree, _words(prefix + path.strip()), parsed_yaml(text, item))
    return tree


def _words(path: str) -> list[str]:
    """Split a dotted path; the name of a Postgres parameter may have dots of its own."""
    words = path.split(".")
    return [*_PARAMETERS, ".".join(words[2:])] if words[:2] == _PARAMETERS and len(words) > 2 else words


def _with(tree: Tree, words: Sequence[str], value: object) -> dict[str, object]:
    result, name = dict(tree), words[0]
    if len(words) > 1:
        present = result.get(name)
        value = _with(present if isinstance(present, Mapping) else {}, words[1:], value) or None
    if value is None:
        result.pop(name, None)
    else:
        result[name] = value
    return result


def applied(tree: Tree, text: str, source: str) -> Tree:
    """Return the tree with a YAML text laid over it; null deletes."""
    return patched(tree, parsed_tree(text, source))


def parsed_tree(text: str, source: str) -> Tree:
    """Return a YAML text that is a mapping; raise Unusable for anything else."""
    found = parsed_yaml(text, source)
    if not isinstance(found, dict):
        raise Unusable(f"{source}: the top level is not a mapping of keys")
    return {str(name): value for name, value in found.items()}


def parsed_yaml(text: str, source: str) -> object:
    """Return the value of a YAML text; raise Unusable where it is none."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise Unusable(f"{source}: {' '.join(str(error).split())}") from error


def difference(old: Tree, new: Tree) -> list[str]:
    """Return the lines of the unified diff of both as YAML."""
    before, after = (yaml_text(dict(tree)).splitlines() for tree in (old, new))
    return list(difflib.unified_diff(before, after, lineterm=""))
