"""The command behind script/model."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.model.explore import Verdict, check
from tests.model.node import Scope
from tests.model.scopes import BUGS, DELETED, FULL, LARGE


def main(arguments: Sequence[str]) -> int:
    """Check what was asked for; return the exit code: 1 if a state is bad, or a deliberate bug was not found."""
    options = _parsed(arguments)
    if options.trace:
        return _traced(options.trace)
    bad = [scope.name for scope in FULL + (LARGE if options.large else ()) if _shown(scope).breach is not None]
    missed = [scope.name for scope in (*BUGS, DELETED) if _shown(scope).breach is None]
    for name in missed:
        sys.stdout.write(f"not found: {name}\n")
    return 1 if bad or missed else 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/model",
        description="Check lease, lock, guard and election in every reachable state of a small model (docs/model/README.md).",
    )
    parser.add_argument("--large", action="store_true", help="the larger scopes, too: an hour or more, some GB of memory")
    parser.add_argument("--trace", metavar="NAME", help="check one scope or deliberate bug, and print the way to its breach")
    return parser.parse_args(arguments)


def _traced(name: str) -> int:
    scopes = {scope.name: scope for scope in (*LARGE, *FULL, *BUGS, DELETED)}
    if name not in scopes:
        sys.stdout.write(f"no scope {name!r}; there are: {', '.join(scopes)}\n")
        return 2
    verdict = _shown(scopes[name])
    for number, line in enumerate(verdict.trace, start=1):
        sys.stdout.write(f"{number:4} {line}\n")
    return 1 if verdict.breach else 0


def _shown(scope: Scope) -> Verdict:
    began_s = time.monotonic()
    verdict = check(scope)
    took_s = time.monotonic() - began_s
    extent = "in all states" if verdict.is_complete else "within the bound"
    found = f"{len(verdict.trace)} steps to: {verdict.breach}" if verdict.breach else f"holds {extent}"
    sys.stdout.write(f"{scope.name:<48} {verdict.states:>9} states {took_s:>6.1f} s  {found}\n")
    sys.stdout.flush()
    return verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
