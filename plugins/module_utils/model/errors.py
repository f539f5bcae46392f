# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error type that crosses package borders.

An operator who reads it must learn four things: which item, what was tried, what the backend said last, and what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CODES = frozenset(
    {
        "invalid",
        "unknown",
        "duplicate",
        "conflict",
        "in_use",
        "leased",
        "not_flushed",
        "stale_epoch",
        "forbidden",
        "backend",
        "unreachable",
        "timeout",
        "version",
    }
)


class VcError(Exception):
    """A refusal or failure, as data.

    Parameters
    ----------
    code : one of CODES; stable, for programs
    item : what it is about, e.g. ``vc1/compute0``
    tried : what was attempted, e.g. ``taking a lease``
    detail : the backend's last line, or the reason for a refusal
    remedy : what the reader can do about it
    """

    def __init__(self, code: str, item: str, tried: str = "", detail: str = "", remedy: str = "") -> None:
        if code not in CODES:
            raise ValueError(f"unknown error code {code!r}")
        # All of them, so that a copied or pickled error is the same error.
        super().__init__(code, item, tried, detail, remedy)
        self.code = code
        self.item = item
        self.tried = tried
        self.detail = detail
        self.remedy = remedy

    def __str__(self) -> str:
        text = self.item
        if self.tried:
            text += f": {self.tried} failed" if self.code in {"backend", "unreachable", "timeout"} else f": {self.tried} refused"
        if self.detail:
            text += f": {self.detail}"
        if self.remedy:
            text += f". Remedy: {self.remedy}"
        return text

    def to_dict(self) -> dict[str, str]:
        return {"code": self.code, "item": self.item, "tried": self.tried, "detail": self.detail, "remedy": self.remedy}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VcError:
        """Rebuild an error that crossed a process border; anything malformed becomes a ``backend`` error."""
        code = str(data.get("code", "backend"))
        fields = {key: str(data.get(key, "")) for key in ("item", "tried", "detail", "remedy")}
        return cls(code if code in CODES else "backend", **fields)
