"""The summary: every figure of an experiment in one table, with intervals."""
