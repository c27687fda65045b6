"""Where slides come from and where results go: the interface to DPAT, a folder, or any other system.

A *system* has slides and shows results. It is found by its name in the entry-point group `slidehook.systems`; the
entry point refers to a function `(settings, pause) -> System`. A job contains its system, an address in it and a
secret.

Every call may raise four errors, and a worker decides by these alone:

- `SystemUnavailable`: the job waits, at least `retry_after_s` seconds, and is tried again.
- `AccessExpired`: the job is parked until the same work is requested with a newer secret.
- `Gone`: the slide, or the result, no longer exists. Its subclass `ResultDeleted`: the user deleted the job's result,
  so the job ends and nothing more is shown.
- `Refused`: trying again will not help; the job fails.

Calls block. A worker makes each in a thread that it can abandon; `Access.check` then raises before the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL.Image import Image
from pydantic import JsonValue

from slidehook.disk import Room
from slidehook.errors import AccessExpired, Refused
from slidehook.geometry import Frame
from slidehook.models import ImageInfo
from slidehook.pixels.bounds import Bounds
from slidehook.pixels.source import PixelSource
from slidehook.result import Result
from slidehook.settings import Settings

if TYPE_CHECKING:
    from slidehook.app import App

GROUP = "slidehook.systems"
"""The entry-point group of the systems."""

Noted = dict[str, JsonValue]
"""What a destination needs again in a later attempt. Only the destination can interpret it."""


# --- what a system receives


class Work(Protocol):
    """The part of a job that a system reads; `slidehook.jobs.job.Job` has it."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def app_id(self) -> str:
        """The id of the app that analyses the slide."""

    @property
    def slide_id(self) -> str:
        """The slide's id in its system."""

    @property
    def context(self) -> dict[str, Any] | None:
        """Data from the system to be stored with the result."""

    @property
    def created_at(self) -> float:
        """When the job was put, in seconds since 1970."""

    @property
    def image_info(self) -> ImageInfo | None:
        """The slide's image record, if the request contained it."""


class Secrets(Protocol):
    """The secrets that give access to a system, the newest first. Thread-safe."""

    def secret(self) -> str:
        """Return the secret for the next call; raises AccessExpired if there is none."""

    def instead_of(self, refused: str) -> str | None:
        """Return a secret other than `refused`, which the system has just refused; None if there is none."""


class OneSecret:
    """A single secret without an alternative."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def secret(self) -> str:
        """Return the secret; raises AccessExpired when it is empty."""
        if not self._secret:
            raise AccessExpired("there is no access to the slide's system")
        return self._secret

    def instead_of(self, refused: str) -> None:
        """Return None: there is no other secret."""
        del refused


class NoSecret:
    """The secrets for a system that needs none. See `Secrets`."""

    def secret(self) -> str:
        """Return an empty secret."""
        return ""

    def instead_of(self, refused: str) -> None:
        """Return None: there is no other secret."""
        del refused


def _nothing() -> None:
    """Check nothing."""


@dataclass(frozen=True)
class Access:
    """How a system may be reached for one job.

    `check` is called right before each call to the system; an exception from it ends the call. For a destination, a
    worker proves its claim there.
    """

    secrets: Secrets = field(default_factory=lambda: OneSecret(""), repr=False)
    check: Callable[[], None] = _nothing


# --- where slides come from


@dataclass(frozen=True)
class OriginTicket:
    """Where one slide is: what another process needs to open its origin. Small, picklable, without a secret."""

    system: str
    address: str
    """Where in the system the slide is, such as a callback URL or a folder."""
    slide_id: str
    app_id: str


class SlideOrigin(Protocol):
    """Where one slide comes from. Thread-safe. Every method raises the four errors of this module."""

    @property
    def title(self) -> str:
        """The system's name in a sentence for a user, such as DPAT."""

    @property
    def is_at_hand(self) -> bool:
        """Whether the slide's files are on this host, so that `pixels` reads them."""

    def info(self) -> ImageInfo:
        """Read the slide's image record; without identifying fields unless the site has set `STORE_PHI`."""

    def overview(self, info: ImageInfo) -> Image | None:
        """Return an overview, RGB at about 64 µm per pixel; None when it must be made from the slide's files.

        It decodes data from the system, so call it in an app's process, which may be killed.
        """

    def label(self) -> bytes | None:
        """Return the label's JPEG or PNG, which shows identifying data; None when there is no readable one."""

    def files(
        self,
        make_folder: Callable[[], Path],
        received: Callable[[int, int | None], None],
        *,
        room: Room,
        keep_names: bool = True,
    ) -> list[Path]:
        """Return the slide's files, complete and in one folder: downloaded, or where they already are.

        The first is the one that OpenSlide opens; raises SlideUnreadable if it opens none.

        `make_folder` returns a new empty folder for each try; a system with local files does not call it.
        `received` is called with the bytes received so far and in total (None: unknown), and ends the download by
        raising. `room` is the free space to keep; without `keep_names` the files get neutral names. Also raises
        DiskFull and CannotStore.
        """

    def no_tiles(self, info: ImageInfo) -> str:
        """Return in one sentence why `pixels` can't read this slide; an empty string if it can."""

    def pixels(self, info: ImageInfo) -> PixelSource:
        """Open the slide's pixels without its files, tile by tile; raises SlideUnreadable when that can't be done."""

    def case(self) -> list[ImageInfo]:
        """Read the image records of the slide's case, including this one; raises NotOffered if there is no case."""

    def for_child(self) -> OriginTicket:
        """Return the ticket with which an app's process opens this origin again."""

    def secrets_for_child(self) -> Secrets:
        """Return the secrets that an app's process needs besides the ticket."""


# --- where results go


@dataclass(frozen=True)
class Done:
    """The app's `result`, in the level-0 pixels of `frame`.

    `mpp`: µm per such pixel, None if uncertain. `bounds`: the scanned part according to the slide's file.
    """

    result: Result
    frame: Frame
    mpp: float | None = None
    bounds: Bounds | None = None


@dataclass(frozen=True)
class Failed:
    """The job failed; `reason` is one sentence for the user."""

    reason: str


@dataclass(frozen=True)
class Cancelled:
    """The job was cancelled."""


Ending = Done | Failed | Cancelled


class ResultDestination(Protocol):
    """Where one job is shown: one result, created once and then updated in place. One call at a time.

    The caller decides when to call, and proves its claim in `Access.check`. `progress` and `end` return a note for a
    later attempt, or None if the last note is still valid.
    """

    def resume(self, noted: Noted | None, since: float) -> None:
        """Continue from the job's last note; call it before any other method.

        None: there is no note. A result that an earlier attempt sent at `since` (seconds since 1970) may then have
        been stored, or may still be stored, without an answer.
        """

    def continued(self) -> ResultDestination:
        """Return the same destination for new calls; an abandoned call that ends late changes only the old one."""

    def describe(self, info: ImageInfo) -> None:
        """Set the slide's image record as soon as it is known; the system is not called."""

    def progress(self, percent: float, text: str) -> Noted | None:
        """Show how far the job is (0…100) in one short try: the next one follows soon."""

    def end(self, ending: Ending) -> Noted | None:
        """Show how the job ended, in place of its progress.

        `Cancelled` does not change a finished result, because the user may have seen it: `shown` then returns its
        text. It also raises SystemUnavailable while the system may still store a result that the job has sent, and
        does nothing if the slide shows no result of the job, or the user deleted it.
        `Done` may take seconds for a large result. It raises AppError if the result can't be shown at all.
        """

    def follow_up(self, done: Done) -> None:
        """Do what follows a stored result and may fail, such as setting the slide's quality.

        Failures are logged. Raises only what `Access.check` raises.
        """

    def shown(self) -> str | None:
        """Return the text of the job's finished result; None for progress, failure, cancellation, or nothing."""


def show_cancelled(destination: ResultDestination) -> str | None:
    """Show that the job was cancelled; returns the text of a finished result that is shown instead.

    Raises as `ResultDestination.end` does.
    """
    destination.end(Cancelled())
    return destination.shown()


# --- systems


class System(Protocol):
    """One kind of place for slides and results. One for each process; thread-safe."""

    @property
    def name(self) -> str:
        """The system's name in jobs: the name of the entry point."""

    def origin(self, ticket: OriginTicket, access: Access) -> SlideOrigin:
        """Return a slide's origin; the system is not called yet."""

    def destination(self, address: str, work: Work, app: App, access: Access) -> ResultDestination:
        """Return a job's destination, at its own address or a further one; the system is not called yet."""


Pause = Callable[[float], None]
"""Waits for this many seconds between two tries; an exception from it ends the call."""


class SystemUnknown(Refused):
    """No installed system has this name."""


class Systems:
    """The systems by name, each opened on first use."""

    def __init__(
        self, settings: Settings, *, pause: Pause = time.sleep, opened: Mapping[str, System] | None = None
    ) -> None:
        """Find systems by their entry points. `opened`: systems to use instead, for example in a test."""
        self._settings = settings
        self._pause = pause
        self._opened = dict(opened or {})

    def __getitem__(self, name: str) -> System:
        """Return a system; raises SystemUnknown."""
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def _open(self, name: str) -> System:
        for point in entry_points(group=GROUP, name=name):
            system: System = point.load()(self._settings, self._pause)
            return system
        raise SystemUnknown(f"there is no system {name!r} on this host")
