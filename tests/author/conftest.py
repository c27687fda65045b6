"""What the app author's side is tested with."""

from __future__ import annotations

import pytest

from slidehook.app import App
from slidehook.geometry import Frame
from slidehook.jobs.job import Job, new_job_id
from slidehook.models import WholeSlideInput
from slidehook.settings import Settings
from tests.author.sample_apps import Good


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None)


@pytest.fixture
def app() -> App:
    return Good()


@pytest.fixture
def frame() -> Frame:
    return Frame(2000, 1000)


@pytest.fixture
def job() -> Job:
    return Job(
        id=new_job_id(1),
        app_id="good",
        slide_id="S-1",
        created_at=0,
        trigger="user",
        input=WholeSlideInput(),
        context={"mode": "fast"},
        system="dpat",
        address="http://127.0.0.1:1/v1",
        secret="t",
    )
