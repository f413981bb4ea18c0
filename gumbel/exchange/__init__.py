"""Cells that travel: packed where they were trained, and taken over elsewhere once everything in them was checked."""
