"""What an agent does for its guard, and nothing else: `python -m tests.fence.stand_in DATA_DIR TTL_S HOLD_S`.

Launches or adopts the guard, arms it, says "armed PID" and renews until it is killed.
"""

from __future__ import annotations

import os
import sys
import threading

from patroni.fence import guard_launch
from patroni.fence.guard_client import GuardFence
from tests.fence.server import now, proof


def main() -> None:
    """See the module."""
    data_dir, ttl_s, hold_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    fence = GuardFence(guard_launch.place(data_dir, frozenset({"postgres"}), os.geteuid()), hold_s)
    pid = fence.launch()
    assert fence.arm(proof(ttl_s))
    sys.stdout.write(f"armed {pid}\n")
    sys.stdout.flush()
    pause = threading.Event()
    while True:
        fence.renew(proof(ttl_s))
        fence.step(now())
        pause.wait(ttl_s / 5)


if __name__ == "__main__":
    main()
