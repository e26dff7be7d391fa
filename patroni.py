#!/usr/bin/env python3
"""The agent, run from the checkout: `./patroni.py postgres0.yml`."""

from __future__ import annotations

import sys

from patroni.checkout import enter_environment

if __name__ == "__main__":
    enter_environment(__file__)

    from patroni.agent.entry import main

    sys.exit(main())
