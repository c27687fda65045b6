from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from slidehook.result import Quality, Result
from slidehook.running.message_pipe import Garbled, Line, new_line


@pytest.fixture
def line() -> Iterator[tuple[Line, Line]]:
    ends = new_line()
    yield ends
    for end in ends:
        end.close()


class Attribute:
    """Pickled as a call of getattr, as Python 3.11 before 3.11.4 pickles an enum's member."""

    def __init__(self, of: Any, name: str) -> None:
        self._call = (getattr, (of, name))

    def __reduce__(self) -> tuple[Any, tuple[Any, str]]:
        return self._call


def test_an_enums_member_arrives_whatever_python_pickled_it(line: tuple[Line, Line]) -> None:
    ours, theirs = line
    theirs.send(Attribute(Quality, "REJECTED"))
    assert ours.recv() is Quality.REJECTED
    theirs.send(Result("bad", quality=Quality.REJECTED))
    assert ours.recv().quality is Quality.REJECTED


@pytest.mark.parametrize(("of", "name"), [(Quality, "__subclasses__"), (Quality, "mro"), (Result, "polygon")])
def test_no_other_attribute_is_given(line: tuple[Line, Line], of: Any, name: str) -> None:
    ours, theirs = line
    theirs.send(Attribute(of, name))
    with pytest.raises(Garbled, match="no member of an enum"):
        ours.recv()


def test_nothing_but_classes_of_ours_is_made(line: tuple[Line, Line]) -> None:
    ours, theirs = line
    theirs.send(subprocess.TimeoutExpired("x", 1))
    with pytest.raises(Garbled, match="is not one of slidehook's classes"):
        ours.recv()
