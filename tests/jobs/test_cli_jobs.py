"""`slidehook jobs`, as an operator types it while the queue is in use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slidehook.cli.jobs import fair_shares
from slidehook.cli.main import main
from slidehook.dpat.marks import JOB_MARK, PROGRESS
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.job import Job, JobState
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.jobs.making import make_job
from tests.simulator.tiny_app import TinyApp


class Desk:
    """A queue in use, and an operator beside it."""

    def __init__(self, root: Path) -> None:
        self.web, self.work = FileQueue(root, "web"), FileQueue(root, "work")
        self.source = FileSource(self.work, max_attempts=3)

    def put(self, slide_id: str, **values: Any) -> Job:
        return self.web.put(make_job(slide_id, **values))

    def claim(self) -> FileClaim:
        claim = self.source.claim()
        assert claim is not None
        return claim

    def failed(self, slide_id: str) -> Job:
        job = self.put(slide_id)
        self.claim().finish(JobState.FAILED, "the slide can't be read", 1.5)
        return job

    def types(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["jobs", *words])

    def reads(self, *words: str) -> Any:
        result = self.types(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("SLIDEHOOK_QUEUE_DIR", str(tmp_path / "queue"))
    desk = Desk(tmp_path / "queue")
    yield desk
    desk.source.close()
    desk.web.close()
    desk.work.close()


def test_a_list_shows_jobs_at_work_then_those_that_wait_in_order_then_ended_ones(desk: Desk) -> None:
    done = desk.put("S-1")
    desk.claim().finish(JobState.DONE)
    running = desk.put("S-2")
    desk.claim()
    later, sooner = desk.put("S-3"), desk.put("S-4", priority=0)
    shown = desk.types("list")
    assert shown.exit_code == 0
    places = [shown.output.index(job.id) for job in (running, sooner, later, done)]
    assert places == sorted(places)
    assert "1 active, 2 waiting, 1 done" in shown.output


def test_a_list_is_filtered_by_state_and_app_and_limited(desk: Desk) -> None:
    first, second = desk.put("S-1", app_id="nuclei"), desk.put("S-2", app_id="focus")
    failed = desk.put("S-0", priority=0)
    desk.claim().finish(JobState.FAILED)
    assert [each["id"] for each in desk.reads("list", "--state", "failed")["jobs"]] == [failed.id]
    assert [each["id"] for each in desk.reads("list", "--state", "live")["jobs"]] == [first.id, second.id]
    assert [each["id"] for each in desk.reads("list", "--app", "focus")["jobs"]] == [second.id]
    limited = desk.types("list", "--limit", "1")
    assert first.id in limited.output
    assert "2 more are not shown; --all shows them" in limited.output
    assert len(desk.reads("list", "--limit", "1", "--all")["jobs"]) == 3


def test_an_empty_queue_is_said_to_be_empty(desk: Desk) -> None:
    assert desk.types("list").output == "no jobs\nno worker is running; start ./worker_run.sh\n"
    desk.put("S-1")
    desk.claim()
    assert "no worker" not in desk.types("list").output
    assert len(desk.reads("list")["workers"]) == 1


def test_a_list_shows_the_slide_the_reason_and_how_long_it_took(desk: Desk) -> None:
    desk.failed("S-1")
    desk.put("S-2\x1b[31m")
    desk.claim().retry("DPAT is away", 600)
    output = desk.types("list").output
    failed, parked = [next(line for line in output.splitlines() if slide in line) for slide in ("S-1", "S-2")]
    assert "1.5 s" in failed
    assert "the slide can't be read" in failed
    assert "DPAT is away" in parked
    assert " s so far" in parked
    assert "\x1b" not in output
    assert {each["slide"]: (each["reason"], each["seconds"]) for each in desk.reads("list")["jobs"]} == {
        "S-1": ("the slide can't be read", 1.5),
        "S-2\x1b[31m": ("DPAT is away", None),
    }


def test_failed_jobs_stay_in_sight_behind_many_that_wait(desk: Desk) -> None:
    failed = [desk.failed(f"S-{number}") for number in range(3)]
    waiting = [desk.put(f"W-{number}") for number in range(60)]
    output = desk.types("list").output
    assert all(job.id in output for job in (*failed, waiting[0], waiting[46]))
    assert waiting[47].id not in output
    assert "13 more are not shown" in output


@pytest.mark.parametrize(
    ("counts", "limit", "shares"),
    [
        ([500, 3, 900], 50, [23, 3, 24]),
        ([2, 1], 1, [1, 0]),
        ([0, 0], 5, [0, 0]),
        ([5, 5], None, [5, 5]),
        ([1, 1, 1, 100], 50, [1, 1, 1, 47]),
    ],
)
def test_each_state_has_its_share_of_a_list(counts: list[int], limit: int | None, shares: list[int]) -> None:
    assert fair_shares(counts, limit) == shares


def test_jobs_are_chosen_by_slide_app_and_state(desk: Desk) -> None:
    failed = [desk.failed("S-1"), desk.failed("S-2")]
    waiting = desk.put("S-1", app_id="focus")
    assert [each["id"] for each in desk.reads("list", "--slide", "S-1")["jobs"]] == [waiting.id, failed[0].id]
    assert desk.types("retry", "--slide", "S-2").output == f"job {failed[1].id} waits to run again\n"
    cancelled = desk.types("cancel", "--slide", "S-1", "--app", "focus", "--state", "waiting").output
    assert cancelled.startswith(f"job {waiting.id}: ")
    assert failed[1].id not in cancelled
    assert desk.types("purge", "--days", "0", "--slide", "S-2").output.startswith("removed 0 jobs")
    assert desk.types("purge", "--days", "0", "--slide", "S-1", "--app", "tissue-area").output.startswith(
        "removed 1 "
    )
    assert desk.types("retry", "--state", "failed").output == "no such jobs\n"


@pytest.mark.parametrize("command", ["retry", "cancel"])
@pytest.mark.parametrize("words", [(), ("zz", "--slide", "S-1")])
def test_jobs_are_named_or_chosen(desk: Desk, command: str, words: tuple[str, ...]) -> None:
    desk.failed("S-1")
    result = desk.types(command, *words)
    assert result.exit_code == 2
    assert "Name jobs, or choose them" in result.output
    assert desk.reads("list")["counts"]["failed"] == 1


def test_one_job_that_can_not_be_retried_keeps_no_other_from_it(desk: Desk) -> None:
    failed = desk.failed("S-1")
    result = desk.types("retry", "zz", failed.id)
    assert result.exit_code == 1
    assert f"job {failed.id} waits to run again" in result.output


def test_an_apps_traceback_is_shown_with_its_attempt(desk: Desk) -> None:
    job = desk.put("S-1")
    desk.claim().retry("the app has a fault", 0, trace="Traceback:\n  first\x1b[31m")
    desk.claim().finish(JobState.FAILED, "the app has a fault", 1.5, trace="Traceback:\n  second")
    lines = desk.types("show", job.id).output.splitlines()
    assert "      first\\x1b[31m" in lines
    assert lines.index("      first\\x1b[31m") < lines.index("      second")
    assert "first" not in desk.types("list").output


def test_one_job_is_shown_with_all_that_happened_to_it_and_without_its_token(desk: Desk) -> None:
    job = desk.put("[S-1]", token="very-secret")
    claim = desk.claim()
    claim.note({"id": 7, "version_id": "v1"})
    claim.finish(JobState.FAILED, "the slide can't be read", 1.5)
    shown = desk.types("show", job.id[:20]).output
    for words in (
        job.id,
        "failed",
        "slide [S-1]",
        "attempt 1 began (work-",
        "result 7 stored",
        "failed in 1.5 s: the slide can't be read",
    ):
        assert words in shown
    assert "very-secret" not in shown + desk.types("show", job.id, "--json").output
    assert [each["event"] for each in desk.reads("show", job.id)["events"]] == ["claimed", "noted", "ended"]


def test_a_job_without_access_is_named_so(desk: Desk) -> None:
    job = desk.put("S-1")
    desk.claim().park("DPAT answered 401")
    assert "waiting for access" in desk.types("list").output
    assert "DPAT answered 401" in desk.types("show", job.id).output
    assert desk.reads("list")["jobs"][0]["waitsForAccess"] is True


def test_a_failed_job_runs_again(desk: Desk) -> None:
    job = desk.failed("S-1")
    assert desk.types("retry", job.id).output == f"job {job.id} waits to run again\n"
    assert desk.claim().job.id == job.id


def test_a_running_job_is_cancelled_by_its_worker(desk: Desk) -> None:
    running = desk.put("S-1")
    claim = desk.claim()
    assert desk.types("cancel", running.id).output == f"job {running.id}: its worker is told to stop\n"
    assert claim.cancel_wanted()


def test_a_waiting_job_is_cancelled_at_once_and_its_slide_says_so(desk: Desk, sample_slides: Path) -> None:
    with Simulator(sample_slides, Options(strict=True)) as dpat, TinyApp() as app:
        app.registration["applicationId"] = "wholeslide"
        dpat.register(app.url)
        waiting = desk.put("immuno", app_id="wholeslide", dpat=dpat.callback_url, token=dpat.token())
        queued = {"slideId": "immuno", "displayResult": "analysis queued, 0 %", "displayProperties": {PROGRESS: 0}}
        dpat.result_store.create("wholeslide", queued)
        mine = queued | {"data": {"context": {JOB_MARK: waiting.id}}}
        dpat.result_store.create("wholeslide", mine)
        assert desk.types("cancel", waiting.id).output == f"job {waiting.id}: cancelled\n"
        assert [each["displayResult"] for each in dpat.results()] == ["analysis queued, 0 %", "cancelled"]
    assert desk.reads("list", "--state", "cancelled")["jobs"][0]["id"] == waiting.id


def test_a_slide_that_can_not_be_told_now_is_left_to_a_worker(desk: Desk) -> None:
    away, unknown = desk.put("S-1", app_id="wholeslide", dpat="http://127.0.0.1:9"), desk.put("S-2")
    said = desk.types("cancel", away.id).output
    assert said == f"job {away.id}: stopped; DPAT can't be reached. A worker tells the slide when DPAT takes it.\n"
    assert "a worker that has the app tissue-area tells the slide" in desk.types("cancel", unknown.id).output
    assert desk.claim().cancel_wanted()
    assert desk.claim().cancel_wanted()


def test_a_job_that_waits_for_access_is_over_when_an_operator_wants_so(desk: Desk, sample_slides: Path) -> None:
    with Simulator(sample_slides, Options(strict=True)) as dpat, TinyApp() as app:
        app.registration["applicationId"] = "wholeslide"
        dpat.register(app.url)
        parked = desk.put("immuno", app_id="wholeslide", dpat=dpat.callback_url, token="expired")
        desk.claim().park("the token has expired")
        said = desk.types("cancel", parked.id).output
    assert said.startswith(f"job {parked.id}: cancelled; its slide could not be told: DPAT answered 401")
    assert desk.reads("list")["counts"]["cancelled"] == 1


def test_a_purge_removes_ended_jobs_of_that_age_and_state_only(desk: Desk) -> None:
    desk.failed("S-1")
    desk.put("S-2")
    desk.claim().finish(JobState.DONE)
    desk.put("S-3")
    assert desk.types("purge").output.startswith("removed 0 jobs that ended over 7 days ago")
    assert desk.types("purge", "--days", "0", "--state", "done").output.startswith("removed 1 jobs")
    assert desk.reads("list")["counts"] | {"waiting": 1, "failed": 1, "done": 0} == desk.reads("list")["counts"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "zz"), "no job has the id zz."),
        (("retry", "zz"), "no job has the id zz."),
        (("cancel", "zz"), "no job has the id zz."),
        (("purge", "--state", "waiting"), "Invalid value"),
        (("list", "--limit", "0"), "Invalid value"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(desk: Desk, words: tuple[str, ...], sentence: str) -> None:
    result = desk.types(*words)
    assert result.exit_code != 0
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_an_ended_job_is_neither_cancelled_nor_done_again(desk: Desk) -> None:
    job = desk.put("S-1")
    desk.claim().finish(JobState.DONE)
    assert "has ended: done" in desk.types("cancel", job.id).output
    assert desk.types("retry", job.id).exit_code == 1


def test_a_queue_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDEHOOK_QUEUE_DIR", str(tmp_path / "nowhere"))
    result = CliRunner().invoke(main, ["jobs", "list"])
    assert result.exit_code == 1
    assert "there is no queue at" in result.output
    assert not (tmp_path / "nowhere").exists()


def test_no_text_of_others_commands_the_terminal_of_an_operator(desk: Desk) -> None:
    words = "a\x1b[31m\x9b32m\u202eb\n2026-01-01 00:00:00  done in 1.0 s\r\x07[red]c"
    job = desk.put(words)
    desk.claim().retry(words, 0)
    desk.claim().finish(JobState.FAILED, words, 1.5)
    for typed in (("list", "--all"), ("show", job.id), ("list", "--json"), ("show", job.id, "--json")):
        output = desk.types(*typed).output
        assert [each for each in output if not each.isprintable() and each != "\n"] == [], typed
    lines = desk.types("show", job.id).output.split("\n")
    assert [line for line in lines if line.startswith("2026-01-01")] == []
    assert r"failed in 1.5 s: a\x1b[31m\x9b32m\u202eb\n2026-01-01 00:00:00  done in 1.0 s\r\x07[red]c" in lines[-2]
