from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from slidehook.app import NoParams
from slidehook.registry.params import ParamsInvalid, changed_params, params_path, read_assignments, site_params


class Colours(BaseModel, frozen=True, extra="forbid"):
    positive: str = "#FF0000"
    negative: str = "#0000FF"


class Params(BaseModel, frozen=True, extra="forbid"):
    threshold: float = Field(0.5, gt=0, le=1)
    compartment: str = "nucleus"
    names: tuple[str, ...] = ("a",)
    colours: Colours = Colours()


class Lenient(BaseModel):
    """A model whose author did not think of misspelt names."""

    threshold: float = 0.5


class Open(BaseModel, extra="allow"):
    threshold: float = 0.5


def written(folder: Path, text: str | bytes) -> Path:
    path = params_path(folder, "ihc")
    path.parent.mkdir()
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_file_bears_the_apps_id_below_the_data_folder(tmp_path: Path) -> None:
    assert params_path(tmp_path, "ihc") == tmp_path / "apps" / "ihc.toml"


def test_without_a_file_the_defaults_stay(tmp_path: Path) -> None:
    defaults = Params(threshold=0.9)
    assert site_params(defaults, params_path(tmp_path, "ihc")) is defaults
    assert site_params(defaults, written(tmp_path, "# nothing yet\n")) is defaults


def test_what_the_file_says_replaces_the_default_and_leaves_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, 'compartment = "cell"\nnames = ["x", "y"]\n[colours]\nnegative = "#00FF00"\n')
    found = site_params(Params(threshold=0.9, colours=Colours(positive="#111111")), path)
    assert found == Params(
        threshold=0.9,
        compartment="cell",
        names=("x", "y"),
        colours=Colours(positive="#111111", negative="#00FF00"),
    )
    assert type(found) is Params


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("treshold = 0.4", r"treshold is none of the app's parameters \(colours, compartment, names, threshold\)"),
        ("threshold = 2", "threshold: input should be less than or equal to 1"),
        ("threshold = nan", "threshold: input should be"),
        ('threshold = "high"', "threshold: input should be a valid number"),
        ("compartment = 5", "compartment: input should be a valid string"),
        ("[colours]\npositiv = 1", r"colours\.positiv: extra inputs are not permitted"),
        ("colours = 1", "colours: input should be"),
        ("threshold", "is no TOML"),
        ("threshold = 1\nthreshold = 2", "is no TOML"),
        (b"compartment = '\xff'", "is no TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_the_key_and_the_reason(
    text: str | bytes, reason: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ParamsInvalid, match=reason) as caught:
        site_params(Params(), path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    path = params_path(tmp_path, "ihc")
    path.mkdir(parents=True)
    with pytest.raises(ParamsInvalid, match="can't be read: Is a directory"):
        site_params(Params(), path)


def test_a_misspelt_name_is_refused_also_where_the_model_would_drop_it() -> None:
    with pytest.raises(ParamsInvalid, match="treshold is none of"):
        changed_params(Lenient(), {"treshold": 1}, source="x")
    with pytest.raises(ParamsInvalid, match="it has none"):
        changed_params(NoParams(), {"threshold": 1}, source="x")
    assert changed_params(Open(), {"more": 1}, source="x").model_dump() == {"threshold": 0.5, "more": 1}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a=1", {"a": 1}),
        ("a = 0.5", {"a": 0.5}),
        ("a=true", {"a": True}),
        ("a=cell", {"a": "cell"}),
        ('a="cell"', {"a": "cell"}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ("a={b = 1}", {"a": {"b": 1}}),
        ("a.b=1", {"a": {"b": 1}}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1\nb=2", {"a": "1\nb=2"}),
        ("a=#FF0000", {"a": "#FF0000"}),
        ("a=1, 2", {"a": "1, 2"}),
    ],
)
def test_a_pair_is_read_as_toml_or_else_as_a_text(line: str, found: dict[str, Any]) -> None:
    assert read_assignments([line]) == found


def test_pairs_are_put_together_and_the_last_wins() -> None:
    assert read_assignments(["a.b=1", "a.c=2", "d=1", "d=2"]) == {"a": {"b": 1, "c": 2}, "d": 2}


@pytest.mark.parametrize("line", ["a", "=1", "a.=1", ".a=1", ""])
def test_what_is_no_pair_is_refused(line: str) -> None:
    with pytest.raises(ParamsInvalid, match="name=value"):
        read_assignments([line])
