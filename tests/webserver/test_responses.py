from __future__ import annotations

import pytest

from slidehook import errors
from slidehook.dpat import errors as dpat_errors
from slidehook.errors import SlidehookError
from webserver.responses import STATUS, status_of


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.BadRequest, 400),
        (errors.CallbackNotAllowed, 403),
        (dpat_errors.DpatTimeout, 504),
        (dpat_errors.DpatUnavailable, 502),
        (dpat_errors.TokenExpired, 502),
        (dpat_errors.NotFound, 502),
        (dpat_errors.Malformed, 502),
        (errors.QueueError, 503),
        (errors.ClaimLost, 503),
        (errors.SlideUnreadable, 500),
    ],
)
def test_an_error_has_the_status_of_its_nearest_base_class(kind: type[SlidehookError], status: int) -> None:
    assert status_of(kind("no")) == status


def test_every_error_has_a_status() -> None:
    def below(kind: type[SlidehookError]) -> list[type[SlidehookError]]:
        return [kind, *(each for sub in kind.__subclasses__() for each in below(sub))]

    assert all(status_of(kind("no")) in STATUS.values() for kind in below(SlidehookError))
