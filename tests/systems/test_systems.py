from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from slidehook.errors import Refused
from slidehook.memory_system import MemorySystem
from slidehook.settings import Settings
from slidehook.systems import GROUP, Systems


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None)


@pytest.mark.parametrize("name", ["dpat", "folder", "memory"])
def test_a_system_is_found_by_its_entry_point_and_opened_once(settings: Settings, name: str) -> None:
    systems = Systems(settings)
    assert systems[name].name == name
    assert systems[name] is systems[name]


def test_every_entry_point_has_the_name_of_its_system(settings: Settings) -> None:
    for point in entry_points(group=GROUP):
        assert point.load()(settings, lambda _: None).name == point.name


def test_a_system_that_is_not_installed_fails_the_job(settings: Settings) -> None:
    with pytest.raises(Refused, match="there is no system 'elsewhere' on this host"):
        Systems(settings)["elsewhere"]


def test_a_test_may_put_a_system_of_its_own_in_the_place_of_one(settings: Settings) -> None:
    mine = MemorySystem()
    assert Systems(settings, opened={"dpat": mine})["dpat"] is mine
