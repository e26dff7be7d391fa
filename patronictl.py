#!/usr/bin/env python3
"""patronictl, run from the checkout: `./patronictl.py -c postgres0.yml list`."""

from __future__ import annotations

import sys

from patroni.checkout import enter_environment

if __name__ == "__main__":
    enter_environment(__file__)

    from patroni.ctl.main import main

    sys.exit(main())
