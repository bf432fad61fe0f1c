"""A folder to make a model in, which the next import removes if this one is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".importing-"


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """A new folder in `root`, gone afterwards; removes those that killed processes have left there.

    Whoever uses such a folder holds a lock on it, which the system drops when the process ends, however
    it ends, also in a container where every process has the same id.

    Args:
        root: An existing folder that can be written.

    Raises:
        OSError: It cannot be written.
    """
    remove_leftovers(root)
    folder, lock = _locked(root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_leftovers(root: Path) -> None:
    """Removes scratch folders in `root` that nobody holds; passes over what it must not remove."""
    for folder in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _locked(root: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another import may have taken it for a leftover before the lock was ours.
        if folder.is_dir():
            return folder, lock
        os.close(lock)
