"""DPATs that are not like the usual one: with one version only, and with updates of their own ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slidehook.jobs.job import JobState
from slidehook.simulator.options import Options
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import wait_for
from tests.e2e.test_calls import kinds


@pytest.fixture
def own_site(new_site: Callable[..., Site]) -> Site:
    """A site that has met no DPAT yet."""
    site = new_site(demo_seconds="0", web_processes="2")
    site.start_web()
    site.start_worker()
    return site


@pytest.mark.parametrize("patch", ["merge", "403", "404", "405", "500", "501"])
def test_a_dpat_that_takes_no_patch_gets_every_result_whole(
    own_site: Site, new_dpat: Callable[..., Dpat], patch: Any
) -> None:
    dpat = new_dpat(own_site, Options(strict=True, patch=patch))
    first, second = dpat.add_slide(), dpat.add_slide()
    for slide_id, times in ((first, 1), (second, 1), (first, 2)):
        assert dpat.create(slide_id).ok
        final = dpat.final(slide_id)
        assert final["displayResult"] == "ANSWER: 42"
        assert not {"Status", "Progress (%)"} & final["displayProperties"].keys()
        done = [JobState.DONE] * times
        wait_for(lambda: [each.state for each in own_site.jobs(slide_id)] == done, "the job is done")  # noqa: B023
        if times == 1 and slide_id == first:
            dpat.clear_calls()
    # What the first job's worker has found out, its later jobs and the webserver's processes know.
    assert not [each for each in dpat.calls() if each.method == "PATCH"], kinds(dpat)


def test_a_dpat_of_the_oldest_version_is_never_told_of_a_newer_one(
    own_site: Site, new_dpat: Callable[..., Dpat]
) -> None:
    dpat = new_dpat(own_site, Options(strict=True, api_version="1.5", refuse_newer=True))
    slide_id = dpat.add_slide()
    assert dpat.create(slide_id).ok
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    assert {each.status for each in dpat.calls()} <= {200, 201, 204, 404}, "a call was refused"
