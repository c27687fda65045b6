"""The errors of the simulator, each with its HTTP status."""

from __future__ import annotations

from typing import ClassVar


class SimulatorError(Exception):
    """Base class. Its text is one sentence, sent as the answer's `message`."""

    status: ClassVar[int] = 400


class Malformed(SimulatorError):
    """The request does not conform to the IA-API."""


class Unauthorized(SimulatorError):
    """The token is missing, unknown or expired, or the user or password is wrong."""

    status = 401


class NotFound(SimulatorError):
    """The resource does not exist, or not in this version of the IA-API."""

    status = 404


class MethodNotSupported(SimulatorError):
    """This server is configured not to accept results by this method."""

    status = 405


class Conflict(SimulatorError):
    """The resource was changed by somebody else since it was last read, or its state forbids the action."""

    status = 409


class SlideDamaged(SimulatorError):
    """A slide's files are damaged: its record is not JSON, or OpenSlide can't read it."""

    status = 500


class BadAppAnswer(SimulatorError):
    """The app can't be reached, or its answer does not conform to the IA-API."""

    status = 502
