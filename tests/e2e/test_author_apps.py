"""Apps of somebody else's package, installed beside slidehook: what they get, and what becomes of what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slidehook.jobs.job import JobState
from slidehook.simulator.invoking import Answer
from slidehook.simulator.options import Options
from tests.e2e.conftest import Dpat, Site, running_site
from tests.e2e.running import wait_for

WIDTH, HEIGHT = 6144, 4608
"""The sample slide's size in level-0 pixels."""
PACKAGE = """
from slidehook import (
    App, AppError, Button, Gallery, MultiArea, PixelPoint, Quality, Result, TaggedPolygon
)


class Areas(App):
    id = "areas"
    name = "Areas"
    input = MultiArea()

    def analyze(self, slide, progress):
        result = Result(f"{len(slide.regions)} regions")
        for number, region in enumerate(slide.regions, 1):
            result.properties[f"Area {number} (px)"] = region.area_px
            result.polygon(region.points, colour="#107C10")
        return result


class Tagged(Areas):
    id = "tagged"
    name = "Tagged"
    input = TaggedPolygon(tags=["tumour", "stroma"])

    def analyze(self, slide, progress):
        result = super().analyze(slide, progress)
        result.text = f"{slide.tag}: {result.text}"
        return result


class Recount(App):
    id = "recount"
    name = "Recount"
    needs = ()

    def analyze(self, slide, progress):
        gallery = Gallery(["positive", "negative"], buttons=[Button("recount", "Recount")])
        for number in range(4):
            gallery.add("negative", PixelPoint(1000 + number, 500), sort_key=number)
        return Result("0 % positive", {"Positive (%)": 0}, gallery=gallery)

    def on_modify(self, result):
        if "recount" not in result.pressed:
            raise AppError("press the button")
        percent = 100 * result.gallery.counts()["positive"] / len(result.gallery.patches)
        return Result(f"{percent:.0f} % positive", {"Positive (%)": percent}, gallery=result.gallery)


class Case(App):
    id = "case"
    name = "Case"
    needs = ["thumbnail"]

    def analyze(self, slide, progress):
        return Result(f"{len(slide.case())} slides", {"First": sorted(each.id for each in slide.case())[0]})


class Judge(App):
    id = "judge"
    name = "Judge"
    needs = ()

    def analyze(self, slide, progress):
        return Result("bad", quality=Quality.REJECTED)


class Faulty(App):
    id = "faulty"
    name = "Faulty"
    needs = ()

    def analyze(self, slide, progress):
        import logging

        print("first it prints")
        logging.getLogger("faulty").warning("then it logs")
        token = slide._origin._client._auth._source.secret()
        raise LookupError("no such thing as " + token + " \\x07")


class Segfault(App):
    id = "segfault"
    name = "Segfault"
    needs = ()

    def analyze(self, slide, progress):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGSEGV)
"""
APPS = {"areas": "Areas", "tagged": "Tagged", "recount": "Recount", "case": "Case", "judge": "Judge"} | {
    "faulty": "Faulty",
    "segfault": "Segfault",
}
TRIANGLE = [(0.25, 0.25), (0.5, 0.25), (0.5, 0.5)]
BOW_TIE = [(0.1, 0.1), (0.2, 0.2), (0.2, 0.1), (0.1, 0.2)]


@pytest.fixture(scope="module")
def author_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A webserver and a worker that find the package above beside slidehook."""
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "author_apps.py").write_text(PACKAGE)
    about = folder / "author_apps-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: author-apps\nVersion: 1.0\n")
    points = "".join(f"{name} = author_apps:{cls}\n" for name, cls in APPS.items())
    (about / "entry_points.txt").write_text(f"[slidehook.apps]\n{points}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with running_site(tmp_path_factory.mktemp("authors"), max_attempts="1", web_processes="1") as site:
            site.start_web()
            site.start_worker()
            yield site


class Users:
    """Users of the author's apps at one DPAT."""

    def __init__(self, dpat: Dpat, site: Site) -> None:
        self.dpat = dpat
        self.site = site
        for name in APPS:
            dpat.register(f"{site.url}/apps/{name}")
            dpat.enable(name)

    def draw(self, app: str, slide_id: str, *polygons: list[tuple[float, float]], **content: Any) -> Answer:
        """Draw polygons, in result coordinates, and have them analysed."""
        points = [{"points": [{"x": x, "y": y} for x, y in polygon]} for polygon in polygons]
        if app == "tagged":
            drawn = {"type": "taggedPolygon", "content": {"polygon": points[0], **content}}
        else:
            drawn = {"type": "multiArea", "content": {"polygons": points}}
        return self.dpat.invoke(app, slide_id, input=drawn)

    def finals(self, app: str, slide_id: str, count: int) -> list[dict[str, Any]]:
        """Wait for the results that the app has on the slide, none of them queued or in progress.

        Each test waits for all its jobs: the worker would look for their DPAT while the next test waits.
        """

        def ended() -> bool:
            results = self.dpat.results(app, slide_id)
            return len(results) == count and all("Progress (%)" not in each["displayProperties"] for each in results)

        assert self.dpat.wait_until(ended, 30), self.dpat.results(app, slide_id)
        return self.dpat.results(app, slide_id)

    def final(self, app: str, slide_id: str) -> dict[str, Any]:
        """Wait for the one result that the app has on the slide."""
        (result,) = self.finals(app, slide_id, 1)
        return result


@pytest.fixture
def users(author_site: Site, new_dpat: Callable[..., Dpat]) -> Users:
    return Users(new_dpat(author_site), author_site)


@pytest.fixture
def users_of(author_site: Site, new_dpat: Callable[..., Dpat]) -> Callable[[str], Users]:
    """Users at a DPAT of another version."""
    return lambda version: Users(new_dpat(author_site, Options(strict=True, api_version=version)), author_site)


def shown(result: dict[str, Any]) -> Any:
    return result["data"]["result"]["content"]


# --- regions


def test_what_a_user_draws_reaches_the_app_in_pixels(users: Users) -> None:
    slide_id = users.dpat.add_slide()
    square = [(0.5, 0.5), (0.625, 0.5), (0.625, 0.625), (0.5, 0.625)]
    answer = users.draw("areas", slide_id, TRIANGLE, square)
    result = users.final("areas", slide_id)
    assert answer.ok, answer
    assert answer.answer["id"] == result["id"]
    assert result["displayResult"] == "2 regions"
    found = {name: value for name, value in result["displayProperties"].items() if name.startswith("Area ")}
    assert found == {"Area 1 (px)": (WIDTH / 4) ** 2 / 2, "Area 2 (px)": (WIDTH / 8) ** 2}
    (item,) = shown(result)
    drawn = [[(point["x"], point["y"]) for point in polygon["points"]] for polygon in item["polygons"]]
    assert drawn == [TRIANGLE, square]


def test_other_regions_on_the_slide_get_a_result_of_their_own(users: Users) -> None:
    slide_id = users.dpat.add_slide()
    first = users.draw("areas", slide_id, TRIANGLE)
    again = users.draw("areas", slide_id, [(x + 0.1, y) for x, y in TRIANGLE])
    assert first.ok
    assert again.ok
    found = users.finals("areas", slide_id, 2)
    assert [each["id"] for each in found] == [first.answer["id"], again.answer["id"]]


def test_a_polygon_comes_with_the_tag_that_the_user_gave_it(users: Users) -> None:
    slide_id = users.dpat.add_slide()
    assert users.draw("tagged", slide_id, TRIANGLE, tags=["tumour", "stroma"], tagIndex=1).ok
    assert users.final("tagged", slide_id)["displayResult"] == "stroma: 1 regions"


@pytest.mark.parametrize(
    ("app", "polygons", "content", "reason"),
    [
        ("areas", [TRIANGLE, TRIANGLE[:2]], {}, "Region 2 needs at least three different points."),
        ("areas", [BOW_TIE], {}, "The region crosses itself: draw it without crossings, or as separate regions."),
        ("areas", [[(x + 1, y) for x, y in TRIANGLE]], {}, "The region lies outside the slide."),
        ("areas", [[(x, y + HEIGHT / WIDTH) for x, y in TRIANGLE]], {}, "The region lies outside the slide."),
        ("areas", [], {}, "No region was drawn."),
        ("tagged", [TRIANGLE[:2]], {"tagIndex": 0}, "The region needs at least three different points."),
        ("tagged", [TRIANGLE], {"tagIndex": 2}, "The tagIndex is 2, but there are 2 tags."),
        ("tagged", [TRIANGLE], {"tags": ["fat"], "tagIndex": 0}, "'fat' is not one of the app's tags"),
    ],
)
def test_what_is_no_region_is_answered_with_a_sentence_and_queues_nothing(
    users: Users, app: str, polygons: list[Any], content: dict[str, Any], reason: str
) -> None:
    slide_id = users.dpat.add_slide()
    answer = users.draw(app, slide_id, *polygons, **content)
    assert answer.status == 400
    assert reason in answer.answer["error"]
    assert users.dpat.results(app, slide_id) == []
    assert users.site.jobs(slide_id) == []


# --- galleries


@pytest.fixture
def gallery(users: Users) -> str:
    """A slide with four patches, all of them negative."""
    slide_id = users.dpat.add_slide()
    users.dpat.invoke("recount", slide_id)
    assert shown(users.final("recount", slide_id))["tags"] == ["positive", "negative"]
    return slide_id


def test_patches_that_were_moved_are_counted_when_the_button_is_pressed(users: Users, gallery: str) -> None:
    before = users.final("recount", gallery)
    users.dpat.clear_calls()
    answer = users.dpat.invoke(
        "recount", gallery, "modify", moved={0: "positive", 3: "positive"}, pressed=["recount"]
    )
    after = users.final("recount", gallery)
    assert answer.ok, answer
    assert answer.answer["versionId"] == after["versionId"] != before["versionId"]
    assert (after["displayResult"], after["displayProperties"]["Positive (%)"]) == ("50 % positive", 50)
    assert "Analysed area (mm²)" in after["displayProperties"]
    assert [each["tag"] for each in shown(after)["patches"]] == [0, 1, 1, 0]
    assert [each["state"] for each in shown(after)["actions"]] == [0]
    assert [each["position"] for each in shown(after)["patches"]] == [
        each["position"] for each in shown(before)["patches"]
    ]
    assert after["data"]["context"] == before["data"]["context"]
    assert len(users.dpat.calls()) <= 3


def test_an_update_that_the_app_refuses_keeps_the_users_change_and_says_so(users: Users, gallery: str) -> None:
    answer = users.dpat.invoke("recount", gallery, "modify", moved={0: "positive"})
    after = users.final("recount", gallery)
    assert answer.ok, answer
    assert after["displayResult"] == "update failed: press the button"
    assert after["displayProperties"]["Positive (%) (before the change)"] == 0
    assert "Positive (%)" not in after["displayProperties"]
    assert [each["tag"] for each in shown(after)["patches"]] == [0, 1, 1, 1]


def test_an_app_that_needs_nothing_has_nothing_fetched(users: Users, gallery: str) -> None:
    assert [each.path for each in users.dpat.calls() if "/files" in each.path or "/images/" in each.path] == []


# --- the case, and quality control


def test_an_app_sees_the_other_slides_of_the_case(users: Users) -> None:
    first = users.dpat.add_slide(accessionNumber="A-1")
    second = users.dpat.add_slide(accessionNumber="A-1")
    users.dpat.add_slide(accessionNumber="A-2")
    users.dpat.invoke("case", first)
    result = users.final("case", first)
    assert result["displayResult"] == "2 slides"
    assert result["displayProperties"]["First"] == min(first, second)


def test_an_older_dpat_tells_no_case_and_the_slide_says_so(users_of: Callable[[str], Users]) -> None:
    users = users_of("1.8")
    slide_id = users.dpat.add_slide(accessionNumber="A-1")
    users.dpat.invoke("case", slide_id)
    text = users.final("case", slide_id)["displayResult"]
    assert text.startswith("failed: ")
    assert "1.9" in text


def test_an_app_sets_the_slides_quality(users: Users) -> None:
    slide_id = users.dpat.add_slide()
    users.dpat.invoke("judge", slide_id)
    assert users.final("judge", slide_id)["displayResult"] == "bad"
    assert users.dpat.wait_until(
        lambda: users.dpat.image_record(slide_id)["qualityControl"]["status"] == "Rejected", 10
    )


def test_an_older_dpat_has_no_quality_control_and_the_log_says_so(users_of: Callable[[str], Users]) -> None:
    users = users_of("1.9")
    slide_id = users.dpat.add_slide()
    users.dpat.invoke("judge", slide_id)
    assert users.final("judge", slide_id)["displayResult"] == "bad"
    job_id = users.site.jobs(slide_id)[0].record.job.id
    worker = users.site.programs[-1]

    def skipped() -> bool:
        lines = [line for line in worker.text().splitlines() if "quality control skipped" in line]
        return any(job_id in line for line in lines)

    wait_for(skipped, "the log says that quality control was skipped")
    assert [each for each in users.dpat.calls() if each.path.endswith("/qualityControl")] == []


def test_an_apps_fault_is_in_the_log_and_in_the_jobs_history_with_its_traceback(users: Users) -> None:
    slide_id = users.dpat.add_slide()
    users.dpat.invoke("faulty", slide_id)
    assert users.final("faulty", slide_id)["displayResult"].startswith("failed: the app has a fault: LookupError")
    job = users.site.job_in(JobState.FAILED, slide_id)
    told = users.site.types("jobs", "show", job.record.job.id)
    log = users.site.programs[1].text()
    for text in (told, log):
        assert "Traceback (most recent call last)" in text
        assert "author_apps.py" in text
        assert "LookupError: no such thing as … \\x07" in text
        assert "\x07" not in text
    printed = [line for line in log.splitlines() if "| first it prints" in line or "| then it logs" in line]
    assert len(printed) == 2
    assert all(f"job={job.record.job.id}" in line for line in printed)


def test_an_app_that_native_code_kills_leaves_its_stack_in_the_log(users: Users) -> None:
    slide_id = users.dpat.add_slide()
    users.dpat.invoke("segfault", slide_id)
    assert "SIGSEGV" in users.final("segfault", slide_id)["displayResult"]
    lines = [line for line in users.site.programs[1].text().splitlines() if "author_apps.py" in line]
    job_id = users.site.job_in(JobState.FAILED, slide_id).record.job.id
    assert any("in analyze" in line and f"job={job_id}" in line for line in lines)
