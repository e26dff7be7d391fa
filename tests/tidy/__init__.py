"""What tests/test_tidy.py enforces, one rule a function: source in, faults out."""
