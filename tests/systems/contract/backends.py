"""The systems that the contract is tried on. A new system is added here and nowhere else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from slidehook import App, Progress, Result, Slide
from slidehook.dpat.iaapi.models import Registration
from slidehook.dpat.system import DpatSystem
from slidehook.errors import AccessExpired, Gone, Refused, SlidehookError, SystemUnavailable
from slidehook.folder.destination import FolderDestination
from slidehook.folder.system import FolderSystem
from slidehook.memory_system import MemorySystem
from slidehook.memory_system import Progress as ShownProgress
from slidehook.models import ImageInfo
from slidehook.settings import Settings
from slidehook.simulator.apps import RegisteredApp
from slidehook.simulator.server import Simulator
from slidehook.systems import (
    Access,
    Cancelled,
    Done,
    Failed,
    OneSecret,
    OriginTicket,
    ResultDestination,
    SlideOrigin,
    System,
    Work,
)

SLIDE = "immuno"


class Finds(App):
    """The app whose results are shown."""

    id = "finds"
    name = "Finds"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        raise NotImplementedError


APP = Finds()


@dataclass(frozen=True)
class AJob:
    """What a system reads of a job."""

    id: str = "0000000000000001-00000001"
    app_id: str = APP.id
    slide_id: str = SLIDE
    context: dict[str, Any] | None = None
    created_at: float = 0.0
    image_info: ImageInfo | None = None


class Backend(Protocol):
    """One system with one slide, `SLIDE`, and a folder or server of its own."""

    @property
    def system(self) -> System:
        """The system."""

    def ticket(self, slide_id: str = SLIDE) -> OriginTicket:
        """Where a slide is."""

    def secret(self) -> str:
        """A secret that gives access."""

    def destination(self, work: Work, access: Access) -> ResultDestination:
        """The destination of a job, as its system makes it."""

    def now(self, work: Work) -> list[str]:
        """What the results of a job show: "50 %", "failed: why", "cancelled", or a finished result's text."""

    def delete(self, work: Work) -> None:
        """Delete a job's results, as its user does."""

    def fail(self, kind: type[SlidehookError], *, after: bool = False) -> None:
        """Have the next call fail; `after`: it is carried out, and only its answer is lost."""

    def calls(self) -> int:
        """How many calls have reached the system."""


REGISTRATION = {
    "applicationId": APP.id,
    "displayName": APP.name,
    "manufacturer": "us",
    "url": "http://127.0.0.1:9/finds",
    "inputTemplate": {"type": "wholeSlide"},
}
ACCESS_FAULTS: dict[type[SlidehookError], int] = {SystemUnavailable: 503, AccessExpired: 401, Gone: 404, Refused: 400}


class DpatBackend:
    """The simulator, called over HTTP."""

    def __init__(self, sim: Simulator, tmp_path: Path) -> None:
        self._sim = sim
        self.system = DpatSystem(Settings(_env_file=None, data_dir=tmp_path / "data"), lambda _: None)
        record = Registration.model_validate(REGISTRATION)
        sim.app_list.add(RegisteredApp(record, None, record.url, enabled=True))

    def ticket(self, slide_id: str = SLIDE) -> OriginTicket:
        return OriginTicket("dpat", self._sim.callback_url, slide_id, APP.id)

    def secret(self) -> str:
        return self._sim.token()

    def destination(self, work: Work, access: Access) -> ResultDestination:
        return self.system.destination(self._sim.callback_url, work, APP, access)

    def now(self, work: Work) -> list[str]:
        return [
            f"{rows['Progress (%)']} %" if (rows := each["displayProperties"]).get("Progress (%)") is not None
            else str(each["displayResult"])
            for each in self._sim.results()
        ]  # fmt: skip

    def delete(self, work: Work) -> None:
        for each in self._sim.results():
            self._sim.result_store.delete(each["id"])

    def fail(self, kind: type[SlidehookError], *, after: bool = False) -> None:
        if after:
            self._sim.add_fault(".", "cut", method="POST", after_bytes=1)
        else:
            self._sim.add_fault(".", "status", status=ACCESS_FAULTS[kind], count=20)

    def calls(self) -> int:
        return len(self._sim.calls())


class FolderBackend:
    """A folder with the slide's file, and another for results."""

    def __init__(self, slides: Path, tmp_path: Path) -> None:
        self.system = FolderSystem()
        self._slides = tmp_path / "slides"
        self._slides.mkdir()
        shutil.copy(slides / f"{SLIDE}.tiff", self._slides)
        self._out = tmp_path / "out"
        self._said: list[str] = []

    def ticket(self, slide_id: str = SLIDE) -> OriginTicket:
        return OriginTicket("folder", str(self._slides / f"{slide_id}.tiff"), slide_id, APP.id)

    def secret(self) -> str:
        return ""

    def destination(self, work: Work, access: Access) -> ResultDestination:
        def report(percent: float, text: str) -> None:
            self._said[:] = [f"{percent:g} %" if percent < 100 else text]

        made = self.system.destination(str(self._out / work.id), work, APP, access)
        return FolderDestination(made.folder, work, APP, access, report=report)

    def now(self, work: Work) -> list[str]:
        text = FolderDestination(self._out / work.id, work, APP).shown()
        return [text] if text is not None else self._said

    def delete(self, work: Work) -> None:
        raise NotImplementedError

    def fail(self, kind: type[SlidehookError], *, after: bool = False) -> None:
        raise NotImplementedError

    def calls(self) -> int:
        return len(list(self._out.rglob("*")))


class MemoryBackend:
    """The system in memory."""

    def __init__(self, slides: Path) -> None:
        self.system = self._memory = MemorySystem()
        self._memory.add(SLIDE, slides / f"{SLIDE}.tiff")
        self._memory.secrets = set()

    def ticket(self, slide_id: str = SLIDE) -> OriginTicket:
        return OriginTicket("memory", "", slide_id, APP.id)

    def secret(self) -> str:
        assert self._memory.secrets is not None
        secret = f"secret-{len(self._memory.secrets)}"
        self._memory.secrets.add(secret)
        return secret

    def destination(self, work: Work, access: Access) -> ResultDestination:
        return self._memory.destination("", work, APP, access)

    def now(self, work: Work) -> list[str]:
        found = []
        for each in self._memory.of(work.id):
            match each.now:
                case ShownProgress(percent):
                    found.append(f"{percent:g} %")
                case Done(result):
                    found.append(result.text)
                case Failed(reason):
                    found.append(f"failed: {reason}")
                case Cancelled():
                    found.append("cancelled")
        return found

    def delete(self, work: Work) -> None:
        for each in self._memory.of(work.id):
            each.deleted = True

    def fail(self, kind: type[SlidehookError], *, after: bool = False) -> None:
        self._memory.fail(kind, after=after)

    def calls(self) -> int:
        return len(self._memory.calls)


def origin(backend: Backend, slide_id: str = SLIDE, check: Callable[[], None] = lambda: None) -> SlideOrigin:
    """The origin of a slide, with a secret that gives access."""
    return backend.system.origin(backend.ticket(slide_id), Access(OneSecret(backend.secret()), check))


def destination(backend: Backend, work: Work, check: Callable[[], None] = lambda: None) -> ResultDestination:
    """The destination of a job of which nothing was shown before."""
    made = backend.destination(work, Access(OneSecret(backend.secret()), check))
    made.resume(None, 0.0)
    return made
