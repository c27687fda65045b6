"""What the queue keeps for DPAT: which stored result is a job's, from one attempt to the next."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from slidehook.systems import Noted


class NotedResult(BaseModel):
    """DPAT stored a job's result under this id and version."""

    model_config = ConfigDict(frozen=True)

    id: int | str
    version_id: int | str
    in_doubt: bool = False
    """Whether DPAT may have stored another result of the job, in a call that it did not answer."""

    def to_json(self) -> Noted:
        """Convert to what a claim's `note` takes."""
        return self.model_dump()

    @classmethod
    def read(cls, noted: Noted | None) -> NotedResult | None:
        """Read what was noted; None when that names no result."""
        try:
            return cls.model_validate(noted)
        except ValidationError:
            return None
