"""The IA-API's calls for results: whatever DPAT does, a job never gets a second one, nor a deleted one a new one."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import requests
import structlog
from pydantic import TypeAdapter, ValidationError

from slidehook.dpat.iaapi.framing import check_end_is_told
from slidehook.dpat.iaapi.http_transport import path_segment, read
from slidehook.dpat.iaapi.models import ResultRecord, Stored
from slidehook.dpat.iaapi.preserved_fields import beside
from slidehook.dpat.iaapi.updating import Updating
from slidehook.errors import Conflict, DpatNotReached, DpatTimeout, DpatUnavailable, Malformed

CONFLICT_ROUNDS = 5
"""How often an update is applied anew to a result that somebody else keeps changing."""
_STORED: TypeAdapter[Stored] = TypeAdapter(Stored)
_RESULTS: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
log = structlog.get_logger()


class ResultCalls(Updating):
    """What an app can do with results."""

    def results_on_slide(self, app_id: str, slide_id: str) -> list[Stored]:
        """Read the app's results on a slide, but for those without an id or a version: others' results may be odd."""
        response = self.get(f"/applications/{path_segment(app_id)}/results/slide/{path_segment(slide_id)}")
        found, passed_over = [], 0
        read(_RESULTS, response, "the list of results")
        for answer in json.loads(response.content):
            try:
                found.append(_STORED.validate_python(answer).with_answer(answer))
            except ValidationError:
                passed_over += 1
        if passed_over:
            log.warning("results that can't be updated are passed over", app=app_id, results=passed_over)
        return found

    def prove_access(self, app_id: str, slide_id: str) -> None:
        """Have DPAT accept the token for this app and slide; raises TokenExpired where it does not.

        The list of results is the one thing to read whose address names both; what is in it does not matter.
        """
        self.get(f"/applications/{path_segment(app_id)}/results/slide/{path_segment(slide_id)}")

    def result(self, app_id: str, result_id: int | str) -> Stored:
        """Read one stored result."""
        return _stored(self.get(_path(app_id, result_id)))

    def attachment(
        self, app_id: str, result_id: int | str, name: str, *, start: int = 0, stop: int | None = None
    ) -> bytes:
        """Read a file that DPAT keeps beside a result, or its bytes from `start` up to, not including, `stop`."""
        last = "" if stop is None else str(stop - 1)
        headers = {"Range": f"bytes={start}-{last}"} if start or stop is not None else {}
        response = self.send_again(
            "GET", f"{_path(app_id, result_id)}/attachments", params={"name": name}, headers=headers
        )
        check_end_is_told(response)
        partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
        if partial and not headers:
            raise Malformed("DPAT sent a part of the attachment only")
        # A server that knows no ranges answers 200, with all of it.
        return response.content if partial else response.content[start:stop]

    def create_result(
        self, app_id: str, record: ResultRecord, mine: Callable[[list[Stored]], Stored | None] | None = None
    ) -> Stored:
        """Store a new result, and never a second one.

        Where a try may have been carried out although DPAT did not say so, `mine` is asked to pick what that
        made from the app's results on the slide. Only when there is none the result is sent again; and not at all
        after DpatTimeout, since the server may still be at it. Without `mine` it is sent once.
        """
        if mine is None:
            return self.store(app_id, record)
        return self._patience.call(_Creation(self, app_id, record, mine).go_on)

    def store(self, app_id: str, record: ResultRecord) -> Stored:
        """Send a new result, once."""
        return _stored(self.send("POST", f"/applications/{path_segment(app_id)}/results", json=record.to_wire()))

    def update_result(
        self,
        app_id: str,
        record: ResultRecord,
        stored: Stored,
        *,
        unless: Callable[[Stored], bool] = lambda _: False,
    ) -> Stored:
        """Put a record in the place of a stored result; its attachments, and fields of others, stay.

        `stored` is the result as it was read last. On a conflict its present version is read and the update applied
        to that; where `unless` says so of that version, it stands, and is given. Raises NotFound when the user has
        deleted the result, Conflict when it changes again and again.
        """
        for failed in range(CONFLICT_ROUNDS):
            if failed > 1:  # the first conflict is with somebody who was faster by chance
                self.wait(failed - 1)
            body = beside(stored.answer, record.to_wire()) | {"id": stored.id, "versionId": stored.version_id}
            try:
                return self.replace_result(app_id, stored.id, body)
            except Conflict:
                stored = self.result(app_id, stored.id)
                if unless(stored):
                    return stored
        raise Conflict(f"result {stored.id} is changed by somebody else again and again")

    def replace_result(self, app_id: str, result_id: int | str, body: dict[str, Any]) -> Stored:
        """Send a whole result in the place of the version that it names; raises Conflict when that is stale."""
        return _stored(self._patience.call(self.replace, _path(app_id, result_id), body))

    def wait(self, tries: int) -> None:
        """Wait before a change is tried again that somebody else was faster than so many times."""
        self._patience.wait(tries)


class _Creation:
    """The tries to store one new result."""

    def __init__(
        self, calls: ResultCalls, app_id: str, record: ResultRecord, mine: Callable[[list[Stored]], Stored | None]
    ) -> None:
        self._calls = calls
        self._app_id = app_id
        self._record = record
        self._mine = mine
        self._doubt: DpatUnavailable | None = None
        """Why it is not known whether the result is stored."""

    def go_on(self) -> Stored:
        """Look for what an earlier try may have stored, else try to store it."""
        if self._doubt is not None:
            if (found := self._look()) is not None:
                return found
            if isinstance(self._doubt, DpatTimeout):
                raise self._doubt
        try:
            return self._calls.store(self._app_id, self._record)
        except DpatNotReached:
            raise
        except DpatUnavailable as error:
            self._doubt = error
            raise
        except Malformed:
            # DPAT says that it has stored it, though not under which number.
            if (found := self._look()) is None:
                raise
            return found

    def _look(self) -> Stored | None:
        return self._mine(self._calls.results_on_slide(self._app_id, self._record.slide_id))


def _path(app_id: str, result_id: int | str) -> str:
    return f"/applications/{path_segment(app_id)}/results/{path_segment(str(result_id))}"


def _stored(response: requests.Response) -> Stored:
    return read(_STORED, response, "the stored result").with_answer(json.loads(response.content))
