"""Where a job's data lie under `DATA_DIR`, and when they are removed.

`slides/<claimer>/<job>/` holds a slide's files while one worker works on them: no two workers ever write to one
folder. `jobs/<job>/` keeps small files (metadata, thumbnail, result) for `KEEP_DAYS`, and `outputs/` the results that
other apps rest on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from slidehook.app import App
from slidehook.disk import Room, is_lasting, reason_of, storing
from slidehook.errors import CannotStore
from slidehook.jobs.contract import Liveness
from slidehook.private import drop_asides, private_folder, replace_private
from slidehook.running.dependency_cache import DependencyCache
from slidehook.systems import Done

PROBE_BYTES = 64 * 1024
"""The size of a test file, in bytes: more than a file system stores beside a name."""
RESULT = "result.json"

log = structlog.get_logger()


@dataclass(frozen=True)
class CachedResult:
    """A result that is to be published, and the version and fingerprint of the app that it was found with."""

    done: Done
    app_version: str
    rests_on: str


_CACHED = TypeAdapter(CachedResult)


class DataDirUnusable(CannotStore):
    """Nothing can be stored in `DATA_DIR` until somebody changes it, or the setting."""

    retryable = False


class Workspace:
    """One worker's folders. Its methods raise DiskFull or CannotStore when a file can't be written."""

    def __init__(self, data_dir: Path, claimer_id: str, *, min_free_gb: float = 0) -> None:
        self._data = data_dir
        self.room = Room.keeping(min_free_gb)
        self._slides = data_dir / "slides"
        self._jobs = data_dir / "jobs"
        self._mine = self._slides / claimer_id
        self.dependency_cache = DependencyCache(data_dir / "outputs")

    def check(self) -> None:
        """Check, before any job is claimed, that data can be stored; raises DataDirUnusable or CannotStore."""
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
        """Raise DiskFull when too little of the disk is free to fetch `what`."""
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

    def keep_result(self, job_id: str, cached: CachedResult) -> None:
        """Keep a result until it is published; a full disk is only logged, because that can be done all the same."""
        try:
            self.keep(job_id, RESULT, _CACHED.dump_json(cached, warnings=False))
        except CannotStore as error:
            log.warning("the result is not kept here", reason=str(error))

    def kept_result(self, job_id: str, app: App, rests_on: str) -> Done | None:
        """Return the result of an earlier attempt on this host; None when there is none, or the app has changed.

        `rests_on`: the fingerprint of the app as it is now.
        """
        with contextlib.suppress(OSError, ValidationError):
            cached = _CACHED.validate_json((self._jobs / job_id / RESULT).read_bytes())
            if (cached.app_version, cached.rests_on) == (app.version, rests_on):
                return cached.done
        return None

    def drop_result(self, job_id: str) -> None:
        """Remove a job's result: it is published, or the job is to be analysed anew."""
        with contextlib.suppress(OSError):
            (self._jobs / job_id / RESULT).unlink()

    def leave(self) -> None:
        """Remove this worker's slides, because it ends."""
        shutil.rmtree(self._mine, ignore_errors=True)

    def drop_dead(self, liveness: Liveness) -> None:
        """Remove the slides of dead workers, and the half-written files of dead processes."""
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
    """List a folder; an empty list if there is no such folder."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
