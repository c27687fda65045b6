"""Where slides come from and where results go; all that the rest of slidehook asks of DPAT, or of a folder.

A *system* holds slides and shows results. It is found by its name in the entry-point group `slidehook.systems`; the
entry point names a function `(settings, pause) -> System`. A job names its system, an address in it and a secret.

Every call may raise four errors, and a worker decides on these alone:

- `SystemUnavailable`: the job waits, at least `retry_after_s` seconds, and is tried again.
- `AccessExpired`: the job is parked until somebody asks for the same work with a newer secret.
- `Gone`: the slide, or the result, no longer exists. Its subclass `ResultDeleted`: the user deleted the result that
  the job works on, so the job ends, and nothing more is shown.
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
"""What a destination must find again in a later attempt. Only the destination can read it."""


# --- what a system is given


class Work(Protocol):
    """What a system reads of a job; `slidehook.jobs.job.Job` is one."""

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
        """What the system gave to be stored with the result."""

    @property
    def created_at(self) -> float:
        """When the job was put, in seconds since 1970."""

    @property
    def image_info(self) -> ImageInfo | None:
        """The slide's image record, where it came with the request."""


class Secrets(Protocol):
    """The secrets that give access to a system, the newest first. Thread-safe."""

    def secret(self) -> str:
        """Return the secret for the next call; raises AccessExpired when there is none."""

    def instead_of(self, refused: str) -> str | None:
        """Return another secret than one that the system has just refused; None when there is none."""


class OneSecret:
    """A single secret, for which there is no other."""

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

    `check` is called right before each call to the system; what it raises ends the call. A worker proves its claim
    there for a destination.
    """

    secrets: Secrets = field(default_factory=lambda: OneSecret(""), repr=False)
    check: Callable[[], None] = _nothing


# --- where slides come from


@dataclass(frozen=True)
class OriginTicket:
    """Where one slide is: all that another process needs to open its origin. Small, picklable, without a secret."""

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
        """Whether the slide's files lie on this host, so that `pixels` reads those."""

    def info(self) -> ImageInfo:
        """Read the slide's image record; without identifying fields unless the site has set `STORE_PHI`."""

    def overview(self, info: ImageInfo) -> Image | None:
        """Return an overview, RGB at about 64 µm per pixel; None when it must be made from the slide's files.

        It decodes what the system sends, so call it in the process of an app, which may be killed.
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
        """Return the slide's files, complete and in one folder: downloaded, or where they already lie.

        The first is the one that OpenSlide opens; raises SlideUnreadable when it opens none.

        `make_folder` returns a new empty folder for each try; a system whose files are at hand does not call it.
        `received` gets the bytes received so far and in all (None: unknown), and ends the download by raising.
        `room` is the free space to keep; without `keep_names` the files get names that identify nobody. Raises
        DiskFull and CannotStore, too.
        """

    def no_tiles(self, info: ImageInfo) -> str:
        """Return in one sentence why `pixels` can't read this slide; an empty string when it can."""

    def pixels(self, info: ImageInfo) -> PixelSource:
        """Open the slide's pixels without its files, tile by tile; raises SlideUnreadable when that can't be done."""

    def case(self) -> list[ImageInfo]:
        """Read the image records of the slide's case, this one among them; raises NotOffered where there is none."""

    def for_child(self) -> OriginTicket:
        """Return the ticket with which the process of an app opens this origin again."""

    def secrets_for_child(self) -> Secrets:
        """Return the secrets that the process of an app needs besides the ticket."""


# --- where results go


@dataclass(frozen=True)
class Done:
    """What an app found: `result` counts in the level-0 pixels of `frame`.

    `mpp`: µm per such pixel, None when that is not certain. `bounds`: the part that the slide's file states was
    scanned.
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
    """Somebody stopped the job."""


Ending = Done | Failed | Cancelled


class ResultDestination(Protocol):
    """Where one job is shown: one result, created once and then updated in place. One call at a time.

    The caller paces the calls, and proves its claim in `Access.check`. `progress` and `end` return what has to be
    noted for a later attempt, or None when nothing has to be noted beyond what was.
    """

    def resume(self, noted: Noted | None, since: float) -> None:
        """Go on from what was noted last of the job; call it before anything else.

        None: nothing was. Then what an earlier attempt sent at `since` (seconds since 1970) may have been stored, or
        may yet be stored, without an answer.
        """

    def continued(self) -> ResultDestination:
        """Return the same destination for new calls; an abandoned call that ends late changes only the former one."""

    def describe(self, info: ImageInfo) -> None:
        """Take over the slide's image record as soon as it is known; the system is not called."""

    def progress(self, percent: float, text: str) -> Noted | None:
        """Show how far the job is (0…100) in one short try: the next one follows soon."""

    def end(self, ending: Ending) -> Noted | None:
        """Show how the job ended, in place of its progress.

        `Cancelled` leaves a result that has ended as it is, since its user may have seen it: `shown` returns its text
        afterwards. It raises SystemUnavailable, too, while the system may still store what the job has begun to show,
        and does nothing where the slide shows nothing of the job, or the user deleted it.
        `Done` may take seconds for a large result. It raises AppError when the result can't be shown at all.
        """

    def follow_up(self, done: Done) -> None:
        """Do what follows a stored result and may fail, such as setting the slide's quality control.

        What hinders it is logged. Raises only what `Access.check` raises.
        """

    def shown(self) -> str | None:
        """Return the text of the job's finished result; None for progress, failure, cancellation, or nothing."""


def show_cancelled(destination: ResultDestination) -> str | None:
    """Show that somebody stopped the job; returns the text of a finished result that stands instead.

    Raises as `ResultDestination.end` does.
    """
    destination.end(Cancelled())
    return destination.shown()


# --- systems


class System(Protocol):
    """One kind of place for slides and results. One for each process; thread-safe."""

    @property
    def name(self) -> str:
        """The name in jobs, which is that of the entry point."""

    def origin(self, ticket: OriginTicket, access: Access) -> SlideOrigin:
        """Return where a slide comes from; the system is not called yet."""

    def destination(self, address: str, work: Work, app: App, access: Access) -> ResultDestination:
        """Return where a job is shown: at its own address, or a further one. The system is not called yet."""


Pause = Callable[[float], None]
"""Waits for so many seconds between two tries; what it raises ends the call."""


class SystemUnknown(Refused):
    """No installed system has this name."""


class Systems:
    """The systems by name, each opened when it is first asked for."""

    def __init__(
        self, settings: Settings, *, pause: Pause = time.sleep, opened: Mapping[str, System] | None = None
    ) -> None:
        """Find systems by their entry points. `opened` are used in their place, as in a test."""
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
