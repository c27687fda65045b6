from __future__ import annotations

from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from slidehook.cli.main import COMMANDS, main
from slidehook.dpat.iaapi.versions import API_VERSION
from slidehook.version import SOFTWARE_VERSION


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_each_commands_own_first_sentence(name: str) -> None:
    where, sentence = COMMANDS[name]
    module, _, attribute = where.partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=200) == sentence
    listed = " ".join(CliRunner().invoke(main, ["--help"]).output.split())
    assert f"{name} {sentence}" in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_called_by_its_name(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"], prog_name="slidehook")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: slidehook {name}")


def test_an_unknown_command_is_refused() -> None:
    refused = CliRunner().invoke(main, ["aps"])
    assert refused.exit_code == 2
    assert "No such command 'aps'" in refused.output


def test_the_version_names_slidehook_and_the_ia_api() -> None:
    shown = CliRunner().invoke(main, ["--version"])
    assert shown.exit_code == 0
    assert shown.output == f"slidehook {SOFTWARE_VERSION}, IA-API {API_VERSION}\n"
