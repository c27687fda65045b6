"""What the registry makes of apps that rest on another one, and of parameters that a site has tuned."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from slidehook.app import App
from slidehook.registry.dependencies import DependencyMissing
from slidehook.registry.params import params_path
from slidehook.registry.registry import GROUP, Registry, load_apps
from slidehook.settings import Settings
from tests.author.resting_apps import Hen, Top, TunedParams


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path)


def load(settings: Settings, *names: str) -> Registry:
    return load_apps(settings, [EntryPoint(name, f"tests.author.resting_apps:{name}", GROUP) for name in names])


def reasons(registry: Registry) -> dict[str, str]:
    return {each.app_id: each.reason for each in registry.broken}


def ids(apps: list[App]) -> list[str]:
    return [each.id for each in apps]


def test_what_an_app_rests_on_comes_first_whatever_the_order_of_loading(settings: Settings) -> None:
    registry = load(settings, "Top", "Middle", "Ground")
    assert not registry.broken
    assert ids(registry.before(registry["top"])) == ["ground", "middle"]
    assert ids(registry.before(registry["middle"])) == ["ground"]
    assert registry.before(registry["ground"]) == []


def test_an_app_that_rests_on_one_that_is_not_there_is_broken_and_so_is_what_rests_on_it(settings: Settings) -> None:
    registry = load(settings, "Ground", "OnNothing", "OnOnNothing")
    assert list(registry) == ["ground"]
    assert reasons(registry) == {
        "on-nothing": "depends on not-there, which is not installed",
        "on-on-nothing": "depends on on-nothing, which does not load",
    }


def test_a_circle_is_named_and_takes_none_but_what_rests_on_it(settings: Settings) -> None:
    registry = load(settings, "Egg", "Ground", "Hen", "Omelette")
    assert list(registry) == ["ground"]
    assert reasons(registry) == {
        "egg": "egg → hen → egg depend on each other",
        "hen": "hen → egg → hen depend on each other",
        "omelette": "depends on egg, which does not load",
    }


def test_nothing_can_rest_on_an_app_that_needs_a_users_region(settings: Settings) -> None:
    registry = load(settings, "Drawn", "OnDrawn")
    assert list(registry) == ["drawn"]
    assert reasons(registry) == {"on-drawn": "depends on drawn, which needs a region that a user draws"}


def test_an_app_that_is_not_installed_is_checked_as_well(settings: Settings) -> None:
    registry = load(settings, "Ground", "Middle")
    assert ids(registry.before(Top())) == ["ground", "middle"]
    with pytest.raises(DependencyMissing, match="depends on egg, which is not installed"):
        registry.before(Hen())


def test_the_sites_file_tunes_an_app(settings: Settings) -> None:
    path = params_path(settings.data_dir, "tuned")
    path.parent.mkdir()
    path.write_text("limit = 7\n")
    assert load(settings, "Tuned")["tuned"].params == TunedParams(limit=7)
    path.unlink()
    assert load(settings, "Tuned")["tuned"].params == TunedParams(limit=5)


def test_a_wrong_file_takes_its_app_out_and_what_rests_on_it_and_no_other(settings: Settings) -> None:
    path = params_path(settings.data_dir, "tuned")
    path.parent.mkdir()
    path.write_text("limt = 7\n")
    registry = load(settings, "Ground", "OnTuned", "Tuned")
    assert list(registry) == ["ground"]
    assert reasons(registry) == {
        "tuned": f"{path}: limt is none of the app's parameters (limit)",
        "on-tuned": "depends on tuned, which does not load",
    }
