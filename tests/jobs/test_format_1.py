"""A queue that the version before format 2 left is read, claimed, ended, listed, tried again and cancelled."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from slidehook.dpat.deleted_result import DeletedResult
from slidehook.dpat.noted_result import NotedResult
from slidehook.errors import JobDamaged
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.job import BLANK, AttemptEnded, Ended, Job, JobState, Noted, digest, parse_job
from slidehook.kernel import boot_id
from tests.jobs.format_1 import FILES, LINKS
from tests.jobs.making import Clock, make_job
from tests.stopping import stop_deleted

DPAT = "http://dpat.example/sectra/api"
NO_PID = 2**22 + 1
"""No process has this id: it is above the largest that Linux gives."""
IDS = {json.loads(text.split("\n")[0])["slide_id"]: json.loads(text.split("\n")[0])["id"]
       for text in FILES.values() if text.startswith("{")}  # fmt: skip
LIVE = {"waiting", "waiting-import", "parked-access", "parked-retry", "active", "held", "ending"}


class Site:
    """The old queue directory as one webserver and one worker of this version see it, with every old process dead."""

    def __init__(self, root: Path) -> None:
        self.root = root
        dead = {role.upper(): f"{role}-host-{boot_id()}-{NO_PID}-00000001" for role in ("web", "work")}
        for name, text in FILES.items():
            path = root / name.replace("WEB", dead["WEB"]).replace("WORK", dead["WORK"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for alias, name in LINKS.items():
            path = root / alias
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(root / name.replace("WEB", dead["WEB"]).replace("WORK", dead["WORK"]), path)
        self.clock = Clock()
        self.web = FileQueue(root, "web", clock=self.clock)
        self.work = FileQueue(root, "work", clock=self.clock)
        self.source = FileSource(self.work, max_attempts=3, take_over_every_s=0)
        self.admin = FileQueueAdmin(self.web)

    def close(self) -> None:
        self.source.close()
        self.web.close()
        self.work.close()

    def claims(self) -> dict[str, FileClaim]:
        """Claim all there is, by slide."""
        claims: dict[str, FileClaim] = {}
        while (claim := self.source.claim()) is not None:
            claims[claim.job.slide_id] = claim
        return claims

    def state_of(self, slide_id: str) -> JobState:
        return self.admin.show(IDS[slide_id])[0].state

    def text_of(self, slide_id: str) -> str:
        path, _ = self.admin.find(IDS[slide_id])
        return Path(path).read_text(encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(Site(tmp_path / "queue")) as site:
        yield site


def same_work(slide_id: str) -> Job:
    """The same work as an old job, as this version asks for it."""
    return make_job(slide_id, dpat=DPAT, token="new")


def test_every_old_job_is_listed_in_its_state_and_shown(site: Site) -> None:
    expected = {slide: JobState(slide.partition("-")[0]) for slide in IDS if slide != "held"} | {
        "held": JobState.ACTIVE
    }

    assert {each.job_id: each.state for each in site.admin.list()} == {
        IDS[key]: each for key, each in expected.items()
    }
    assert site.admin.counts()["damaged"] == 0
    for slide_id, job_id in IDS.items():
        record = site.admin.show(job_id)[1]
        assert (record.job.slide_id, record.job.system, record.job.address) == (slide_id, "dpat", DPAT)
        assert record.job.also == ()
        assert record.job.trigger == ("import" if slide_id in {"ending", "waiting-import"} else "user")
        assert record.job.has_secret == (slide_id in LIVE)
    assert site.admin.show(IDS["active"])[1].job.context == {"secret": "x"}


def test_old_results_read_as_what_was_noted(site: Site) -> None:
    record = site.admin.show(IDS["parked-access"])[1]

    assert [(each.attempt, each.noted) for each in record.events if isinstance(each, Noted)] == [
        (0, {"id": 104, "version_id": 1, "in_doubt": True}),
        (1, {"id": 104, "version_id": 2, "in_doubt": False}),
    ]
    assert NotedResult.read(record.noted) == NotedResult(id=104, version_id=2)
    assert NotedResult.read(site.admin.show(IDS["parked-retry"])[1].noted) is None


def test_an_old_imports_image_record_counts_as_before(site: Site) -> None:
    info = site.admin.show(IDS["waiting-import"])[1].image_info

    assert info is not None
    assert info.image_size is not None
    assert (info.image_size.width, info.image_size.height) == (1000, 800)


def test_every_live_old_job_is_claimed_or_ended_and_its_secret_blanked(site: Site) -> None:
    site.clock.move(3600)

    claims = site.claims()

    assert set(claims) == LIVE - {"ending", "parked-access"}
    assert site.state_of("ending") is JobState.DONE
    assert claims["waiting"].secret() == "a newer one"
    assert claims["held"].secret() == "token-of-held"
    assert (claims["active"].attempt, claims["held"].attempt) == (2, 1)
    ended = [each for each in claims["active"].record.events if isinstance(each, AttemptEnded)]
    assert [each.reason for each in ended] == ["the worker died"]
    for slide_id, claim in claims.items():
        claim.note({"id": 9, "version_id": 9, "in_doubt": False})
        claim.finish(JobState.DONE, "3 mm²", 1.0)
        record = site.admin.show(IDS[slide_id])[1]
        assert isinstance(record.events[-1], Ended)
        assert record.noted == {"id": 9, "version_id": 9, "in_doubt": False}
        assert set(record.job.secret) == {BLANK}
        assert "token-of" not in site.text_of(slide_id)
    assert "token-of" not in site.text_of("ending")
    assert '"context":{"secret":"x"}' in site.text_of("active")


@pytest.mark.parametrize("slide_id", sorted(LIVE - {"ending"}))
def test_a_new_request_joins_the_same_old_work(site: Site, slide_id: str) -> None:
    hold = site.web.hold(same_work(slide_id))

    assert hold.coalesced
    assert hold.job.id == IDS[slide_id]
    site.clock.move(3600)
    assert site.claims()[slide_id].secret() == "new"


@pytest.mark.parametrize("slide_id", ["waiting", "waiting-import", "parked-access", "parked-retry"])
def test_an_old_job_that_waits_is_cancelled_by_its_token(site: Site, slide_id: str) -> None:
    cancelled = site.web.cancel(digest(f"cancel-{slide_id}"))

    assert cancelled is not None
    assert cancelled.record is not None
    assert site.state_of(slide_id) is JobState.CANCELLED
    assert "token-of" not in site.text_of(slide_id)


def test_a_running_old_jobs_next_worker_is_told_of_the_cancel(site: Site) -> None:
    cancelled = site.web.cancel(digest("cancel-active"))

    assert cancelled is not None
    assert cancelled.record is None
    assert site.claims()["active"].cancel_wanted()


def test_a_failed_old_job_is_tried_again(site: Site) -> None:
    site.admin.retry(IDS["failed"])

    claim = site.claims()["failed"]
    assert (claim.attempt, claim.secret()) == (1, None)
    assert claim.record.noted == {"id": 102, "version_id": 1, "in_doubt": True}
    assert site.web.hold(same_work("failed")).job.id == IDS["failed"]


def test_the_user_deletes_an_old_jobs_result(site: Site) -> None:
    deleted = DeletedResult(DPAT, "tissue-area", "waiting", 109, whole_slide=True)

    assert stop_deleted(site.web, deleted) == [IDS["waiting"]]

    assert site.state_of("waiting") is JobState.CANCELLED


def test_an_old_line_with_a_fault_is_damage_and_does_not_show_the_token() -> None:
    line = next(text for text in FILES.values() if "token-of-held" in text).encode()

    for wrong in (
        line.replace(b'"callback_url":', b'"other":'),
        line.replace(b'"origin":"user"', b'"origin":"received"'),
        line.replace(b'"priority":5', b'"priority":10'),
    ):
        with pytest.raises(JobDamaged, match=r"can't be read: .+: .+") as caught:
            parse_job(wrong)
        assert "token-of" not in str(caught.value)


def test_another_systems_work_has_another_key() -> None:
    job = same_work("S-1")

    assert job.key == digest(DPAT, "tissue-area", "S-1", '{"type":"wholeSlide"}')
    assert job.model_copy(update={"system": "dicom"}).key != job.key
