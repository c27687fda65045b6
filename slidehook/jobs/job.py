"""A job: one slide that one app is to analyse, and the states that it goes through."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from slidehook.errors import IllegalTransition, JobDamaged
from slidehook.models import ImageInfo, Input, WholeSlideInput
from slidehook.models.first_fault import first_fault

BLANK = "*"
"""What a secret is overwritten with."""


Trigger = Literal["user", "import", "received", "manual"]
"""Who asked for a job: a user, a system that imported a slide, a slide that was sent here, an operator."""
FIRST_SYSTEM = "dpat"
"""The system of every job of format 1. The key of its work does not contain it, as in that format."""


class JobState(StrEnum):
    """Where a job is; each state but the last is a folder of the queue."""

    WAITING = "waiting"
    ACTIVE = "active"
    PARKED = "parked"
    ENDING = "ending"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"


ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})
"""The states that a job rests in for good."""

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.ACTIVE}),
    # active to active: a dead claimer's job goes to another. Withdrawn: never acknowledged, so it leaves no trace.
    JobState.ACTIVE: frozenset(
        {JobState.ACTIVE, JobState.WAITING, JobState.PARKED, JobState.ENDING, JobState.WITHDRAWN}
    ),
    JobState.PARKED: frozenset({JobState.WAITING}),
    JobState.ENDING: ENDED | {JobState.ENDING},
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset({JobState.WAITING}),  # an operator's retry
    JobState.CANCELLED: frozenset(),
    JobState.WITHDRAWN: frozenset(),
}
"""Every change of state that exists."""


def check_transition(before: JobState, after: JobState) -> None:
    """Raise IllegalTransition unless a job may go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"a job that is {before} can't become {after}")


class Destination(BaseModel):
    """A further place for a job's result. It has no secret of its own: the workers' settings hold that."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    system: str
    address: str


class Job(BaseModel):
    """A job as it was put; it never changes. Times are seconds since 1970.

    The job's slide comes from `address` in `system`, and its result goes there. The queue does not interpret either.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[2] = 2
    """The version of this line; format 1 is still read."""
    id: str = Field(pattern=r"^[0-9a-f]{16}-[0-9a-f]{8}$")
    app_id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)
    slide_id: str
    priority: int = Field(default=5, ge=0, le=9)
    created_at: float
    trigger: Trigger
    input: Annotated[Input, Field(default_factory=WholeSlideInput)]
    context: dict[str, Any] | None = None
    system: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)
    address: str
    image_info: ImageInfo | None = None
    cancellation_key: str | None = None
    """The digest of a token with which the job can be cancelled."""
    also: tuple[Destination, ...] = ()
    """Further destinations of the result."""
    secret: str = Field(default="", repr=False)
    """The secret for access to the system: the last field in the file, overwritten when the job ends."""

    @property
    def key(self) -> str:
        """The work's key: equal for the same app, slide and input at one address of one system (hex)."""
        return work_key(self.system, self.address, self.app_id, self.slide_id, self.input)

    @property
    def has_secret(self) -> bool:
        """Whether the job still has its own secret: it is blanked when the job ends."""
        return self.secret.strip(BLANK) != ""

    def owns(self, content: bytes) -> bool:
        """Return whether a job's file is this job's, by its first words, without reading it as a job."""
        return f'"id":"{self.id}"'.encode() in content[:64]

    def to_line(self) -> bytes:
        """Return the first line of the job's file."""
        return _JOB.dump_json(self, exclude_none=True) + b"\n"


_JOB = TypeAdapter(Job)
"""Returns bytes; the model's own method returns a string."""
_FORMAT_1 = b'{"format":1,'
_SECRET, _OLD_SECRET = b'"secret":"', b'"callback_token":"'


class _JobOfFormat1(BaseModel):
    """A job's line as the version before wrote it. It is not rewritten: only its secret is ever blanked."""

    model_config = ConfigDict(extra="allow")

    format: Literal[1]
    origin: Literal["user", "import"]
    callback_url: str
    callback_token: str

    def as_job(self) -> Job:
        """Convert to today's job; raises ValidationError."""
        same = {key: value for key, value in (self.model_extra or {}).items() if key != "also"}
        where = {"system": FIRST_SYSTEM, "address": self.callback_url, "secret": self.callback_token}
        return Job.model_validate(same | where | {"trigger": self.origin})


class Noted(BaseModel):
    """What a system's destination wants to find again in a later attempt; the queue does not interpret it."""

    event: Literal["noted"] = "noted"
    at: float
    attempt: int
    """The attempt's number; 0 while whoever put the job held it."""
    noted: dict[str, JsonValue]


class ResultNoted(BaseModel):
    """`Noted` as format 1 had it; only read, never written."""

    event: Literal["result"] = "result"
    at: float
    attempt: int
    id: int | str
    version_id: int | str
    in_doubt: bool = False

    def as_noted(self) -> Noted:
        """Convert to today's event."""
        noted = self.model_dump(include={"id", "version_id", "in_doubt"})
        return Noted(at=self.at, attempt=self.attempt, noted=noted)


class Claimed(BaseModel):
    """A worker claimed the job for the first time as this attempt. It is not fsynced, and no decision rests on it."""

    event: Literal["claimed"] = "claimed"
    at: float
    attempt: int
    claimer: str


class AttemptEnded(BaseModel):
    """An attempt ended without an outcome: the job waits, or goes to another claimer."""

    event: Literal["attempt-ended"] = "attempt-ended"
    at: float
    attempt: int
    reason: str
    claimer: str | None = None
    """Who died, if that is why."""
    trace: str = Field(default="", exclude_if=lambda trace: not trace)
    """The app's traceback, if its own fault is why."""


class Ended(BaseModel):
    """The job's outcome."""

    event: Literal["ended"] = "ended"
    at: float
    attempt: int
    outcome: Literal[JobState.DONE, JobState.FAILED, JobState.CANCELLED]
    reason: str = ""
    seconds: float | None = None
    trace: str = Field(default="", exclude_if=lambda trace: not trace)
    """The app's traceback, if the job failed of its own fault."""


Event = Annotated[Noted | Claimed | AttemptEnded | Ended, Field(discriminator="event")]
_EVENT: TypeAdapter[Noted | ResultNoted | Claimed | AttemptEnded | Ended] = TypeAdapter(
    Annotated[Noted | ResultNoted | Claimed | AttemptEnded | Ended, Field(discriminator="event")]
)


class JobRecord(BaseModel):
    """A job's file: the job as it was put, and what has happened since."""

    job: Job
    events: list[Event] = []

    @property
    def image_info(self) -> ImageInfo | None:
        """The image record, if the system itself has confirmed it; else None.

        The sender of an import's record is unproven until the system has accepted the job's secret. The first proof
        is what was noted before the first attempt.
        """
        accepted = any(isinstance(each, Noted) and each.attempt == 0 for each in self.events)
        return self.job.image_info if self.job.trigger != "import" or accepted else None

    def is_claimed(self, attempt: int) -> bool:
        """Whether a claim as this attempt is recorded. A job that is parked and woken again repeats its attempt."""
        return any(isinstance(each, Claimed) and each.attempt == attempt for each in self.events)

    @property
    def ended(self) -> bool:
        """Whether the last that was noted is an outcome."""
        return self.outcome is not None

    @property
    def outcome(self) -> JobState | None:
        """How the job ended, if that is the last that was noted."""
        last = self.events[-1] if self.events else None
        return last.outcome if isinstance(last, Ended) else None

    @property
    def changed_at(self) -> float:
        """When the last event was recorded, or the job was made, in seconds since 1970."""
        return self.events[-1].at if self.events else self.job.created_at

    @property
    def noted(self) -> dict[str, JsonValue] | None:
        """What was noted last; None when nothing was."""
        return next((each.noted for each in reversed(self.events) if isinstance(each, Noted)), None)


def parse_job(content: bytes) -> Job:
    """Read the job in a job's file; raises JobDamaged with the reason."""
    head, end, _ = content.partition(b"\n")
    if not end:
        raise JobDamaged("the job's file ends before its first line does")
    try:
        if head.startswith(_FORMAT_1):
            return _JobOfFormat1.model_validate_json(head).as_job()
        return Job.model_validate_json(head)
    except ValidationError as error:
        raise _damaged(error) from error


def parse_record(content: bytes) -> JobRecord:
    """Read a job's file; an event that was cut off is passed over. Raises JobDamaged with the reason."""
    job = parse_job(content)
    try:
        events = [_read_event(line) for line in content.split(b"\n")[1:-1] if not _was_cut_off(line)]
    except ValidationError as error:
        raise _damaged(error) from error
    return JobRecord.model_construct(job=job, events=events)


def _read_event(line: bytes) -> Noted | Claimed | AttemptEnded | Ended:
    event = _EVENT.validate_json(line)
    return event.as_noted() if isinstance(event, ResultNoted) else event


def _was_cut_off(line: bytes) -> bool:
    """Return whether an event's writing was ended by a full disk or a loss of power."""
    return not (line.startswith(b"{") and line.endswith(b"}"))


def _damaged(error: ValidationError) -> JobDamaged:
    fault = first_fault(error)
    return JobDamaged(f"the job's file can't be read: {fault.where or 'the job'}: {fault.reason}")


def blank_secret(content: bytes) -> tuple[int, bytes] | None:
    """Find what to overwrite so that a job's file holds no secret: (offset, bytes); None if it has no such field."""
    head = content.partition(b"\n")[0]
    # The last field, in either format: no text within a value has an unescaped quote.
    marker = _OLD_SECRET if head.startswith(_FORMAT_1) else _SECRET
    start = head.rfind(marker)
    if start < 0:
        return None
    start += len(marker)
    end = len(head) - len(b'"}')
    return start, BLANK.encode() * (end - start)


def work_key(system: str, address: str, app_id: str, slide_id: str, wanted: Input | None = None) -> str:
    """Return a work's key, in hex: equal for one app, slide and input (None: the whole slide) at one address."""
    where = (address,) if system == FIRST_SYSTEM else (system, address)
    return digest(*where, app_id, slide_id, (wanted or WholeSlideInput()).model_dump_json(exclude_none=True))


def new_job_id(now_ns: int) -> str:
    """Return an id that sorts by age: the time in ns and 32 random bits, both in hex."""
    return f"{now_ns:016x}-{secrets.token_hex(4)}"


def digest(*parts: str) -> str:
    """Return 160 bits that stand for `parts`, in hex: the beginning of the SHA-256 of their JSON, in ASCII."""
    # json.dumps(parts), without making an encoder for it: that would be a tenth of what a put computes.
    text = f"[{', '.join(map(encode_basestring_ascii, parts))}]"
    return hashlib.sha256(text.encode()).hexdigest()[:40]
