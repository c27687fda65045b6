"""Where a job's data lie under `DATA_DIR`, and when they go.

`slides/<claimer>/<job>/` holds a slide's files while one worker works on them: no two workers ever write to one
folder. `jobs/<job>/` keeps the small things (metadata, thumbnail, result) for `KEEP_DAYS`; so does `outputs/` what
apps have found that others rest on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from pathlib import Path

from slidehook.disk import Room, is_lasting, reason_of, storing
from slidehook.errors import CannotStore
from slidehook.jobs.contract import Liveness
from slidehook.private import drop_asides, private_folder, replace_private
from slidehook.running.dependency_cache import DependencyCache

PROBE_BYTES = 64 * 1024
"""How much is written to find out whether anything can be: more than what a file system keeps beside its names."""


class DataDirUnusable(CannotStore):
    """Nothing can be stored in `DATA_DIR` until somebody changes it, or the setting."""

    retryable = False


class Workspace:
    """One worker's folders. What can't be written raises DiskFull or CannotStore."""

    def __init__(self, data_dir: Path, claimer_id: str, *, min_free_gb: float = 0) -> None:
        self._data = data_dir
        self.room = Room.keeping(min_free_gb)
        self._slides = data_dir / "slides"
        self._jobs = data_dir / "jobs"
        self._mine = self._slides / claimer_id
        self.dependency_cache = DependencyCache(data_dir / "outputs")

    def check(self) -> None:
        """Find out, before any job is claimed, whether data can be stored: raises DataDirUnusable or CannotStore."""
        for folder in (self._data, self._slides, self._jobs):
            probe = folder / f"{self._mine.name}.probe"
            try:
                private_folder(folder)
                with probe.open("wb") as file:
                    file.write(os.urandom(PROBE_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                kind = DataDirUnusable if is_lasting(error) else CannotStore
                raise kind(
                    f"SLIDEHOOK_DATA_DIR: nothing can be stored in {folder} on the host {socket.gethostname()}: "
                    f"{reason_of(error)}"
                ) from error
            finally:
                with contextlib.suppress(OSError):
                    probe.unlink()

    def check_room(self, what: str) -> None:
        """Raise DiskFull when so little of the disk is free that `what` is not fetched."""
        self.room.check(self._data, 0, what)

    def slide_folder(self, job_id: str) -> Path:
        """Make the empty folder that the job's slide is downloaded to."""
        folder = self._mine / job_id
        shutil.rmtree(folder, ignore_errors=True)
        with storing("the slide"):
            private_folder(folder)
        return folder

    def drop_slide(self, job_id: str) -> None:
        """Remove the job's slide."""
        shutil.rmtree(self._mine / job_id, ignore_errors=True)

    def job_folder(self, job_id: str) -> Path:
        """Make the folder that keeps the job's small data."""
        folder = self._jobs / job_id
        with storing("the job's data"):
            private_folder(folder)
        return folder

    def keep(self, job_id: str, name: str, content: bytes) -> Path:
        """Write one of the job's small files: aside, then under its name."""
        path = self.job_folder(job_id) / name
        with storing(name):
            replace_private(path, content)
        return path

    def kept(self, job_id: str, name: str) -> bytes | None:
        """Read one of the job's small files; None when it is not here, as when another host wrote it."""
        try:
            return (self._jobs / job_id / name).read_bytes()
        except OSError:
            return None

    def drop(self, job_id: str, name: str) -> None:
        """Remove one of the job's small files."""
        with contextlib.suppress(OSError):
            (self._jobs / job_id / name).unlink()

    def leave(self) -> None:
        """Remove this worker's slides: it goes."""
        shutil.rmtree(self._mine, ignore_errors=True)

    def drop_dead(self, liveness: Liveness) -> None:
        """Remove the slides of workers that died, and the files that dead processes had half written."""
        others = {path.name for path in _entries(self._slides)} - {self._mine.name}
        for claimer in liveness.dead(others):
            shutil.rmtree(self._slides / claimer, ignore_errors=True)
        for folder in (self._data, *self._data.glob("*/"), *_entries(self._jobs)):
            drop_asides(folder)

    def drop_old(self, keep_days: float) -> None:
        """Remove small data older than `keep_days`."""
        oldest = time.time() - keep_days * 86400
        self.dependency_cache.drop_old(oldest)
        for folder in _entries(self._jobs):
            with contextlib.suppress(OSError):  # another worker may be removing it as well
                if folder.lstat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


def _entries(folder: Path) -> list[Path]:
    """List what lies in a folder; nothing where there is no such folder."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
