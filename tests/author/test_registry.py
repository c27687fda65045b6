from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from pydantic import SecretStr

from slidehook.registry.registry import GROUP, load_apps
from slidehook.settings import Settings


def points(*values: str) -> list[EntryPoint]:
    """Entry points whose names sort as given."""
    return [
        EntryPoint(f"{number:02}", value if ":" in value else f"tests.author.sample_apps:{value}", GROUP)
        for number, value in enumerate(values)
    ]


def test_the_shipped_demo_is_found_at_the_address_of_the_public_example(settings: Settings) -> None:
    registry = load_apps(settings)
    assert registry["wholeslide"].route == "/dpat_ia_app_demo/wholeslide"
    assert not registry.broken


def test_an_app_is_given_the_sites_settings_without_the_secrets() -> None:
    settings = Settings(_env_file=None, keep_days=5, dpat_user="us", dpat_password=SecretStr("s3cret"))
    registry = load_apps(settings, points("Good", "Other"))
    assert list(registry) == ["good", "other"]
    assert registry["good"].settings == settings.model_copy(update={"dpat_user": None, "dpat_password": None})
    assert registry.get("no-such-app") is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Unfinished", "TypeError: "),
        ("Unwritable", "the params of unwritable can't be written as JSON: "),
        ("NeedsArguments", "TypeError: "),
        ("NOT_AN_APP", "not a subclass of slidehook.App"),
        ("NoSuchName", "AttributeError: "),
        ("no_such_module:App", "ModuleNotFoundError: "),
        ("tests.author.leaves_the_program:App", "SystemExit: bye"),
        ("SameId", "TypeError: the id good is taken already"),
        ("SameRoute", "TypeError: the route /apps/good is taken already"),
        ("BelowInfo", "TypeError: the route /apps/good/info is taken already"),
        ("BelowNotification", "TypeError: the route /apps/good/imagenotification is taken already"),
        ("Health", "TypeError: the route /healthz is taken already"),
    ],
)
def test_an_app_that_does_not_load_takes_no_other_down(settings: Settings, value: str, reason: str) -> None:
    registry = load_apps(settings, points("Good", value, "Other"))
    assert list(registry) == ["good", "other"]
    (broken,) = registry.broken
    assert broken.entry_point == points(value)[0].value
    assert reason in broken.reason
    assert "Traceback" in broken.trace


def test_an_app_whose_own_address_for_dpats_calls_is_another_apps_does_not_load(settings: Settings) -> None:
    registry = load_apps(settings, points("Nested", "Outer"))
    assert list(registry) == ["nested"]
    (broken,) = registry.broken
    assert broken.reason == "TypeError: /nested/info, below the route /nested, is taken already"


def test_apps_may_lie_beside_each_other_at_any_depth(settings: Settings) -> None:
    registry = load_apps(settings, points("Above", "Beside", "Good"))
    assert sorted(registry) == ["above", "beside", "good"]
    assert not registry.broken


def test_the_first_by_name_keeps_an_id_in_whatever_order_they_are_found(settings: Settings) -> None:
    registry = load_apps(settings, reversed(points("Good", "SameId")))
    assert type(registry["good"]).__name__ == "Good"
