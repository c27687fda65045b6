"""All errors that slidehook raises; each class states whether trying again can help."""

from __future__ import annotations

from typing import ClassVar, Self


class SlidehookError(Exception):
    """The base of all errors raised by slidehook. The message is one clear sentence that a user may see."""

    retryable: ClassVar[bool] = False


class SettingsInvalid(SlidehookError):
    """A setting is unknown, unreadable, or has an invalid value. The message has one line for each such setting."""


class BadRequest(SlidehookError):
    """The request is not a valid IA-API request."""


class TooLarge(BadRequest):
    """A request, or one of its fields, exceeds slidehook's size limit."""


class CallbackNotAllowed(SlidehookError):
    """The callback URL is not below any of `SLIDEHOOK_DPAT_URLS`."""

    url: str = ""
    """The URL, safe to be logged."""


class QueueError(SlidehookError):
    """The queue directory can't be used in its present state."""

    retryable = True


class QueueUnusable(QueueError):
    """The queue directory can't be used until an administrator changes it, or the setting with its path."""

    retryable = False


class ClaimLost(QueueError):
    """The job has another claimer or has ended: its work must be dropped."""

    retryable = False


class IllegalTransition(QueueError):
    """A job can't change from its present state to the requested one."""

    retryable = False


class JobDamaged(QueueError):
    """A job's file can't be read as a job."""

    retryable = False


class SystemFault(SlidehookError):
    """A call to the system of a slide or a result failed. Its four subclasses decide what happens to the job."""


class SystemUnavailable(SystemFault):
    """The system of a slide or a result can't be reached or can't answer now: the job waits and is tried again."""

    retryable = True
    retry_after_s: float = 0.0
    """The delay that the system asked for, in seconds."""
    is_away: bool = True
    """Whether the system may be away for every job. False: it answers, but this request failed."""


class AccessExpired(SystemFault):
    """The system no longer accepts the job's secret: the job waits for a newer one."""


class Gone(SystemFault):
    """The slide or result no longer exists in the system."""


class ResultDeleted(Gone):
    """The user deleted the job's result: it is not created again, and the job ends."""


class Refused(SystemFault):
    """The system refuses the call; trying again will not help."""


class NotOffered(Refused):
    """The slide's system does not support this, or not for this slide."""


class CannotStore(SlidehookError):
    """This host can't store a file now; another host may, or this one later."""

    retryable = True


class DiskFull(CannotStore):
    """This host's disk is full."""


class SlideUnreadable(SlidehookError):
    """OpenSlide cannot read the slide; trying again will not help."""

    detail: str = ""
    """OpenSlide's message, which may contain names and contents of the slide's files: for the slide's owner only."""

    @classmethod
    def said_by(cls, error: Exception, what: str) -> Self:
        """State that OpenSlide cannot read `what`, and store the reason in `detail`."""
        found = cls(f"OpenSlide cannot read {what}")
        found.detail = str(error)
        return found


class SlideMismatch(SlidehookError):
    """The slide's file has another size than DPAT states: results would be drawn in the wrong place."""

    retryable = True


class AppError(SlidehookError):
    """The app can't analyse this slide, or has a fault."""

    trace: str = ""
    """The traceback of an app's own fault, for the log and an operator."""


class PixelSizeUnknown(AppError):
    """The size of the slide's pixels is uncertain, so nothing can be measured on it."""


class AppCrashed(AppError):
    """The app's process died, for example of a signal."""

    retryable = True
    signal_number: int = 0
    """The signal that killed it; 0: it exited by itself."""


class AppChanged(AppError):
    """The app's code, or a file that it depends on, changed on disk while it was loading or running."""


class AppTimeout(AppError):
    """The app exceeded its time limit."""

    @classmethod
    def after(cls, timeout_s: float) -> Self:
        """Return the error for this time limit."""
        return cls(f"the analysis needed longer than {timeout_s:g} s")


class AppOutOfMemory(AppError):
    """The app exceeded its memory limit."""

    @classmethod
    def over(cls, memory_gb: float) -> Self:
        """Return the error for this memory limit."""
        return cls(f"the analysis needed more than {memory_gb:g} GB of memory")
