"""Every setting is in README's table with its default, and the programs read it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator

import pytest

from slidehook.settings import PREFIX, Settings
from tests.e2e.running import HOUSE

ROW = re.compile(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \| ([^|]+) \| ([^|]+) \|$", re.M)
IN_WORDS = {"loopback only": (), "the system's": None, "none": None, "\N{EN DASH}": None}
"""How the table shows defaults that are not written as a value."""


def table() -> dict[str, tuple[str, str]]:
    """Return each setting's default and meaning, as the table shows them."""
    text = (HOUSE / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    found: dict[str, tuple[str, str]] = {}
    for names, defaults, meaning in ROW.findall(text):
        fields = [each.lower() for each in re.findall(r"[A-Z_]+", names)]
        shown = defaults.strip().split(", ") if ", " in defaults else [defaults.strip()] * len(fields)
        found |= {field: (default, meaning) for field, default in zip(fields, shown, strict=True)}
    return found


def settings_read() -> Iterator[str]:
    """Return every attribute that the programs read of a value called settings."""
    for folder in ("slidehook", "webserver", "worker"):
        for path in (HOUSE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Attribute(
                        value=ast.Name(id="settings" | "_settings") | ast.Attribute(attr="settings" | "_settings"),
                        attr=name,
                    ):
                        yield name


def test_the_table_lists_every_setting_and_nothing_else() -> None:
    assert table().keys() == Settings.model_fields.keys()
    assert all(meaning.strip() for _, meaning in table().values())


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_table_shows_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in [each for each in os.environ if each.upper().startswith(PREFIX)]:
        monkeypatch.delenv(each)
    default = getattr(Settings(_env_file=None), name)
    shown, _ = table()[name]
    if shown in IN_WORDS:
        assert default == IN_WORDS[shown]
    else:
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", shown)
        assert getattr(Settings(_env_file=None), name) == default


def test_the_programs_read_every_setting() -> None:
    assert Settings.model_fields.keys() - set(settings_read()) == set()
