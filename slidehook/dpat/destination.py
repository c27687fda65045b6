"""The one result that a job has at DPAT, from its first progress to its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from slidehook.app import App
from slidehook.dpat.errors import NotFound
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.models import Stored
from slidehook.dpat.noted_result import NotedResult
from slidehook.dpat.quality import set_quality
from slidehook.dpat.stored_result import RecordMaker, ResultOnSlide, frame_of, says_result
from slidehook.errors import ResultDeleted
from slidehook.models import ImageInfo
from slidehook.results.budget import within_limits
from slidehook.systems import Cancelled, Done, Ending, Failed, Noted, Work

QUALITY_S = 30.0
"""How long setting the slide's quality control may take, in seconds: the result is stored already."""


class DpatDestination:
    """One job's result at DPAT. See `slidehook.systems.ResultDestination`; the errors are `slidehook.dpat.errors`.

    `client` is used for the result. `quality_client` is called once for the slide's quality control: the time of its
    client, in seconds, begins with that call.
    """

    def __init__(
        self, work: Work, app: App, client: DpatClient, quality_client: Callable[[float], DpatClient]
    ) -> None:
        self._work = work
        self._app = app
        self._client = client
        self._quality_client = quality_client
        self._info = work.image_info
        self._maker = RecordMaker(app, work, frame_of(work.image_info))
        self._result = ResultOnSlide(client, app, work)
        self._is_noted = False
        self._has_ended = False
        self._last: Stored | None = None
        """What `end` stored, or found when it changed nothing; None where the slide shows nothing of the job."""

    def resume(self, noted: Noted | None, since: float) -> None:
        """Go on from what was noted of the stored result; see `ResultDestination.resume`."""
        known = NotedResult.read(noted)
        self._result.resume(known, since)
        self._is_noted = known is not None

    def continued(self) -> DpatDestination:
        """Return the same destination for new calls."""
        other = DpatDestination(self._work, self._app, self._client, self._quality_client)
        other._info, other._maker, other._is_noted = self._info, self._maker, self._is_noted
        other._result = self._result.continued(self._client)
        return other

    def describe(self, info: ImageInfo) -> None:
        """Draw frames of the slide's extent from now on, where the job's own record lacks it."""
        self._info = info
        self._maker.frame = self._maker.frame or frame_of(info)

    def progress(self, percent: float, text: str) -> Noted | None:
        """Show progress in one short try; a new result gets the time that it needs."""
        record = self._maker.in_progress(percent, text)
        return self._sent(lambda: self._result.show(record, once=True))

    def end(self, ending: Ending) -> Noted | None:
        """Show how the job ended; see `ResultDestination.end`."""
        self._has_ended, self._last = False, None
        match ending:
            case Done(result, frame, mpp):
                record = self._maker.done(within_limits(self._app, result, mpp=mpp), frame)
            case Failed(reason):
                record = self._maker.failed(reason)
            case Cancelled():
                with suppress(NotFound):  # the user has deleted it
                    self._last = self._result.cancel(self._maker.cancelled())
                self._has_ended = True
                return None
        noted = self._sent(lambda: self._result.end(record))
        self._has_ended = True
        return noted

    def follow_up(self, done: Done) -> None:
        """Set the slide's quality control, if the app states a quality."""
        if done.result.quality is not None and self._info is not None:
            set_quality(self._quality_client(QUALITY_S), self._app, self._info, done.result.quality)

    def shown(self) -> str | None:
        """Return the text of the job's finished result: as of `end`, or as DPAT has it now if that was not called."""
        stored = self._last if self._has_ended else self._result.current()
        return None if stored is None else says_result(stored)

    def _sent(self, send: Callable[[], Stored]) -> Noted | None:
        was_noted = self._is_noted
        try:
            self._last = stored = send()
        except NotFound as error:
            if was_noted:
                raise ResultDeleted("the user deleted the result on the slide") from error
            raise
        if was_noted:
            return None
        # A later attempt then updates the result without a search.
        self._is_noted = True
        return NotedResult(id=stored.id, version_id=stored.version_id, in_doubt=self._result.in_doubt).to_json()
