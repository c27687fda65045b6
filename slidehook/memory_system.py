"""A system in memory, for tests: slides on this machine, and results that a test reads.

```python
system = MemorySystem()
system.add("S-1", Path("slide.svs"))
result = system.run(MyApp(), "S-1")
```
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL.Image import Image
from pydantic import JsonValue

from slidehook.app import App
from slidehook.disk import Room
from slidehook.errors import (
    AccessExpired,
    Gone,
    NotOffered,
    ResultDeleted,
    SlidehookError,
)
from slidehook.folder.destination import LocalWork
from slidehook.folder.origin import FolderOrigin
from slidehook.models import ImageInfo
from slidehook.pixels.source import PixelSource
from slidehook.results.sanitize import sanitize_result
from slidehook.running.overview import keep_overview
from slidehook.running.run_app import certain_mpp, run_app
from slidehook.slide import Slide
from slidehook.systems import Access, Cancelled, Done, Ending, NoSecret, Noted, OriginTicket, Work


@dataclass(frozen=True)
class Progress:
    """A job's progress: `percent` 0…100, and a few words."""

    percent: float
    text: str


Shown = Progress | Ending
"""What a result can show."""


@dataclass
class MemoryResult:
    """One result: its job, and all that it has shown, oldest first."""

    number: int
    job_id: str
    slide_id: str
    app_id: str
    shows: list[Shown] = field(default_factory=list)
    deleted: bool = False
    """Whether the user has deleted it; a test may set this."""

    @property
    def now(self) -> Shown:
        """What the result shows now."""
        return self.shows[-1]


@dataclass(frozen=True)
class _Slide:
    path: Path
    info: ImageInfo | None
    label: bytes | None


@dataclass(frozen=True)
class _Fault:
    error: SlidehookError
    method: str | None
    after: bool


class MemorySystem:
    """Slides by id, results in a list, faults on demand. See `slidehook.systems.System`. Thread-safe.

    `settings` and `pause` are accepted because every system gets them; it needs neither.
    """

    name = "memory"

    def __init__(self, settings: object = None, pause: object = None) -> None:
        del settings, pause
        self.results: list[MemoryResult] = []
        """All results, in the order in which they were created."""
        self.secrets: set[str] | None = None
        """The secrets that give access; None: no secret is needed."""
        self.calls: list[str] = []
        """The names of the methods that were called."""
        self._slides: dict[str, _Slide] = {}
        self._faults: list[_Fault] = []
        self._lock = threading.RLock()

    # --- for a test

    def add(self, slide_id: str, path: Path, *, info: ImageInfo | None = None, label: bytes | None = None) -> None:
        """Add or replace a slide. `info`: its record; None: a record from the file."""
        self._slides[slide_id] = _Slide(path, info, label)

    def remove(self, slide_id: str) -> None:
        """Remove a slide: calls for it raise Gone."""
        del self._slides[slide_id]

    def fail(
        self,
        error: SlidehookError | type[SlidehookError],
        *,
        method: str | None = None,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Let the next calls of `method` raise `error`; None: of any method.

        `after`: the call is carried out first, so only its answer is lost.
        """
        raised = error if isinstance(error, SlidehookError) else error(f"a test asked for {error.__name__}")
        self._faults += [_Fault(raised, method, after)] * times

    def of(self, job_id: str) -> list[MemoryResult]:
        """Return a job's results that were not deleted."""
        return [each for each in self.results if each.job_id == job_id and not each.deleted]

    def run(self, app: App, slide_id: str) -> MemoryResult:
        """Set `app` up, have it analyse a slide in this process, and show its result; returns what is shown.

        Raises what the app raises, Gone for an unknown slide, and AppError when the result can't be shown.
        """
        work = LocalWork(app.id, slide_id, id=f"{app.id} on {slide_id}, {len(self.results) + 1}")
        origin = self.origin(OriginTicket(self.name, "", slide_id, app.id), Access())
        place = self.destination("", work, app, Access())
        place.resume(None, 0.0)
        place.progress(0, "analysis started")
        app.setup()

        def progress(percent: float, text: str = "") -> None:
            place.progress(percent, text)

        with TemporaryDirectory(prefix="slidehook-") as folder, _slide(app, origin, Path(folder)) as slide:
            result = run_app(app, slide, progress)
            place.end(Done(sanitize_result(result), slide.frame, certain_mpp(slide), slide.bounds))
        return self.results[-1]

    # --- the system

    def origin(self, ticket: OriginTicket, access: Access) -> MemoryOrigin:
        """Return a slide."""
        return MemoryOrigin(self, ticket, access)

    def destination(self, address: str, work: Work, app: App, access: Access) -> MemoryDestination:
        """Return a job's destination; the address is ignored."""
        del address, app
        return MemoryDestination(self, work, access)

    def call(self, name: str, access: Access, do: Callable[[], Any]) -> Any:
        """Carry out one call if access and faults allow it."""
        access.check()
        self._check_secret(access)
        with self._lock:
            self.calls.append(name)
            fault = next((each for each in self._faults if each.method in (None, name)), None)
            if fault is None:
                return do()
            self._faults.remove(fault)
            if fault.after:
                do()
            raise fault.error

    def slide(self, slide_id: str) -> _Slide:
        """Return a slide; raises Gone."""
        if slide_id not in self._slides:
            raise Gone(f"there is no slide {slide_id}")
        return self._slides[slide_id]

    def _check_secret(self, access: Access) -> None:
        if self.secrets is None:
            return
        secret: str | None = access.secrets.secret()
        while secret is not None and secret not in self.secrets:
            secret = access.secrets.instead_of(secret)
        if secret is None:
            raise AccessExpired("the system does not accept the secret")


@contextmanager
def _slide(app: App, origin: MemoryOrigin, folder: Path) -> Iterator[Slide]:
    """Open a slide with what `app` needs, as a worker does."""
    info = origin.info()
    files = origin.files(lambda: folder, lambda *_: None, room=Room.keeping(0)) if "files" in app.needs else [None]
    thumbnail = keep_overview(folder / "thumbnail.png", info, None, origin) if "thumbnail" in app.needs else None
    label = origin.label() if "label" in app.needs else None
    if label is not None:
        (folder / "label").write_bytes(label)
    with Slide(
        files[0], info, thumbnail=thumbnail, label=folder / "label" if label is not None else None, origin=origin
    ) as slide:
        yield slide


class MemoryOrigin:
    """One slide. See `slidehook.systems.SlideOrigin`."""

    title = "the test"
    is_at_hand = True

    def __init__(self, system: MemorySystem, ticket: OriginTicket, access: Access) -> None:
        self._system = system
        self._ticket = ticket
        self._access = access

    def info(self) -> ImageInfo:
        """Return the slide's image record, without identifying fields."""
        found: ImageInfo = self._call("info", lambda slide: (slide.info or self._folder(slide).info()).without_phi())
        return found.model_copy(update={"id": self._ticket.slide_id})

    def overview(self, info: ImageInfo) -> Image | None:
        """Make an overview of the slide's file."""
        found: Image | None = self._call("overview", lambda slide: self._folder(slide).overview(info))
        return found

    def label(self) -> bytes | None:
        """Return the label that the test gave the slide."""
        found: bytes | None = self._call("label", lambda slide: slide.label)
        return found

    def files(
        self,
        make_folder: Callable[[], Path],
        received: Callable[[int, int | None], None],
        *,
        room: Room,
        keep_names: bool = True,
    ) -> list[Path]:
        """Return the slide's files in place."""

        def files(slide: _Slide) -> list[Path]:
            return self._folder(slide).files(make_folder, received, room=room, keep_names=keep_names)

        found: list[Path] = self._call("files", files)
        return found

    def no_tiles(self, info: ImageInfo) -> str:
        """Return an empty string: tiles come from the slide's file."""
        del info
        return ""

    def pixels(self, info: ImageInfo) -> PixelSource:
        """Open the slide's file."""
        found: PixelSource = self._call("pixels", lambda slide: self._folder(slide).pixels(info))
        return found

    def case(self) -> list[ImageInfo]:
        """Raise NotOffered: there are no cases."""
        raise NotOffered("there are no cases in memory")

    def for_child(self) -> OriginTicket:
        """Return a ticket for the slide's file: another process has no access to this one's memory."""
        return self._folder(self._system.slide(self._ticket.slide_id)).for_child()

    def secrets_for_child(self) -> NoSecret:
        """Return no secret: the slide's file needs none."""
        return NoSecret()

    def _call(self, name: str, do: Callable[[_Slide], Any]) -> Any:
        return self._system.call(name, self._access, lambda: do(self._system.slide(self._ticket.slide_id)))

    def _folder(self, slide: _Slide) -> FolderOrigin:
        return FolderOrigin(OriginTicket("folder", str(slide.path), self._ticket.slide_id, self._ticket.app_id))


class MemoryDestination:
    """One job's result. See `slidehook.systems.ResultDestination`."""

    def __init__(self, system: MemorySystem, work: Work, access: Access) -> None:
        self._system = system
        self._work = work
        self._access = access
        self._known: int | None = None

    def resume(self, noted: Noted | None, since: float) -> None:
        """Continue with the result of the noted number."""
        del since
        number: JsonValue = (noted or {}).get("number")
        self._known = number if isinstance(number, int) else None

    def continued(self) -> MemoryDestination:
        """Return the same destination for new calls."""
        other = MemoryDestination(self._system, self._work, self._access)
        other._known = self._known
        return other

    def describe(self, info: ImageInfo) -> None:
        """Ignore the record: nothing is drawn."""

    def progress(self, percent: float, text: str) -> Noted | None:
        """Show the job's progress."""
        return self._show("progress", Progress(percent, text))

    def end(self, ending: Ending) -> Noted | None:
        """Show how the job ended; see `ResultDestination.end`."""
        if isinstance(ending, Cancelled):
            self._system.call("end", self._access, self._cancel)
            return None
        if isinstance(ending, Done):
            sanitize_result(ending.result)
        return self._show("end", ending)

    def follow_up(self, done: Done) -> None:
        """Do nothing more."""

    def shown(self) -> str | None:
        """Return the text of the finished result."""
        result = self._system.call("shown", self._access, self._result)
        return result.now.result.text if result is not None and isinstance(result.now, Done) else None

    def _cancel(self) -> None:
        result = self._result()
        if result is not None and isinstance(result.now, Progress):
            result.shows.append(Cancelled())

    def _show(self, name: str, what: Shown) -> Noted | None:
        was_known = self._known is not None

        def show() -> MemoryResult:
            result = self._result()
            if result is None and was_known:
                raise ResultDeleted("the user deleted the result")
            if result is None:
                work = self._work
                result = MemoryResult(len(self._system.results) + 1, work.id, work.slide_id, work.app_id)
                self._system.results.append(result)
            result.shows.append(what)
            return result

        self._known = self._system.call(name, self._access, show).number
        return None if was_known else {"number": self._known}

    def _result(self) -> MemoryResult | None:
        mine = self._system.of(self._work.id)
        return next((each for each in mine if self._known in (None, each.number)), None)
