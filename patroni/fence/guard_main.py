"""The guard's entry point, run by its path: `PYTHON -I -S -E guard_main.py ...`; the words are those of runner.py."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from patroni.fence.runner import main

    sys.exit(main(sys.argv[1:]))
