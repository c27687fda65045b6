"""Turns DPAT's requests into jobs, and shows "analysis queued" on the slide before DPAT is answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial, singledispatchmethod
from typing import Any, Literal, TypeVar

import structlog
from pydantic import JsonValue
from pydantic_core import to_json

from slidehook.app import App, TaggedPolygon
from slidehook.callback_urls import check_callback
from slidehook.dpat.deleted_result import DeletedResult
from slidehook.dpat.destination import DpatDestination
from slidehook.dpat.errors import Conflict, DpatError, DpatTimeout, DpatUnavailable, Malformed
from slidehook.dpat.iaapi.client import DpatClient, DpatServers
from slidehook.dpat.iaapi.models import (
    Cancel,
    Create,
    Delete,
    ImageInfo,
    Input,
    Modify,
    Notification,
    Stored,
    WholeSlideInput,
)
from slidehook.dpat.noted_result import NotedResult
from slidehook.dpat.stored_result import QUEUED, RecordMaker, ResultOnSlide, frame_of, shown_by
from slidehook.errors import BadRequest, TooLarge
from slidehook.jobs.contract import Hold, JobSink
from slidehook.jobs.job import FIRST_SYSTEM, Job, JobRecord, digest, new_job_id
from slidehook.jobs.taking_in import EarlierRequestPending, announce, hold_or_join
from slidehook.regions import regions_of, tag_of
from slidehook.results.limits import CONTEXT_BYTES
from slidehook.settings import Settings
from slidehook.systems import show_cancelled
from webserver.modify import apply_change
from webserver.modify_answer import answer_change
from webserver.on_modify_process import ON_MODIFY
from webserver.result_versions import ResultVersions

WEBHOOK_S = 20.0
"""The time limit of the calls to DPAT for one request, in seconds: DPAT and its user wait for the answer."""
JOINED_WAIT_S = WEBHOOK_S + 5.0
"""How long a request waits until an earlier one for the same work is queued or withdrawn, in seconds."""
USER_DELETED = "the user deleted the result"

_Call = Create | Modify | Delete | Cancel
_T = TypeVar("_T")
log = structlog.get_logger()


class Intake:
    """Handles DPAT's requests to any app of this process. Thread-safe."""

    def __init__(self, settings: Settings, queue: JobSink) -> None:
        self._settings = settings
        self._queue = queue
        self._servers = DpatServers(settings)
        self._versions = ResultVersions(settings.data_dir / "versions")

    def invocation(self, app: App, call: _Call, version: str | None = None) -> dict[str, Any]:
        """Carry out a user's request; returns the stored result as DPAT answered it, or `{}`.

        `version`: the caller's version of the IA-API.
        """
        self._check(app, call)
        self._servers.at(self._callback_url(call)).assume_version(version)
        return self._act(call, app)

    def notification(self, app: App, call: Notification, version: str | None = None) -> None:
        """Queue a newly imported image if the app accepts it; `version`: see `invocation`."""
        self._check(app, call)
        self._servers.at(self._callback_url(call)).assume_version(version)
        client = self._client(call)
        info = call.image_info or client.slide_info(call.slide_id, include_phi=self._settings.store_phi)
        if app.input.type != "wholeSlide" or not self._accepts(app, info):
            log.info("image not wanted", app=app.id)
            return
        job = self._job(app, call, WholeSlideInput(), info, "import")
        hold, _ = self._hold(job, lambda _: client.verify_access(app.id, call.slide_id))
        if hold is not None:
            self._announce(app, hold, client)

    @singledispatchmethod
    def _act(self, call: _Call, app: App) -> dict[str, Any]:
        raise NotImplementedError(type(call).__name__)

    @_act.register
    def _create(self, call: Create, app: App) -> dict[str, Any]:
        if call.input.type != app.input.type:
            raise BadRequest(f"The app {app.id} takes {app.input.type}, not {call.input.type}.")
        client = self._client(call)
        if isinstance(app.input, TaggedPolygon):
            tag_of(call.input, app.input.tags)
        regions_of(call.input, None)
        info = client.slide_info(call.slide_id, include_phi=self._settings.store_phi)
        regions_of(call.input, frame_of(info))
        job = self._job(app, call, call.input, info, "user")
        hold, answer = self._hold(job, lambda twin: self._current(app, twin, client))
        return self._announce(app, hold, client).answer if hold is not None else answer or {}

    @_act.register
    def _modify(self, call: Modify, app: App) -> dict[str, Any]:
        """Store a user's change of a result, with the app's answer to it."""
        client = self._client(call)
        return apply_change(app, client, call, self._versions, partial(answer_change, ON_MODIFY)).answer

    @_act.register
    def _delete(self, call: Delete, app: App) -> dict[str, Any]:
        """Stop the jobs of a deleted result, if DPAT accepts the caller's token."""
        client = self._client(call)
        deleted = DeletedResult(
            callback_url=self._callback_url(call),
            app_id=app.id,
            slide_id=call.slide_id,
            result_id=call.input.id,
            whole_slide=app.input.type == "wholeSlide",
            shown_by=shown_by(call.input.data.context if call.input.data else None),
        )
        prove = cache(lambda: client.verify_access(app.id, call.slide_id))

        def concerns(record: JobRecord) -> bool:
            if not deleted.concerns(record):
                return False
            prove()
            return True

        stopped = self._queue.stop_unwanted(
            concerns, USER_DELETED, app_id=app.id, slide_id=call.slide_id, key=deleted.work_key
        )
        log.info("result deleted", app=app.id, result=call.input.id, stopped=",".join(stopped) or "-")
        return {}

    @_act.register
    def _cancel(self, call: Cancel, app: App) -> dict[str, Any]:
        """Stop the job, and show that on its slide: here if it has no worker and DPAT responds, else by a worker.

        A token stops only a job of the same slide, app and DPAT as in the request, and only if DPAT accepts it.
        """
        client = self._client(call)

        def allow(record: JobRecord) -> bool:
            job = record.job
            mine = (FIRST_SYSTEM, self._callback_url(call), app.id, call.slide_id)
            if (job.system, job.address, job.app_id, job.slide_id) != mine:
                log.warning("cancellation token of another job", job=job.id)
                return False
            client.verify_access(app.id, call.slide_id)
            return True

        def tell(record: JobRecord) -> bool:
            try:
                destination = DpatDestination(record.job, app, client, lambda _: client)
                destination.resume(record.noted, record.changed_at)
                show_cancelled(destination)
            except DpatError as error:
                log.warning("cancelled, a worker tells the slide", job=record.job.id, reason=str(error))
                return False
            return True

        key = digest(call.cancellation_token) if call.cancellation_token else None
        cancelled = self._queue.cancel(key, secret=call.callback_info.token, tell=tell, allow=allow) if key else None
        log.info("cancel", app=app.id, job=cancelled.job_id if cancelled else "-")
        return {}

    def _check(self, app: App, call: _Call | Notification) -> None:
        if call.application_id != app.id:
            raise BadRequest(f"This is the app {app.id}; the applicationId is another's.")
        if isinstance(call, Modify) and call.input.slide_id != call.slide_id:
            raise BadRequest("The changed result is of another slide than the slideId says.")
        if isinstance(call, Create | Notification) and len(to_json(call.context)) > CONTEXT_BYTES:
            raise TooLarge(f"The field 'context' is larger than {CONTEXT_BYTES // 1024} KiB.")

    def _callback_url(self, call: _Call | Notification) -> str:
        return check_callback(call.callback_info.url, self._settings.dpat_urls)

    def _client(self, call: _Call | Notification) -> DpatClient:
        server = self._servers.at(self._callback_url(call))
        return server.client(call.callback_info.token, tries=3, within_s=WEBHOOK_S)

    def _accepts(self, app: App, info: ImageInfo) -> bool:
        try:
            return app.accepts(info)
        except Exception:
            # The author's fault must not lose a slide: better one analysis too many.
            log.exception("accepts failed, so the image is taken", app=app.id)
            return True

    def _job(
        self,
        app: App,
        call: Create | Notification,
        wanted: Input,
        info: ImageInfo,
        trigger: Literal["user", "import"],
    ) -> Job:
        now_ns = time.time_ns()
        return Job(
            id=new_job_id(now_ns),
            app_id=app.id,
            slide_id=call.slide_id,
            priority=app.priority,
            created_at=now_ns / 1e9,
            trigger=trigger,
            input=wanted,
            context=call.context,
            system=FIRST_SYSTEM,
            address=self._callback_url(call),
            image_info=info if self._settings.store_phi else info.without_phi(),
            cancellation_key=digest(call.cancellation_token) if call.cancellation_token else None,
            secret=call.callback_info.token,
        )

    def _hold(self, job: Job, prove: Callable[[JobRecord], _T]) -> tuple[Hold | None, _T | None]:
        """Hold the job, or join it to existing equal work; see `hold_or_join`."""
        try:
            return hold_or_join(self._queue, job, prove, wait_s=JOINED_WAIT_S)
        except EarlierRequestPending as error:
            raise DpatTimeout(
                "DPAT has not answered yet what an earlier request for the same analysis needs."
            ) from error

    def _announce(self, app: App, hold: Hold, client: DpatClient) -> Stored:
        """Show "queued" on the slide, then let the workers have the job; see `announce`.

        If the call fails, DPAT may have stored "queued" without an answer; then a worker must finish that result. An
        imported slide stays queued too, because nobody would request it again.
        """
        result = ResultOnSlide(client, app, hold.job, fresh=True)
        shown: list[Stored] = []
        looked = False

        def show() -> dict[str, JsonValue]:
            nonlocal looked
            result.find()
            looked = True
            shown.append(
                result.show(RecordMaker(app, hold.job, frame_of(hold.job.image_info)).in_progress(0, QUEUED))
            )
            return NotedResult(id=shown[0].id, version_id=shown[0].version_id, in_doubt=result.in_doubt).to_json()

        def may_be_shown(error: Exception) -> bool:
            if not isinstance(error, Conflict | DpatUnavailable | Malformed):
                return False
            # After a conflict the slide shows for certain what it did before.
            return hold.job.trigger == "import" or (looked and not isinstance(error, Conflict))

        announce(hold, show, may_be_shown=may_be_shown)
        return shown[0]

    def _current(self, app: App, twin: JobRecord, client: DpatClient) -> dict[str, Any]:
        """Read the result of the existing work, which proves the caller's access to it."""
        result = ResultOnSlide(client, app, twin.job)
        if (noted := NotedResult.read(twin.noted)) is not None:
            result.know(noted.id, noted.version_id)
        if (stored := result.current()) is None:
            client.verify_access(app.id, twin.job.slide_id)
            return {}
        return stored.answer
