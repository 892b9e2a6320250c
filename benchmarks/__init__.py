"""The engine against the scripts people write by hand, on one constant server: `python -m benchmarks`."""
