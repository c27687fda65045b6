"""What the simulator refuses, each with the HTTP status that it is answered with."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ValidationError


class SimulatorError(Exception):
    """Anything the simulator refuses. Its text is one sentence, sent as the answer's `message`."""

    status: ClassVar[int] = 400


class Malformed(SimulatorError):
    """What was sent is not what the IA-API says."""


class Unauthorized(SimulatorError):
    """No token, an unknown one or an expired one; or a wrong user or password."""

    status = 401


class NotFound(SimulatorError):
    """There is no such thing, or not in this version of the IA-API."""

    status = 404


class MethodNotSupported(SimulatorError):
    """This server was set up not to take results by this method."""

    status = 405


class Conflict(SimulatorError):
    """It was changed by somebody else since it was last read, or is not in a state for this."""

    status = 409


class SlideDamaged(SimulatorError):
    """A slide's own files are at fault: its record is no JSON, or OpenSlide can't read its picture."""

    status = 500


class AppAnsweredWrong(SimulatorError):
    """The app can't be reached, or its answer is not what the IA-API says."""

    status = 502


def first_fault(error: ValidationError) -> str:
    """Say in a clause, without its full stop, which field is wrong first and why."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    reason = fault["msg"].rstrip(".")
    reason = reason[:1].lower() + reason[1:]
    where = ".".join(str(part) for part in fault["loc"])
    return f"the field {where!r}: {reason}" if where else reason
