"""How a simulator is set up: which DPAT it plays, and how patient it is."""

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
"""DPAT's version for each version of its IA-API, as far as it is known."""

UpdateMethods = Literal["both", "PATCH", "PUT"]
PatchKind = Literal["replace", "merge", "403", "404", "405", "500", "501"]
"""What a server makes of an update by PATCH: replaces as by PUT, merges into what is there, or answers a status."""
MultipartKind = Literal["related", "form-data"]


@dataclass(frozen=True)
class Options:
    """A simulator's settings; raises ValueError when one makes no sense."""

    api_version: str = "1.10"
    """IA-API version: a key of `SOFTWARE_VERSIONS`. Older ones lack the newer endpoints."""
    strict: bool = False
    """Whether all is refused that the IA-API does not say, else only what no known server takes."""
    token_lifetime_s: float = 3600.0
    """How long a bearer token is taken, in seconds from when it was given."""
    update_methods: UpdateMethods = "both"
    """Methods that update a result; the others are answered with 405."""
    patch: PatchKind = "replace"
    """What is made of an update by PATCH; a status: that is answered, and nothing is changed."""
    refuse_newer: bool = False
    """Whether a call that names a newer version than this server's is answered with 400."""
    multipart: MultipartKind = "related"
    """The kind of multipart answer for a slide of several files."""
    delay_s: float = 0.0
    """Seconds that each IA-API call waits before it is served."""
    app_timeout_s: float = 30.0
    """Seconds that an app may take for its answer to an invocation or a registration."""
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
            raise ValueError("lifetimes and timeouts must be above 0 seconds, delays not below")

    @property
    def software_version(self) -> str:
        """DPAT's version that goes with the IA-API's."""
        return SOFTWARE_VERSIONS[self.api_version]

    @property
    def version_headers(self) -> dict[str, str]:
        """The two headers that every answer, and every call to an app, carries."""
        return {
            "X-Sectra-ApiVersion": self.api_version,
            "X-Sectra-SoftwareVersion": self.software_version,
        }

    def has(self, version: str) -> bool:
        """Say whether the IA-API played here is of `version` or newer; compared as numbers."""
        return version_numbers(self.api_version) >= version_numbers(version)


def version_numbers(version: str) -> tuple[int, ...]:
    """Split "1.10" into (1, 10); raises ValueError when a part is no number."""
    return tuple(int(part) for part in version.split("."))
