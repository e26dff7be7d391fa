"""Measures what issue 3 promises, on real servers: `script/bench`. No part of the tests: figures depend on the machine."""
