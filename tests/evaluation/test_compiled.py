"""Compiled code without a cache, or with one that is of no use."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching

CODE = "from gumbel.evaluation.compiled import compiled\n\n@compiled\ndef add(x, y):\n    return x + y\n"


def fresh(folder: Path) -> Callable:
    """The function of a module that was not imported before; its code is cached in ``folder``."""
    path = folder / "module.py"
    if not path.exists():
        path.write_text(CODE)
    specification = importlib.util.spec_from_file_location("module", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.add


def cached(folder: Path) -> list[Path]:
    return [*folder.rglob("*.nbi"), *folder.rglob("*.nbc")]


def replace_by_folders(paths: list[Path]) -> None:
    """What cannot be opened, read or replaced, not by the superuser either."""
    for path in paths:
        path.unlink()
        (path / "inside").mkdir(parents=True)


def damage(paths: list[Path]) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes()[:7])


def empty(paths: list[Path]) -> None:
    for path in paths:
        path.write_bytes(b"")


def test_code_is_cached_and_taken_from_the_cache(tmp_path):
    assert fresh(tmp_path)(1, 2) == 3
    assert len(cached(tmp_path)) == 2
    add = fresh(tmp_path)
    assert add(1, 2) == 3
    assert sum(add.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("spoil", [replace_by_folders, damage, empty])
def test_a_cache_that_cannot_be_used_changes_no_result(tmp_path, spoil):
    fresh(tmp_path)(1, 2)
    spoil(cached(tmp_path))
    assert fresh(tmp_path)(1, 2) == 3
    assert np.array_equal(fresh(tmp_path)(np.ones(3), 2.0), np.full(3, 3.0))


def test_a_full_disk_changes_no_result(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", fail)
    assert fresh(tmp_path)(1, 2) == 3
    monkeypatch.undo()
    monkeypatch.setattr(caching.IndexDataCacheFile, "save", fail)
    assert fresh(tmp_path)(1, 2) == 3
    assert cached(tmp_path) == []
