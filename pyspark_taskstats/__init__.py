"""Lets Spark find the format `taskstats` by its name, without registration.

Spark looks for a module of this name when no source is registered.
"""

from taskstats.spark import TaskstatsSource as DefaultSource

__all__ = ["DefaultSource"]
