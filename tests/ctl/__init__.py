"""patronictl."""
