"""Bearer tokens: in private files of the queue while a job needs them, and nowhere else, ever."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable
from pathlib import Path

import requests

from slidehook.jobs.job import JobState
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import files_below, traces


def public_files(folder: Path) -> list[str]:
    """Return the files that others than their owner may use."""
    files = files_below(folder)
    assert files
    found = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if mode & 0o777 != 0o600:
                found.append(f"{stat.filemode(mode)} {path}")
    return found


def test_tokens_are_in_private_files_only_and_gone_when_the_jobs_have_ended(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(max_attempts="1")
    site.start_web()
    dpat = new_dpat(site)
    good, bad, imported = dpat.add_slide(), dpat.add_slide(), dpat.add_slide()
    bodies = [dpat.body(each) for each in (good, good, bad, imported)]
    tokens = [each["callbackInfo"]["token"] for each in bodies]
    for body in bodies[:3]:
        assert site.post(body).status_code == 200
    notification = bodies[3] | {"action": "newImageFiles", "imageInfo": dpat.image_record(imported)}
    assert site.post(notification, "/imagenotification").status_code == 200
    assert {each for held in traces(site.queue, *tokens).values() for each in held} == set(tokens)
    assert public_files(site.queue) == []

    dpat.add_fault(f"{bad}/files", "html", count=100)
    worker = site.start("worker_run.sh", "--drain")
    assert worker.ended() == 0
    assert dpat.final(good)["displayResult"] == dpat.final(imported)["displayResult"] == "ANSWER: 42"
    site.job_in(JobState.DONE, good)
    site.job_in(JobState.FAILED, bad)
    assert public_files(site.queue) == []
    for folder in (site.queue, site.data, site.logs):
        assert traces(folder, *tokens) == {}


def test_no_token_is_in_a_log_or_an_answer_whatever_goes_wrong(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site()
    site.start_web()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    bodies = [
        dpat.body(slide_id),
        dpat.body(slide_id, action="explode"),
        dpat.body(slide_id, input={"type": "freehand"}),
        dpat.body("no such slide"),
    ]
    foreign = dpat.body(slide_id)
    foreign["callbackInfo"]["url"] = "http://192.0.2.1/v1"
    strange = dpat.body(slide_id)
    strange["callbackInfo"]["token"] = strange_token = "tök\r\nen: " + dpat.token()
    bodies += [foreign, strange]
    tokens = [each["callbackInfo"]["token"] for each in bodies]
    dpat.add_fault(f"{slide_id}/info", "status", status=401)
    texts = [site.post(body).text for body in bodies]
    texts += [requests.get(site.url + page, timeout=90).text for page in ("/", "/healthz", "/nowhere")]
    html = requests.get(f"{site.url}/", headers={"Accept": "text/html"}, timeout=90)
    assert html.ok
    logged = site.programs[0].text()
    assert "request refused" in logged
    for text in (*texts, html.text, logged):
        assert [each for each in (*tokens, strange_token.split()[-1]) if each in text] == []


def test_the_processes_of_apps_have_no_setting_in_their_environment(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    secrets = {"dpat_user": "canary-user", "dpat_password": "canary-password"}
    site = new_site(**secrets)
    site.start_web()
    worker = site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    assert site.post(dpat.body(slide_id)).status_code == 200
    site.job_in(JobState.DONE, slide_id)
    children = worker.children()
    assert children
    for pid in children:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"\0SLIDEHOOK_" not in b"\0" + environment
        assert b"canary" not in environment
