"""The IA-API's calls for results. Each job has at most one result; a deleted result is not created again."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import requests
import structlog
from pydantic import TypeAdapter, ValidationError

from slidehook.dpat.errors import Conflict, DpatNotReached, DpatTimeout, DpatUnavailable, Malformed
from slidehook.dpat.iaapi.framing import require_known_length
from slidehook.dpat.iaapi.http_transport import path_segment, read
from slidehook.dpat.iaapi.models import ResultRecord, Stored
from slidehook.dpat.iaapi.preserved_fields import merge_preserved
from slidehook.dpat.iaapi.updating import UpdateCalls

CONFLICT_ROUNDS = 5
"""How often an update is tried on a result that somebody else keeps changing."""
_STORED: TypeAdapter[Stored] = TypeAdapter(Stored)
_RESULTS: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
log = structlog.get_logger()


class ResultCalls(UpdateCalls):
    """An app's calls for its results."""

    def results_on_slide(self, app_id: str, slide_id: str) -> list[Stored]:
        """Read the app's results on a slide; those without an id or a version can't be updated and are left out."""
        response = self.get(f"/applications/{path_segment(app_id)}/results/slide/{path_segment(slide_id)}")
        found, skipped = [], 0
        read(_RESULTS, response, "the list of results")
        for answer in json.loads(response.content):
            try:
                found.append(_STORED.validate_python(answer).with_answer(answer))
            except ValidationError:
                skipped += 1
        if skipped:
            log.warning("results without an id or a version were skipped", app=app_id, results=skipped)
        return found

    def verify_access(self, app_id: str, slide_id: str) -> None:
        """Verify that DPAT accepts the token for this app and slide; raises TokenExpired if it does not.

        It reads the list of results, the only GET whose URL contains both ids; the content is ignored.
        """
        self.get(f"/applications/{path_segment(app_id)}/results/slide/{path_segment(slide_id)}")

    def result(self, app_id: str, result_id: int | str) -> Stored:
        """Read one stored result."""
        return _stored(self.get(_path(app_id, result_id)))

    def attachment(
        self, app_id: str, result_id: int | str, name: str, *, start: int = 0, stop: int | None = None
    ) -> bytes:
        """Read a file attached to a result, or its bytes from `start` up to but not including `stop`."""
        last = "" if stop is None else str(stop - 1)
        headers = {"Range": f"bytes={start}-{last}"} if start or stop is not None else {}
        response = self.send_with_retries(
            "GET", f"{_path(app_id, result_id)}/attachments", params={"name": name}, headers=headers
        )
        require_known_length(response)
        partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
        if partial and not headers:
            raise Malformed("DPAT sent only a part of the attachment")
        # A server without ranges answers 200 with the whole file.
        return response.content if partial else response.content[start:stop]

    def create_result(
        self, app_id: str, record: ResultRecord, find_own: Callable[[list[Stored]], Stored | None] | None = None
    ) -> Stored:
        """Store a new result, at most once.

        When a try failed but may have been carried out, `find_own` picks that result from the app's results on the
        slide. Only if it finds none is the result sent again. After DpatTimeout it is never sent again, because the
        server may still be processing it. Without `find_own` it is sent once.
        """
        if find_own is None:
            return self.store(app_id, record)
        return self._retry_policy.call(_Creation(self, app_id, record, find_own).attempt)

    def store(self, app_id: str, record: ResultRecord) -> Stored:
        """Send a new result, once."""
        return _stored(self.send("POST", f"/applications/{path_segment(app_id)}/results", json=record.to_wire()))

    def update_result(
        self,
        app_id: str,
        record: ResultRecord,
        stored: Stored,
        *,
        keep_if: Callable[[Stored], bool] = lambda _: False,
    ) -> Stored:
        """Replace a stored result by a record; its attachments and foreign fields stay.

        `stored` is the result as last read. On a conflict the current version is read and the update is applied to
        it; if `keep_if` is true for that version, it is kept and returned instead. Raises NotFound when the user has
        deleted the result, Conflict when the result keeps changing.
        """
        for failed in range(CONFLICT_ROUNDS):
            if failed > 1:  # the first conflict may be mere chance
                self.wait(failed - 1)
            body = merge_preserved(stored.answer, record.to_wire()) | {
                "id": stored.id,
                "versionId": stored.version_id,
            }
            try:
                return self.replace_result(app_id, stored.id, body)
            except Conflict:
                stored = self.result(app_id, stored.id)
                if keep_if(stored):
                    return stored
        raise Conflict(f"somebody else keeps changing result {stored.id}")

    def replace_result(self, app_id: str, result_id: int | str, body: dict[str, Any]) -> Stored:
        """Replace the version that `body` names by the whole result in `body`; raises Conflict when it is stale."""
        return _stored(self._retry_policy.call(self.replace, _path(app_id, result_id), body))

    def wait(self, tries: int) -> None:
        """Wait before the next try of a change that has met `tries` conflicts."""
        self._retry_policy.wait(tries)


class _Creation:
    """The tries to store one new result."""

    def __init__(
        self, calls: ResultCalls, app_id: str, record: ResultRecord, find_own: Callable[[list[Stored]], Stored | None]
    ) -> None:
        self._calls = calls
        self._app_id = app_id
        self._record = record
        self._find_own = find_own
        self._unknown_outcome: DpatUnavailable | None = None
        """The error after which it is unknown whether the result is stored."""

    def attempt(self) -> Stored:
        """Return the result that an earlier try may have stored, else try to store it."""
        if self._unknown_outcome is not None:
            if (found := self._find_stored()) is not None:
                return found
            if isinstance(self._unknown_outcome, DpatTimeout):
                raise self._unknown_outcome
        try:
            return self._calls.store(self._app_id, self._record)
        except DpatNotReached:
            raise
        except DpatUnavailable as error:
            self._unknown_outcome = error
            raise
        except Malformed:
            # DPAT has stored the result, but returned no id.
            if (found := self._find_stored()) is None:
                raise
            return found

    def _find_stored(self) -> Stored | None:
        return self._find_own(self._calls.results_on_slide(self._app_id, self._record.slide_id))


def _path(app_id: str, result_id: int | str) -> str:
    return f"/applications/{path_segment(app_id)}/results/{path_segment(str(result_id))}"


def _stored(response: requests.Response) -> Stored:
    return read(_STORED, response, "the stored result").with_answer(json.loads(response.content))
