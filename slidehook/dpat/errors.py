"""DPAT's errors; each is one of the four that any system raises, so that a worker decides without knowing DPAT."""

from __future__ import annotations

from slidehook.errors import AccessExpired, Gone, NotOffered, Refused, SlidehookError, SystemUnavailable


class DpatError(SlidehookError):
    """DPAT's answer differs from what was asked for."""


class DpatUnavailable(DpatError, SystemUnavailable):
    """DPAT can't be reached, or answers that it can't serve now."""


class DpatTimeout(DpatUnavailable):
    """DPAT did not answer in time."""


class DpatNotReached(DpatUnavailable):
    """There was no connection: DPAT has not seen the request."""


class NotFromDpat(DpatUnavailable):
    """A proxy or a sign-in page answered in DPAT's place: its answer proves nothing about the token or the slide."""


class TokenExpired(DpatError, AccessExpired):
    """DPAT no longer accepts the token (401 or 403)."""


class NotFound(DpatError, Gone):
    """DPAT has no such object (404)."""


class Conflict(DpatError, SystemUnavailable):
    """Somebody else has changed the result since it was last read (409)."""

    is_away = False


class DpatRefused(DpatError, Refused):
    """DPAT refuses the request as it is (any other 4xx)."""


class UnsupportedByDpat(DpatError, NotOffered):
    """This DPAT's version does not offer this, or not for this slide."""


class Malformed(DpatError, Refused):
    """DPAT's answer does not follow the IA-API."""


class DownloadIncomplete(DpatError, SystemUnavailable):
    """A slide's file ended before it was complete."""

    is_away = False
