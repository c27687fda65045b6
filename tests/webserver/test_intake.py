from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from slidehook.errors import QueueError
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import JobState
from tests.e2e.running import files_below
from tests.iaapi.little_dpat import Call, Reply
from tests.webserver.site import SQUARE, Site

RESULTS = "/applications/tissue-area/results"
POLYGON = {"polygon": {"points": SQUARE}, "tags": ["tumour", "stroma"], "tagIndex": 0}
NO_TOKEN = {"url": "http://127.0.0.1:1"}


def test_a_create_returns_the_stored_result_as_dpat_sent_it(site: Site) -> None:
    answer = site.post()
    assert answer.status_code == 200
    assert answer.json == site.dpat.results[1]
    assert answer.json["onlyDpatKnows"] == {"a": None}
    assert "analysis queued" in answer.json["displayResult"]
    assert answer.json["applicationVersion"] == "2.1"
    assert answer.json["data"]["context"]["mode"] == "fast"


def test_a_created_job_contains_what_its_worker_needs(site: Site) -> None:
    site.post(slideId="../S 1/?")
    (job,) = site.jobs()
    assert (job.app_id, job.slide_id, job.trigger) == ("tissue-area", "../S 1/?", "user")
    assert (job.address, job.secret) == (site.dpat.url, "the-token")
    assert job.context == {"mode": "fast"}
    assert job.image_info is not None
    assert job.image_info.image_size is not None
    assert job.image_info.image_size.width == 2000


def test_the_job_is_durable_but_held_while_dpat_stores_the_result(site: Site) -> None:
    seen: list[tuple[int, int]] = []

    def store(call: Call) -> Reply:
        source = FileSource(site.queue, max_attempts=3)
        seen.append((site.held(), source.claim() is not None))
        source.close()
        return site.dpat.usual(call)

    site.dpat.answer("POST", RESULTS, store)
    assert site.post().status_code == 200
    assert seen == [(1, 0)]
    assert len(site.jobs()) == 1


def test_the_job_contains_the_id_of_the_stored_result(site: Site) -> None:
    site.post()
    source = FileSource(site.queue, max_attempts=3)
    claim = source.claim()
    source.close()
    assert claim is not None
    assert claim.record.noted is not None
    assert (claim.record.noted["id"], claim.record.noted["version_id"]) == (1, "v1")


def test_a_result_that_the_slide_has_already_is_updated_in_place(site: Site) -> None:
    site.post()
    (job,) = site.jobs()
    site.queue.cancel_job(job.id)
    answer = site.post(slideId="S-1", input={"type": "wholeSlide"}, context={"mode": "slow"})
    assert len(site.dpat.results) == 1
    assert answer.json is not None
    assert answer.json["id"] == 1


def test_an_older_result_is_found_and_updated(site: Site) -> None:
    site.post()
    body = site.body(callbackInfo={"url": site.dpat.url.replace("127.0.0.1", "localhost"), "token": "t"})
    answer = site.post(body=body)
    assert answer.json is not None
    assert (answer.json["id"], answer.json["versionId"]) == (1, "v2")
    assert len(site.dpat.results) == 1


def test_a_repeated_request_joins_the_job_and_adds_its_newer_token(site: Site) -> None:
    first = site.post()
    again = site.post(callbackInfo={"url": site.dpat.url, "token": "the-newer-token"})
    assert again.status_code == 200
    assert again.json == first.json
    assert len(site.dpat.results) == 1
    source = FileSource(site.queue, max_attempts=3)
    claim = source.claim()
    assert claim is not None
    assert claim.secret() == "the-newer-token"
    assert source.claim() is None
    source.close()


def test_an_equivalent_callback_url_is_the_same_work(site: Site) -> None:
    first = site.post()
    url = site.dpat.url.replace("http://", "HTTP://").replace("/v1", "/./v1/")
    again = site.post(callbackInfo={"url": url, "token": "the-newer-token"})
    assert again.json == first.json
    (job,) = site.jobs()
    assert job.address == site.dpat.url


def test_another_input_on_the_same_slide_is_other_work_with_its_own_result(site: Site) -> None:
    for x in (0.05, 0.06):
        areas = {"polygons": [{"points": [*SQUARE, {"x": x, "y": 0.15}]}]}
        answer = site.post("/apps/areas", applicationId="areas", input={"type": "multiArea", "content": areas})
        assert answer.status_code == 200
    assert len(site.dpat.results) == 2
    assert len(site.jobs()) == 2


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a request waits for the same work held by another request."""
    asked, is_held = threading.Event(), FileQueue.is_held

    def asks(queue: FileQueue, job_id: str) -> bool:
        held = is_held(queue, job_id)
        asked.set()
        return held

    monkeypatch.setattr(FileQueue, "is_held", asks)
    return asked


def test_two_concurrent_requests_are_one_job_and_both_get_the_result(
    make_site: Callable[..., Site], joins: threading.Event
) -> None:
    site = make_site(read_timeout="10s")
    begun, go_on = threading.Event(), threading.Event()

    def slow(call: Call) -> Reply:
        begun.set()
        go_on.wait(120)
        return site.dpat.usual(call)

    site.dpat.answer("POST", RESULTS, slow)
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(site.post())) for _ in range(2)]
    threads[0].start()
    begun.wait(120)
    threads[1].start()
    joins.wait(120)
    go_on.set()
    for thread in threads:
        thread.join(120)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json == site.dpat.results[1]
    assert len(site.jobs()) == 1


@pytest.mark.parametrize("second", ["create", "notification"])
def test_a_request_that_joined_a_withdrawn_job_gets_its_own(
    make_site: Callable[..., Site], joins: threading.Event, second: str
) -> None:
    site = make_site(read_timeout="10s")
    begun, go_on = threading.Event(), threading.Event()

    def refuse(_: Call) -> Reply:
        begun.set()
        go_on.wait(120)
        return Reply(422)

    site.dpat.answer("POST", RESULTS, refuse, site.dpat.usual)
    answers: dict[str, int] = {}
    ask = site.post if second == "create" else site.notify
    first = threading.Thread(target=lambda: answers.update(first=site.post().status_code))
    joined = threading.Thread(target=lambda: answers.update(joined=ask().status_code))
    first.start()
    begun.wait(120)
    joined.start()
    joins.wait(120)
    go_on.set()
    first.join(120)
    joined.join(120)
    assert answers == {"first": 502, "joined": 200}
    assert len(site.jobs()) == 1


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"applicationId": "tagged"}, 400, "tissue-area"),
        ({"applicationId": None}, 400, "applicationId"),
        ({"slideId": ...}, 400, "slideId"),
        ({"slideId": ".."}, 400, "id"),
        ({"callbackInfo": NO_TOKEN}, 400, "callbackInfo.token"),
        ({"callbackInfo": {"url": "http://127.0.0.1:1", "token": "a\r\nb"}}, 400, "callbackInfo.token"),
        ({"input": {"type": "taggedPolygon", "content": POLYGON}}, 400, "wholeSlide"),
        ({"input": {"type": "wrong"}}, 400, "input.type"),
        ({"action": "wrong"}, 400, "action"),
        ({"callbackInfo": {"url": "http://evil.example/v1", "token": "t"}}, 403, "SLIDEHOOK_DPAT_URLS"),
        ({"callbackInfo": {"url": "file:///etc/passwd", "token": "t"}}, 403, "http"),
    ],
)
def test_an_invalid_create_is_refused_before_any_call(
    site: Site, changes: dict[str, Any], status: int, word: str
) -> None:
    answer = site.post(**changes)
    assert answer.status_code == status
    assert word in answer.text
    assert not site.dpat.calls
    assert not site.files()


@pytest.mark.parametrize("path", ["/apps/tissue-area", "/apps/tissue-area/imagenotification"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"a=b"])
def test_a_body_that_is_not_a_json_object_is_refused(site: Site, path: str, body: bytes) -> None:
    assert site.post(path, body=body).status_code == 400
    assert not site.files()


@pytest.mark.parametrize("action", ["modify", "cancel", "create"])
def test_a_forbidden_callback_url_is_never_called_for_any_action(make_site: Callable[..., Site], action: str) -> None:
    site = make_site(dpat_urls="https://dpat.example/v1")
    stored = {"id": 1, "versionId": "v1", **RESULT} if action == "modify" else {"type": "wholeSlide"}
    answer = site.post(action=action, input=stored)
    assert answer.status_code == 403
    assert not site.dpat.calls


def test_a_notification_with_a_forbidden_callback_url_is_refused(make_site: Callable[..., Site]) -> None:
    site = make_site(dpat_urls="https://dpat.example/v1")
    assert site.notify().status_code == 403
    assert not site.files()


@pytest.mark.parametrize(
    ("reply", "status"),
    [(Reply(503), 502), (Reply(401), 502), (Reply(404), 502), (Reply(422), 502), (Reply(body=b"<"), 502)],
)
@pytest.mark.parametrize("call", [("GET", "/slides/S-1/info"), ("GET", f"{RESULTS}/slide/S-1"), ("POST", RESULTS)])
def test_a_create_that_dpat_fails_is_queued_only_if_its_result_may_be_stored(
    site: Site, call: tuple[str, str], reply: Reply, status: int
) -> None:
    site.dpat.answer(*call, reply)
    answer = site.post()
    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json["error"].startswith("DPAT")
    # DPAT may have stored "queued" without answering: then a worker must finish that result.
    unclear = call[0] == "POST" and (reply.status == 503 or reply.body == b"<")
    assert bool(site.files()) is unclear


def test_a_create_that_timed_out_at_dpat_stays_queued(make_site: Callable[..., Site]) -> None:
    site = make_site(read_timeout="2s")
    go_on = threading.Event()

    def late(_: Call) -> Reply:
        go_on.wait(120)
        return Reply(503)

    site.dpat.answer("POST", RESULTS, late)
    answer = site.post()
    go_on.set()
    assert answer.status_code == 504
    assert site.files()


def test_a_create_while_dpat_is_unavailable_is_not_queued(site: Site) -> None:
    answer = site.post(callbackInfo={"url": "http://127.0.0.1:9", "token": "t"})
    assert answer.status_code == 502
    assert not site.files()


def test_a_create_that_meets_an_internal_error_is_not_left_held(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("slidehook.dpat.stored_result.RecordMaker.in_progress", faulty)
    assert site.post().status_code == 500
    assert not site.files()


def test_a_job_whose_result_can_not_be_noted_is_queued_nevertheless(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise QueueError("the disk is full")

    monkeypatch.setattr("slidehook.jobs.files.queue.FileHold.note", full)
    assert site.post().status_code == 200
    assert len(site.jobs()) == 1


# --- modify, delete, cancel

RESULT: dict[str, Any] = {
    "slideId": "S-1",
    "displayResult": "12 %",
    "displayProperties": {"Area": 1.5},
    "applicationVersion": "1.0",
    "data": {"context": {}, "result": {"type": "primitive", "content": {"labels": []}}},
}


@pytest.fixture
def shown(site: Site) -> dict[str, Any]:
    """A result on the slide."""
    site.dpat.results[1] = RESULT | {"id": 1, "versionId": "v4", "onlyDpatKnows": 1}
    return site.dpat.results[1]


def test_a_modified_result_is_stored_and_returned_as_stored(site: Site, shown: dict[str, Any]) -> None:
    answer = site.post(action="modify", input={**shown, "displayResult": "13 %"})
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json == site.dpat.results[1]
    assert (answer.json["displayResult"], answer.json["versionId"]) == ("13 %", "v5")
    assert not site.files()


def test_modifying_a_deleted_result_is_a_502_and_does_not_create_it_again(site: Site, shown: dict[str, Any]) -> None:
    site.dpat.results.clear()
    assert site.post(action="modify", input=shown).status_code == 502
    assert not site.dpat.results


def test_a_deletion_needs_no_call(site: Site, shown: dict[str, Any]) -> None:
    answer = site.post(action="delete", input=shown)
    assert (answer.status_code, answer.json) == (200, {})
    assert not site.dpat.calls


@pytest.mark.parametrize("action", ["modify", "delete"])
def test_a_result_that_was_never_stored_can_not_be_modified(site: Site, action: str) -> None:
    answer = site.post(action=action, input=RESULT)
    assert answer.status_code == 400
    assert "input.id" in answer.text


def test_a_cancelled_job_ends_and_its_slide_shows_it(site: Site) -> None:
    site.post()
    answer = site.post(action="cancel", input=...)
    assert (answer.status_code, answer.json) == (200, {})
    assert site.dpat.results[1]["displayResult"] == "cancelled"
    assert not site.jobs()
    assert files_below(site.queue.layout.root / JobState.CANCELLED)


@pytest.mark.parametrize("token", ["another", "", None, ...])
def test_a_cancellation_of_an_unknown_job_stops_nothing(site: Site, token: Any) -> None:
    site.post()
    assert site.post(action="cancel", input=..., cancellationToken=token).status_code == 200
    assert len(site.jobs()) == 1


# --- notifications


@pytest.mark.parametrize(
    "changes", [{}, {"action": None, "input": None}, {"action": "newImageFiles", "input": {"type": "wholeSlide"}}]
)
def test_an_imported_image_is_queued_by_old_and_new_servers(site: Site, changes: dict[str, Any]) -> None:
    answer = site.notify(**changes)
    assert (answer.status_code, answer.json) == (200, {})
    (job,) = site.jobs()
    assert job.trigger == "import"
    assert "analysis queued" in site.dpat.results[1]["displayResult"]
    assert [call.method for call in site.dpat.calls] == ["GET", "POST"]


def test_the_image_record_missing_from_a_notification_is_fetched(site: Site) -> None:
    assert site.notify(imageInfo=None).status_code == 200
    assert site.dpat.calls[0].path == "/slides/S-1/info"
    assert len(site.jobs()) == 1


def test_the_same_notification_again_is_one_job(site: Site) -> None:
    assert site.notify().status_code == site.notify().status_code == 200
    assert len(site.jobs()) == 1


@pytest.mark.parametrize(
    "info", [{"id": "S-1"}, {"id": "S-1", "staining": None}, {"id": "S-1", "staining": {"displayName": "PAS"}}]
)
def test_an_image_that_the_app_does_not_accept_causes_no_call_and_no_job(site: Site, info: dict[str, Any]) -> None:
    answer = site.notify(imageInfo=info)
    assert (answer.status_code, answer.json) == (200, {})
    assert not site.dpat.calls
    assert not site.files()


@pytest.mark.parametrize("app", ["tagged", "areas"])
def test_an_app_that_needs_a_region_gets_no_imported_images(site: Site, app: str) -> None:
    info = {"id": "S-1", "staining": {"displayName": "HE"}}
    answer = site.post(f"/apps/{app}/imagenotification", applicationId=app, action=..., input=..., imageInfo=info)
    assert answer.status_code == 200
    assert not site.dpat.calls
    assert not site.files()


def test_an_app_whose_accepts_fails_gets_the_image(site: Site) -> None:
    assert site.notify(imageInfo={"id": "S-1", "bodyPart": "BROKEN"}).status_code == 200
    assert len(site.jobs()) == 1


@pytest.mark.parametrize(("reply", "status"), [(Reply(503), 502), (Reply(429), 502)])
def test_an_imported_image_stays_queued_if_dpat_can_not_store_its_result(
    site: Site, reply: Reply, status: int
) -> None:
    site.dpat.answer("POST", RESULTS, reply)
    assert site.notify().status_code == status
    (job,) = site.jobs()
    assert job.slide_id == "S-1"


def test_an_imported_image_stays_queued_while_dpat_is_unavailable(site: Site) -> None:
    assert site.notify(callbackInfo={"url": "http://127.0.0.1:9", "token": "t"}).status_code == 502
    assert len(site.jobs()) == 1


def test_an_imported_image_stays_queued_while_somebody_else_keeps_changing_the_result(site: Site) -> None:
    stored = site.post().json
    assert stored is not None
    for path in site.files():  # as if that job had ended long ago
        path.unlink()
    for method in ("PATCH", "PUT"):
        site.dpat.answer(method, f"{RESULTS}/{stored['id']}", Reply(409))
    assert site.post().status_code == 502
    assert not site.files()
    assert site.notify().status_code == 502
    assert [job.trigger for job in site.jobs()] == ["import"]


@pytest.mark.parametrize("status", [401, 404, 422])
def test_an_imported_image_that_dpat_refuses_is_not_queued(site: Site, status: int) -> None:
    site.dpat.answer("POST", RESULTS, Reply(status))
    assert site.notify().status_code == 502
    assert not site.files()


def test_identifying_fields_are_neither_requested_nor_stored(site: Site) -> None:
    site.notify(imageInfo={"id": "S-1", "staining": {"displayName": "HE"}, "accessionNumber": "A-1234567"})
    site.dpat.record["accessionNumber"] = "A-1234567"
    site.post(slideId="S-2")
    assert all("includePHI" not in call.query for call in site.dpat.calls)
    assert len(site.files()) >= 2
    assert all(b"A-1234567" not in path.read_bytes() for path in site.files())


def test_identifying_fields_are_stored_if_configured(make_site: Callable[..., Site]) -> None:
    site = make_site(store_phi=True)
    site.dpat.record["accessionNumber"] = "A-1234567"
    site.post()
    assert site.dpat.calls[0].query["includePHI"] == ["true"]
    (job,) = site.jobs()
    assert job.image_info is not None
    assert job.image_info.accession_number == "A-1234567"


def test_tokens_are_stored_only_in_private_files(site: Site) -> None:
    site.post()
    holding = [path for path in site.files() if b"the-token" in path.read_bytes()]
    assert holding
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}


def test_a_joined_request_is_not_acknowledged_while_its_job_may_be_withdrawn(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webserver.intake.JOINED_WAIT_S", 0.2)
    begun, go_on = threading.Event(), threading.Event()

    def refuse(_: Call) -> Reply:
        begun.set()
        go_on.wait(120)
        return Reply(422)

    site.dpat.answer("POST", RESULTS, refuse)
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(site.post().status_code))
    first.start()
    begun.wait(120)
    joined = site.post()
    go_on.set()
    first.join(120)
    assert joined.status_code == 504
    assert answers == [502]
    assert site.jobs() == []


@pytest.mark.parametrize(
    "deleted",
    [
        {"id": 7},
        {"id": 7, "versionId": 2, "data": None},
        {"id": 7, "displayResult": None, "data": {"context": None, "result": {"type": "primitive", "content": None}}},
        {
            "id": 7,
            "data": {"context": {}, "result": {"type": "patchCollection", "content": {"actions": [{"id": 1}]}}},
        },
    ],
)
def test_a_deletion_succeeds_whatever_the_result_contains(site: Site, deleted: dict[str, Any]) -> None:
    answer = site.post(action="delete", input=deleted)
    assert (answer.status_code, answer.json) == (200, {})


def test_invalid_foreign_results_on_the_slide_block_nothing(site: Site) -> None:
    odd = [{"id": 9, "slideId": "S-1"}, None, {"versionId": "v1"}, [1]]
    site.dpat.answer("GET", f"{RESULTS}/slide/S-1", Reply(body=odd))
    assert site.post().status_code == 200
    assert len(site.jobs()) == 1


def test_foreign_fields_of_a_result_survive_a_new_analysis(site: Site) -> None:
    kept = {"attachments": [{"name": "a.csv", "state": "stored", "newer": 1}], "newer": {"a": 1}}
    site.dpat.results[1] = {**RESULT, **kept, "id": 1, "versionId": "v4", "data": {**RESULT["data"], "newer": 2}}
    assert site.post().status_code == 200
    sent = site.dpat.made("PATCH")[-1].json
    assert {name: sent[name] for name in kept} == kept
    assert (sent["data"]["newer"], sent["displayResult"]) == (2, "analysis queued, 0 %")
