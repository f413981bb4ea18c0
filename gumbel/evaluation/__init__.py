"""Predictions on disk and LVIS AP."""
