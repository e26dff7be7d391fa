"""Tests of what the suites with real servers share."""
