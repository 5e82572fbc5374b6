"""Programs that measure; `make bench` runs them all. Each prints a table."""
