"""LVIS v1: found, downloaded, verified."""
