"""A DPAT that is away, slow, cut off or strange: the job ends right all the same, with its one result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slidehook.jobs.job import JobState
from slidehook.simulator.downloads import FilePart, multipart_files
from tests.e2e.conftest import APP, Dpat, Site, running_site
from tests.e2e.running import files_below, wait_for

WITHIN_S = 90.0
"""Long enough for two attempts and the wait between them on a busy machine."""
ANSWER = "ANSWER: 42"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that gives a job three attempts, and DPAT two seconds to say something. Shared."""
    with running_site(tmp_path_factory.mktemp("patient"), max_attempts="3", read_timeout="2s") as site:
        site.start_web()
        site.start_worker()
        yield site


@pytest.fixture
def dpat(site: Site, new_dpat: Callable[..., Dpat]) -> Dpat:
    return new_dpat(site)


def ends_right(dpat: Dpat, site: Site, slide_id: str, *, attempts: int = 1) -> dict[str, Any]:
    """Wait until the slide's one result is the right one; returns it."""
    assert dpat.wait_until(lambda: ANSWER in [each["displayResult"] for each in dpat.results()], WITHIN_S)
    assert site.job_in(JobState.DONE, slide_id).attempt == attempts
    assert site.keeps_no_slide()
    return dpat.shown(slide_id)


def shown_texts(dpat: Dpat, slide_id: str) -> list[str]:
    return [each["displayResult"] for each in dpat.shown(slide_id)["history"]]


def told_to_operator(site: Site, slide_id: str) -> str:
    (job,) = site.jobs(slide_id)
    return site.types("jobs", "show", job.record.job.id)


UPDATE = r"/results/\d+$"
FAULTS: dict[str, Callable[[Dpat, str], None]] = {
    "503 four times to the files": lambda dpat, _: add(dpat, "/files$", "status", count=4),
    "503 four times to the updates": lambda dpat, _: add(dpat, UPDATE, "status", count=4),
    "503 four times to the tiles": lambda dpat, _: add(dpat, "_files/", "status", count=4),
    "500 once to everything in turn": lambda dpat, _: each_once(dpat, "status", status=500),
    "closed before the answer, everywhere once": lambda dpat, _: each_once(dpat, "close"),
    "cut in the answer, everywhere once": lambda dpat, _: each_once(dpat, "cut", after_bytes=7),
    "a page in place of the answer, everywhere once": lambda dpat, _: each_once(dpat, "html"),
    "updates in conflict with somebody else's": lambda dpat, _: add(
        dpat, UPDATE, "status", status=409, count=4, method="PATCH"
    ),
    "no version in the answers": lambda dpat, _: add(dpat, ".", "headers", count=50, headers={VERSION: ""}),
    "a version far ahead": lambda dpat, _: add(dpat, ".", "headers", count=50, headers={VERSION: "17.3"}),
    "a version that is none": lambda dpat, _: add(dpat, ".", "headers", count=50, headers={VERSION: "new"}),
}
VERSION = "X-Sectra-ApiVersion"
CALLS = {
    "/info$": "GET", "/results/slide/": "GET", "/results$": "POST", UPDATE: "PATCH", "_files/": "GET",
    "/files$": "GET",
}  # fmt: skip


def add(dpat: Dpat, path: str, kind: Any, **how: Any) -> None:
    dpat.add_fault(path, kind, **how)


def each_once(dpat: Dpat, kind: Any, **how: Any) -> None:
    for path, method in CALLS.items():
        dpat.add_fault(path, kind, method=method, **how)


@pytest.mark.parametrize("play", FAULTS.values(), ids=FAULTS)
def test_what_passes_is_sat_out_within_the_first_attempt(
    dpat: Dpat, site: Site, play: Callable[[Dpat, str], None]
) -> None:
    slide_id = dpat.add_slide()
    play(dpat, slide_id)
    answer = dpat.create(slide_id)
    assert answer.ok, answer
    ends_right(dpat, site, slide_id)
    assert not [each for each in dpat.faults() if each.kind != "headers"]


@pytest.mark.parametrize("status", [401, 403, 407])
@pytest.mark.parametrize("path", [r"/files$", r"/results/\d+$", r"/slides/[^/]+/info$"])
def test_a_proxys_page_is_sat_out_and_spends_no_token(dpat: Dpat, site: Site, status: int, path: str) -> None:
    slide_id = dpat.add_slide()
    page = {"Content-Type": "text/html; charset=utf-8", "Server": "squid/5.7"}
    dpat.add_fault(path, "status", status=status, headers=page, count=2)
    dpat.create(slide_id)
    ends_right(dpat, site, slide_id)
    assert not dpat.faults()


@pytest.mark.parametrize("kind", ["close", "cut", "html"])
def test_a_result_whose_answer_was_lost_is_the_one_that_goes_on(dpat: Dpat, site: Site, kind: Any) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault("/results$", kind, method="POST")
    answer = dpat.create(slide_id)
    assert answer.ok, answer
    assert ends_right(dpat, site, slide_id)["id"] == answer.answer["id"]


def heads(dpat: Dpat, slide_id: str) -> list[tuple[int, int]]:
    """Return where each part's head begins in the multipart answer with the slide's files, and how long it is."""
    pieces = [FilePart(file.name, file.path, file.size_bytes) for file in dpat.folder.get(slide_id).files]
    whole = multipart_files(pieces, dpat.options.multipart, f"part-{'x' * 32}")
    found, at = [], 0
    for piece, head in zip(pieces, whole.heads, strict=True):
        found.append((at, len(head)))
        at += len(head) + piece.size_bytes
    return found


@pytest.mark.parametrize("part", [0, 1, 3])
def test_a_connection_cut_in_a_parts_head_is_a_download_to_begin_again(dpat: Dpat, site: Site, part: int) -> None:
    slide_id = dpat.add_slide("immuno-dicom")
    at, length = heads(dpat, slide_id)[part]
    dpat.add_fault("/files$", "cut", after_bytes=at + length // 2)
    dpat.add_fault("/files$", "cut", after_bytes=at + length - 1)
    dpat.create(slide_id)
    ends_right(dpat, site, slide_id)
    sent = [each.bytes_sent for each in dpat.calls() if each.path.endswith("/files")]
    assert sent[:2] == [at + length // 2, at + length - 1]


@pytest.mark.parametrize("like", ["immuno", "immuno-dicom"], ids=["one file", "several files"])
def test_a_download_that_stalls_is_left_to_the_next_attempt_and_the_slide_says_so(
    dpat: Dpat, site: Site, like: str
) -> None:
    slide_id = dpat.add_slide(like)
    dpat.add_fault("/files$", "stall", after_bytes=100_000, seconds=60)
    dpat.create(slide_id)
    ends_right(dpat, site, slide_id, attempts=2)
    waiting = [text for text in shown_texts(dpat, slide_id) if text.startswith("waiting to try again: ")]
    assert [each.rpartition(",")[0] for each in waiting] == [
        "waiting to try again: DPAT stopped sending the slide's files"
    ]
    assert "DPAT stopped sending the slide's files" in told_to_operator(site, slide_id)


@pytest.mark.parametrize("like", ["immuno", "immuno-dicom"], ids=["one file", "several files"])
def test_a_compressed_slide_is_refused_in_words(dpat: Dpat, site: Site, like: str) -> None:
    slide_id = dpat.add_slide(like)
    dpat.add_fault("/files$", "headers", headers={"Content-Encoding": "gzip"})
    dpat.create(slide_id)
    assert dpat.final(slide_id)["displayResult"] == (
        f"failed: DPAT's answer to GET /slides/{slide_id}/files is compressed, which DPAT was not asked for"
    )
    site.job_in(JobState.FAILED, slide_id)
    assert site.keeps_no_slide()


DISPOSITIONS = {
    "no header": "",
    "no name": "attachment",
    "climbing": 'attachment; filename="../../x.tiff"',
    "an absolute path": 'attachment; filename="/tmp/slidehook-was-here.tiff"',
    "a Windows path": 'attachment; filename="C:\\slides\\x.tiff"',
    "300 characters": f'attachment; filename="{"x" * 300}.tiff"',
    "not ASCII": "attachment; filename*=UTF-8''%E7%97%85%E7%90%86%20sn%C3%B6.tiff",
    "not ASCII, as it is": 'attachment; filename="\u75c5\u7406.tiff"',
}


@pytest.mark.parametrize("disposition", DISPOSITIONS.values(), ids=DISPOSITIONS)
def test_a_file_is_analysed_whatever_its_name(dpat: Dpat, site: Site, disposition: str) -> None:
    slide_id = dpat.add_slide()
    before = {path for path in files_below(site.data.parent) if path.suffix == ".tiff"}
    dpat.add_fault("/files$", "parts", dispositions=[disposition])
    dpat.create(slide_id)
    ends_right(dpat, site, slide_id)
    assert {path for path in files_below(site.data.parent) if path.suffix == ".tiff"} == before


def test_parts_are_analysed_whatever_their_names_and_the_boundary_between_them(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide("immuno-dicom")
    names = ["form-data", 'form-data; filename="../../a"', "form-data; filename*=UTF-8''sn%C3%B6", ""]
    dpat.add_fault("/files$", "parts", dispositions=names, boundary="'()+_,-./:=? --x")
    dpat.create(slide_id)
    ends_right(dpat, site, slide_id)


def test_two_parts_of_one_name_are_not_guessed_about(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide("immuno-dicom")
    dpat.add_fault("/files$", "parts", dispositions=["attachment; filename=a.dcm", "attachment; filename=A.dcm"])
    dpat.create(slide_id)
    assert dpat.final(slide_id)["displayResult"] == "failed: DPAT sent two files with one name"
    site.job_in(JobState.FAILED, slide_id)
    assert site.keeps_no_slide()


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault("/files$", "status", status=429, headers={"Retry-After": "2"})
    dpat.create(slide_id)
    ends_right(dpat, site, slide_id)
    first, second = [each.at for each in dpat.calls() if each.path.endswith("/files")]
    assert second - first >= 2


def test_a_server_that_asks_for_a_day_stalls_nobody_who_waits_for_an_answer(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault(f"{slide_id}/info$", "status", status=503, headers={"Retry-After": "86400"}, count=9)
    began = time.monotonic()
    assert dpat.create(slide_id).status == 502
    assert time.monotonic() - began < 60
    assert len(dpat.calls()) == 1
    assert site.jobs(slide_id) == []


def test_a_storm_of_conflicts_at_the_end_costs_an_attempt_and_not_the_result(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault("/files$", "stall", after_bytes=10, seconds=1)
    dpat.create(slide_id)
    wait_for(lambda: not dpat.faults(), "the download has begun")
    dpat.add_fault(UPDATE, "status", status=409, count=1000, method="PATCH")
    site.job_in(JobState.PARKED, slide_id)
    dpat.clear_faults()
    ends_right(dpat, site, slide_id, attempts=2)
    assert "keeps changing" in told_to_operator(site, slide_id)


def test_a_job_outlasts_a_dpat_that_is_away_however_few_attempts_it_has(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(max_attempts="1")
    site.start_web()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    dpat.stop()
    worker = site.start_worker()
    wait_for(lambda: worker.text().count("again later") == 1, "an attempt has met nobody", within_s=WITHIN_S)
    assert "DPAT can't be reached" in told_to_operator(site, slide_id)
    dpat.start()
    ends_right(dpat, site, slide_id)


def test_a_result_that_the_user_deleted_is_not_made_anew_and_its_job_stops(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(demo_seconds="9")  # the next update, which finds nothing to update, comes 3 s later
    site.start_web()
    worker = site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    number = dpat.create(slide_id).answer["id"]
    wait_for(lambda: "percent=60" in worker.text(), "the app computes")
    dpat.result_store.delete(number)
    site.job_in(JobState.CANCELLED, slide_id)
    assert dpat.results(APP, slide_id) == []


@pytest.mark.parametrize("status", [500, 503])
def test_what_dpat_refuses_for_one_slide_alone_fails_visibly_when_the_attempts_are_used_up(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], status: int
) -> None:
    site = new_site(max_attempts="1")
    site.start_web()
    site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.add_fault("/files$", "status", status=status, count=1000)
    dpat.create(slide_id)
    final = dpat.final(slide_id, within_s=WITHIN_S)
    assert final["displayResult"] == f"failed: DPAT answered {status} to GET /slides/{slide_id}/files"
    site.job_in(JobState.FAILED, slide_id)


@pytest.mark.parametrize("imported", [False, True], ids=["asked for", "imported"])
def test_a_result_that_dpat_stores_late_comes_to_the_same_end_as_the_second_one(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], imported: bool
) -> None:
    site = new_site(read_timeout="1s", demo_seconds="6")
    site.start_web()
    site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.add_fault("/results$", "delay", method="POST", seconds=5)
    answer = dpat.notify(slide_id)[0] if imported else dpat.create(slide_id)
    assert answer.status == 504
    site.job_in(JobState.DONE, slide_id)
    both = [(each["displayResult"], each["history"][0]["displayResult"]) for each in dpat.results(APP, slide_id)]
    assert both == [(ANSWER, "analysis started, 5 %"), (ANSWER, "analysis queued, 0 %")]
