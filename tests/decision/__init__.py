"""Tables for the decisions."""
