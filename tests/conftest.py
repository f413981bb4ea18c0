"""How the tests share the machine: one thread a process, and long files first."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

#: Files of a minute or more, longest first, so that no process is left alone with one at the end.
LONG = [
    "test_end_to_end.py",
    "test_interruption.py",
    "test_train.py",
    "test_summary.py",
    "test_compose.py",
    "test_cells.py",
    "test_processes.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
