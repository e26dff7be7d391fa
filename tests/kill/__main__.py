"""Kill at random: ends with status 0 and a healthy cluster, or says why not."""

from __future__ import annotations

import argparse
import random
import sys

from tests.kill.run import SHORT, USUAL, Run
from tests.support.cluster import StoreKind


def main() -> int:
    """Run and return the exit status."""
    parser = argparse.ArgumentParser(prog="script/kill", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long components are killed (default 5)")
    parser.add_argument("--seed", type=int, default=None, help="of the choices; printed, so that a run can be repeated")
    parser.add_argument("--store", type=StoreKind, choices=list(StoreKind), default=StoreKind.ETCD3, help="default etcd3")
    parser.add_argument("--fast", action="store_true", help="short pauses between kills, as in the tests")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    pace = SHORT if options.fast else USUAL
    fast = " --fast" if options.fast else ""
    sys.stdout.write(f"kill: --minutes {options.minutes:g} --seed {seed} --store {options.store}{fast}\n")
    return Run(options.store, random.Random(seed), pace).carry_out(60.0 * options.minutes)


if __name__ == "__main__":
    sys.exit(main())
