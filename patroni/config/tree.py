"""Trees of values as YAML and JSON give them: the patch rule and the differences (contract/configuration.md §1.2, §1.9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def patched(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """Return `old` with `new` laid over it: null deletes, mappings merge, lists and scalars replace what differs as text."""
    result = dict(old)
    for name, value in new.items():
        present = result.get(name)
        if value is None:
            result.pop(name, None)
        elif name not in result:
            result[name] = value
        elif isinstance(value, Mapping):
            result[name] = patched(present, value) if isinstance(present, Mapping) else value
        elif str(present) != str(value):
            result[name] = value
    return result


def leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf as (dotted path, text); an empty mapping is a leaf, a list is one."""
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{path}.")
        else:
            yield path, str(value)


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[str, ...]:
    """Return the paths of the leaves that differ as text, in the order of `new`, removed ones last."""
    before, after = dict(leaves(old)), dict(leaves(new))
    changed = [path for path, text in after.items() if before.get(path) != text]
    return (*changed, *(path for path in before if path not in after))
