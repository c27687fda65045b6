"""The one tree of errors that slidehook raises; whether trying again can help stands on the class."""

from __future__ import annotations

from typing import ClassVar, Self


class SlidehookError(Exception):
    """Anything that slidehook itself finds wrong. Its text is one clear sentence, fit for a user's eyes."""

    retryable: ClassVar[bool] = False


class SettingsInvalid(SlidehookError):
    """A setting is unknown, can't be read, or has a value that it can't have. One line for each such setting."""


class BadRequest(SlidehookError):
    """What DPAT (or somebody else) sent is not an IA-API request."""


class TooLarge(BadRequest):
    """A request, or a field of it, is larger than slidehook takes."""


class CallbackNotAllowed(SlidehookError):
    """The callback URL is not below any of `SLIDEHOOK_DPAT_URLS`."""

    url: str = ""
    """The URL as a log may show it."""


class QueueError(SlidehookError):
    """The queue's directory can't be used as it is."""

    retryable = True


class QueueUnusable(QueueError):
    """The queue's directory can't be used until somebody changes it, or the setting that names it."""

    retryable = False


class ClaimLost(QueueError):
    """The job has another claimer, or has ended: whoever raises this must drop the work."""

    retryable = False


class IllegalTransition(QueueError):
    """A job was asked to change to a state that its present one does not lead to."""

    retryable = False


class JobDamaged(QueueError):
    """A job's file can't be read as a job."""

    retryable = False


class SystemFault(SlidehookError):
    """The system of a slide or a result did not do what was asked. Its four subclasses decide what the job does."""


class SystemUnavailable(SystemFault):
    """The system of a slide or a result can't be reached or can't serve now: the job waits, and is tried again."""

    retryable = True
    retry_after_s: float = 0.0
    """How long the system asked to be left alone, in seconds."""
    is_away: bool = True
    """Whether the system may be away for every job. False: it answers, but this request failed."""


class AccessExpired(SystemFault):
    """The system no longer accepts the job's secret: the job waits for a newer one."""


class Gone(SystemFault):
    """The system has no such slide or result any more."""


class ResultDeleted(Gone):
    """The user deleted the result that the job works on: it is not created again, and the job ends."""


class Refused(SystemFault):
    """The system refuses what it is asked for; trying again will not help."""


class NotOffered(Refused):
    """The slide's system does not offer this, or not for this slide."""


class CannotStore(SlidehookError):
    """This host's disk takes no file; another host's may, or this one's later."""

    retryable = True


class DiskFull(CannotStore):
    """This host's disk has no room left."""


class SlideUnreadable(SlidehookError):
    """OpenSlide cannot read the slide; trying again will not help."""

    detail: str = ""
    """What OpenSlide says of it, which may hold names and contents of the slide's files: for a slide's owner only."""

    @classmethod
    def said_by(cls, error: Exception, what: str) -> Self:
        """Say that OpenSlide cannot read `what`, and keep for `detail` why."""
        found = cls(f"OpenSlide cannot read {what}")
        found.detail = str(error)
        return found


class SlideMismatch(SlidehookError):
    """The slide's file has another size than DPAT says: results would lie in the wrong place."""

    retryable = True


class AppError(SlidehookError):
    """The app can't analyse this slide, or has a fault of its own."""

    trace: str = ""
    """The traceback of an app's own fault, for the log and an operator."""


class PixelSizeUnknown(AppError):
    """How large the slide's pixels are is not certain, so nothing can be measured on it."""


class AppCrashed(AppError):
    """The app's process died, as of a signal."""

    retryable = True
    signal_number: int = 0
    """The signal that it died of; 0: it ended by itself."""


class AppChanged(AppError):
    """The app's code, or a file that it rests on, changed on disk while it was loaded or at work."""


class AppTimeout(AppError):
    """The app needed longer than it may."""

    @classmethod
    def after(cls, timeout_s: float) -> Self:
        """Return how long that is."""
        return cls(f"the analysis needed longer than {timeout_s:g} s")


class AppOutOfMemory(AppError):
    """The app needed more memory than it may."""

    @classmethod
    def over(cls, memory_gb: float) -> Self:
        """Return how much that is."""
        return cls(f"the analysis needed more than {memory_gb:g} GB of memory")
