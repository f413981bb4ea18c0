"""Datasets: the embedded one, generated, and LVIS."""
