"""python -m tests.demo; script/demo calls it. Exit status: 0 all well, 1 what went wrong is printed, 130 ended by Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from tests.demo.check import CheckFailed, check
from tests.demo.screen import say
from tests.demo.site import STORES, running_site
from tests.demo.watch import watch
from tests.support.ports import NoPortLeft
from tests.support.program import MissingProgram
from tests.support.waiting import NotInTime

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> int:
    """Run the demo; return the exit status."""
    options = _options()
    for number in _SIGNALS:
        signal.signal(number, _end)
    try:
        with running_site(options.store) as site:
            if options.check:
                check(site)
            else:
                watch(site)
    except Ended as ended:
        say("everything that was started is ended and removed")
        # Ctrl-C is how a person ends the demo; it succeeded.
        return 0 if ended.number == signal.SIGINT and not options.check else 128 + ended.number
    except (CheckFailed, NotInTime, MissingProgram, NoPortLeft, AssertionError) as error:
        say(f"FAILED: {error}")
        return 1
    say("everything that was started is ended and removed; all is well")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/demo", description="Three agents with real Postgres servers behind HAProxy, on this machine, for a trial."
    )
    parser.add_argument("--check", action="store_true", help="kill and switch over without a person, and tell how it went")
    parser.add_argument("--store", choices=STORES, default="local", help="embedded store (default), or a real etcd 3")
    return parser.parse_args()


def _end(number: int, _frame: FrameType | None) -> None:
    """End once; what follows is the cleaning, which a second Ctrl-C must not cut short."""
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Ended(number)


if __name__ == "__main__":
    sys.exit(main())
