"""A simulator's options: the version and behaviour of the simulated DPAT, and timeouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

SOFTWARE_VERSIONS = {
    "1.5": "3.0",
    "1.6": "3.2",
    "1.7": "3.2",
    "1.8": "3.4",
    "1.9": "4.1",
    "1.10": "4.2",
    "1.11": "unknown",
}
"""DPAT's version for each version of its IA-API, as far as known."""

UpdateMethods = Literal["both", "PATCH", "PUT"]
PatchKind = Literal["replace", "merge", "403", "404", "405", "500", "501"]
"""The effect of an update by PATCH: replace like PUT, merge into the stored result, or fail with a status."""
MultipartKind = Literal["related", "form-data"]


@dataclass(frozen=True)
class Options:
    """A simulator's settings; raises ValueError on an invalid one."""

    api_version: str = "1.10"
    """IA-API version: a key of `SOFTWARE_VERSIONS`. Older ones lack the newer endpoints."""
    strict: bool = False
    """Whether to reject everything that the IA-API does not specify, or only what every known server rejects."""
    token_lifetime_s: float = 3600.0
    """The lifetime of a bearer token in seconds."""
    update_methods: UpdateMethods = "both"
    """Methods that update a result; others get 405."""
    patch: PatchKind = "replace"
    """The effect of an update by PATCH; with a status, PATCH fails with it and changes nothing."""
    refuse_newer: bool = False
    """Whether a call that states a newer version than this server's gets 400."""
    multipart: MultipartKind = "related"
    """The multipart type for a slide of several files."""
    delay_s: float = 0.0
    """Seconds to wait before serving each IA-API call."""
    app_timeout_s: float = 30.0
    """Seconds within which an app must answer an invocation or a registration."""
    user: str = "slidehook"
    """The service account that may fetch tokens."""
    password: str = field(default="slidehook", repr=False)
    """The service account's password."""
    verbose: bool = False
    """Whether each request is logged to stderr."""

    def __post_init__(self) -> None:
        if self.api_version not in SOFTWARE_VERSIONS:
            known = ", ".join(SOFTWARE_VERSIONS)
            raise ValueError(f"the IA-API's version must be one of {known}, not {self.api_version!r}")
        if self.update_methods not in ("both", "PATCH", "PUT"):
            raise ValueError(f"update_methods must be both, PATCH or PUT, not {self.update_methods!r}")
        if self.patch not in get_args(PatchKind):
            raise ValueError(f"patch must be one of {', '.join(get_args(PatchKind))}, not {self.patch!r}")
        if self.multipart not in ("related", "form-data"):
            raise ValueError(f"multipart must be related or form-data, not {self.multipart!r}")
        if self.token_lifetime_s <= 0 or self.app_timeout_s <= 0 or self.delay_s < 0:
            raise ValueError("lifetimes and timeouts must be above 0 seconds, delays at least 0")

    @property
    def software_version(self) -> str:
        """DPAT's version for this version of the IA-API."""
        return SOFTWARE_VERSIONS[self.api_version]

    @property
    def version_headers(self) -> dict[str, str]:
        """The two headers of every answer and of every call to an app."""
        return {
            "X-Sectra-ApiVersion": self.api_version,
            "X-Sectra-SoftwareVersion": self.software_version,
        }

    def has(self, version: str) -> bool:
        """Whether the simulated IA-API is of `version` or newer, compared as numbers."""
        return version_numbers(self.api_version) >= version_numbers(version)


def version_numbers(version: str) -> tuple[int, ...]:
    """Parse "1.10" as (1, 10); raises ValueError when a part is not a number."""
    return tuple(int(part) for part in version.split("."))
