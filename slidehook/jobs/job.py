"""A job: one slide that one app is to analyse, and the states that it goes through."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from slidehook.errors import IllegalTransition, JobDamaged
from slidehook.models import ImageInfo, Input, WholeSlideInput
from slidehook.models.first_fault import first_fault

BLANK = "*"
"""What a token is overwritten with."""


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


class Job(BaseModel):
    """What is known of a job when it is put; it never changes. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    """The version of this line."""
    id: str = Field(pattern=r"^[0-9a-f]{16}-[0-9a-f]{8}$")
    app_id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)
    slide_id: str
    priority: int = Field(default=5, ge=0, le=9)
    created_at: float
    origin: Literal["user", "import"]
    input: Annotated[Input, Field(default_factory=WholeSlideInput)]
    context: dict[str, Any] | None = None
    callback_url: str
    image_info: ImageInfo | None = None
    cancellation_key: str | None = None
    """A digest of DPAT's cancellation token."""
    callback_token: str = Field(repr=False)
    """The bearer token; in the file it stands last, and is overwritten when the job ends."""

    @property
    def key(self) -> str:
        """Names the work: equal for the same app, slide and input of one DPAT (hex)."""
        return work_key(self.callback_url, self.app_id, self.slide_id, self.input)

    @property
    def has_token(self) -> bool:
        """Whether the job's own token is still there: it goes when the job ends."""
        return self.callback_token.strip(BLANK) != ""

    def owns(self, content: bytes) -> bool:
        """Say whether a job's file is this job's, by its first words, without reading it as a job."""
        return f'"id":"{self.id}"'.encode() in content[:64]

    def to_line(self) -> bytes:
        """Give the first line of the job's file."""
        return _JOB.dump_json(self, exclude_none=True) + b"\n"


_JOB = TypeAdapter(Job)
"""Gives bytes, where the model itself gives a string."""


class ResultNoted(BaseModel):
    """DPAT stored the job's result under this id and version."""

    event: Literal["result"] = "result"
    at: float
    attempt: int
    id: int | str
    version_id: int | str
    in_doubt: bool = False
    """Whether DPAT may have stored another result of the job, without saying so."""


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


Event = Annotated[ResultNoted | AttemptEnded | Ended, Field(discriminator="event")]
_EVENT: TypeAdapter[ResultNoted | AttemptEnded | Ended] = TypeAdapter(Event)


class JobRecord(BaseModel):
    """A job's file: the job as it was put, and what has happened since."""

    job: Job
    events: list[Event] = []

    @property
    def image_info(self) -> ImageInfo | None:
        """The image record, as far as it is DPAT's for certain: read from it, or sent with a token that it has taken.

        Of a notification that came while DPAT could not say so, anybody may have made it up.
        """
        accepted = any(isinstance(each, ResultNoted) and each.attempt == 0 for each in self.events)
        return self.job.image_info if self.job.origin == "user" or accepted else None

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
    def result(self) -> ResultNoted | None:
        """The result's id and version as last noted."""
        return next((each for each in reversed(self.events) if isinstance(each, ResultNoted)), None)


def parse_job(content: bytes) -> Job:
    """Read the job in a job's file; raises JobDamaged with the reason."""
    head, end, _ = content.partition(b"\n")
    if not end:
        raise JobDamaged("the job's file ends before its first line does")
    try:
        return Job.model_validate_json(head)
    except ValidationError as error:
        raise _damaged(error) from error


def parse_record(content: bytes) -> JobRecord:
    """Read a job's file; an event that was cut off is passed over. Raises JobDamaged with the reason."""
    job = parse_job(content)
    try:
        events = [_EVENT.validate_json(line) for line in content.split(b"\n")[1:-1] if not _was_cut_off(line)]
    except ValidationError as error:
        raise _damaged(error) from error
    return JobRecord.model_construct(job=job, events=events)


def _was_cut_off(line: bytes) -> bool:
    """Say whether an event's writing was ended by a full disk or a loss of power."""
    return not (line.startswith(b"{") and line.endswith(b"}"))


def _damaged(error: ValidationError) -> JobDamaged:
    fault = first_fault(error)
    return JobDamaged(f"the job's file can't be read: {fault.where or 'the job'}: {fault.reason}")


def blank_token(content: bytes) -> tuple[int, bytes] | None:
    """Say what to write where so that a job's file holds no token: (offset, bytes); None if it holds none."""
    head = content.partition(b"\n")[0]
    marker = b'"callback_token":"'
    start = head.rfind(marker)
    if start < 0:
        return None
    start += len(marker)
    end = len(head) - len(b'"}')
    return start, BLANK.encode() * (end - start)


def work_key(callback_url: str, app_id: str, slide_id: str, wanted: Input | None = None) -> str:
    """Name a work: equal for the same app, slide and input (None: the whole slide) of one DPAT, in hex."""
    return digest(callback_url, app_id, slide_id, (wanted or WholeSlideInput()).model_dump_json(exclude_none=True))


def new_job_id(now_ns: int) -> str:
    """Give an id that sorts by age: the time in ns and 32 random bits, both in hex."""
    return f"{now_ns:016x}-{secrets.token_hex(4)}"


def digest(*parts: str) -> str:
    """Give 160 bits that stand for `parts`, in hex: the beginning of the SHA-256 of their JSON, in ASCII."""
    # json.dumps(parts), without making an encoder for it: that would be a tenth of what a put computes.
    text = f"[{', '.join(map(encode_basestring_ascii, parts))}]"
    return hashlib.sha256(text.encode()).hexdigest()[:40]
