"""Benchmarks; `make bench` runs them all. Each prints a table."""
