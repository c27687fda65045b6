"""Words that DPAT chose: where they may stand, field by field, and that they stand nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slidehook.jobs.job import JobState
from tests.e2e.conftest import APP, Site
from tests.e2e.running import traces
from tests.iaapi.little_dpat import LittleDpat, Reply

SLIDE = "S-known-by-its-id"
BROKEN = "S-broken"
WORD = "CANARY"
HOSTILE = "\x1b[31m\u202e\n\x9b"


def word(name: str) -> str:
    """A text that can be found again, and that would command a terminal."""
    return f"{WORD}-{name}-{HOSTILE}"


TEXTS: dict[str, Any] = {
    "staining": {"displayName": word("staining")},
    "block": {"displayName": word("block")},
    "specimen": {"anatomy": word("anatomy"), "description": word("specimen")},
    "bodyPart": word("bodyPart"),
    "examCode": word("examCode"),
    "examDescription": word("examDescription"),
    "stationName": word("stationName"),
    "priority": word("priority"),
    "fileFormat": {"mimeType": word("fileFormat")},
    "storedTileFormat": {"mimeType": word("tileFormat"), "extension": word("extension")},
    "focalPlanes": [{"id": word("focalPlane")}],
    "opticalPaths": [{"id": word("opticalPath"), "description": word("path")}],
    "qualityControl": {"status": word("quality"), "versionId": word("qualityVersion")},
}
"""Fields of the record that identify nobody: DPAT gives them without `includePHI`."""
IDENTIFYING: dict[str, Any] = {
    name: word(name)
    for name in (
        "seriesInstanceUid",
        "lisSlideId",
        "accessionNumber",
        "accessionNumberIssuer",
        "studyInstanceUid",
        "examId",
        "examDateTime",
        "examFreeFields",
        "unknownField",
    )
}
FILES = {
    "Content-Type": "application/octet-stream",
    "Content-Disposition": f'attachment; filename="{WORD}-name-of-file.{WORD}-ending"',
    "X-Other": f"{WORD}-header",
}
MAY_STAND = {
    "metadata.json": "the image record, which apps are given: without what identifies a patient, for KEEP_DAYS",
    "job": "the same record, so that its worker need not ask again; in no event of the job, and in no reason",
}
"""Files that may hold words of DPAT's beside the ids of slides and results, and why."""


def body(dpat: LittleDpat, slide_id: str) -> dict[str, Any]:
    return {
        "action": "create",
        "applicationId": APP,
        "slideId": slide_id,
        "callbackInfo": {"url": dpat.url, "token": "the-token"},
        "context": None,
        "input": {"type": "wholeSlide"},
    }


def test_words_of_dpats_stand_nowhere_but_where_they_are_listed(
    new_site: Callable[..., Site], sample_slides: Path
) -> None:
    site = new_site(max_attempts="1", web_processes="1")
    site.start_web()
    site.start_worker()
    with LittleDpat() as dpat:
        size = {"width": 6144, "height": 4608}
        dpat.record = {**TEXTS, **IDENTIFYING, "imageSize": size, "tileSize": {"width": 256, "height": 256}}
        slide = (sample_slides / "immuno.tiff").read_bytes()
        dpat.answer("GET", f"/slides/{SLIDE}/files", Reply(body=slide, headers=FILES))
        dpat.answer("GET", f"/slides/{BROKEN}/files", Reply(body=b"II*\0" + word("content").encode(), headers=FILES))
        odd = [{"id": word("result"), "versionId": []}, {"displayResult": word("text")}]
        dpat.answer("GET", f"/applications/{APP}/results/slide/{BROKEN}", Reply(body=odd))
        dpat.answer(
            "GET", "/slides/S-refused/info", Reply(400, word("error").encode(), {"X-Reason": f"{WORD}-reason"})
        )
        dpat.answer("GET", "/slides/S-odd/info", Reply(body={"id": [word("id")], word("key"): 1}))

        answers = {each: site.post(body(dpat, each)) for each in (SLIDE, BROKEN, "S-refused", "S-odd")}
        assert [each.status_code for each in answers.values()] == [200, 200, 502, 502]
        site.job_in(JobState.DONE, SLIDE)
        failed = site.job_in(JobState.FAILED, BROKEN)
        shown = site.types("jobs", "show", failed.record.job.id) + site.types("jobs", "list", "--all")
        sent = [call.body.decode() for call in dpat.calls if call.method != "GET"]

    assert [text for text in sent if WORD in text] == [], "what is sent to DPAT, to be shown on the slide"
    assert WORD not in shown
    assert [each.text for each in answers.values() if each.status_code != 200 and WORD in each.text] == []
    jobs = [*site.jobs(SLIDE), *site.jobs(BROKEN)]
    kept = [site.small_data(SLIDE) / "metadata.json", site.small_data(BROKEN) / "metadata.json"]
    kept += [each.path for each in jobs]
    found = {folder / path for folder in (site.queue, site.data, site.logs) for path in traces(folder, WORD)}
    assert found == set(kept)
    for path in kept:
        assert f"{WORD}-examDescription-" in path.read_text()
        assert [
            name
            for name in (*IDENTIFYING, "name-of-file", "ending", "content")
            if f"{WORD}-{name}" in path.read_text()
        ] == []
    assert [each for job in jobs for each in job.record.events if WORD in each.model_dump_json()] == []
    without_record = [each.record.job.model_copy(update={"image_info": None}) for each in jobs]
    assert [each for each in without_record if WORD in each.model_dump_json()] == []
    # A slide's id and a result's are how they are found.
    assert SLIDE in site.types("jobs", "show", site.job_in(JobState.DONE, SLIDE).record.job.id)
    assert "GET /slides/S-refused/info" in "".join(each.text() for each in site.programs)
