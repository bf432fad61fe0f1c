"""Pages: sizes and filters that were asked for, and tokens, which name the last thing of a page.

A token holds a position, not a number, so that what comes or goes between two pages moves nothing; and
a digest of the filters, so that it is refused with others. It opens nothing: a page is always one of the
caller's own project.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from unitscope.errors import InvalidArgumentError
from unitscope.jobs.specs import KINDS
from unitscope.jobs.state import JobState

_POSITION = re.compile(r"[A-Za-z0-9._/-]{1,400}")


@dataclass(frozen=True)
class Filters:
    """Which jobs are wanted; an empty field sets no limit. Times are in UTC.

    Raises:
        InvalidArgumentError: A kind is unknown, or the times leave no room.
    """

    states: frozenset[JobState] = frozenset()
    kinds: frozenset[str] = frozenset()
    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        if unknown := sorted(self.kinds - set(KINDS)):
            raise InvalidArgumentError(
                f"there is no kind {unknown[0][:60]!r}; there are: {', '.join(KINDS)}",
                reason="UNKNOWN_KIND",
                field="kinds",
            )
        if self.start and self.end and self.start >= self.end:
            raise InvalidArgumentError(
                f"created_from is {self.start}, which is not before created_before, {self.end}",
                reason="INVALID_TIME_RANGE",
                field="created_before",
            )

    @property
    def digest(self) -> str:
        """Eight digits that differ between filters."""
        parts = (sorted(self.states), sorted(self.kinds), self.start, self.end)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def check_size(size: int, default: int, most: int) -> int:
    """The size of the page; larger than allowed becomes what is allowed.

    Raises:
        InvalidArgumentError: It is negative.
    """
    if size < 0:
        raise InvalidArgumentError(
            f"page_size is {size}; use 1 to {most}, or 0 for {default}",
            reason="INVALID_PAGE_SIZE",
            field="page_size",
        )
    return min(size or default, most)


def make_token(position: str, digest: str) -> str:
    """The token of the page behind a position."""
    return base64.urlsafe_b64encode(f"{digest}:{position}".encode()).decode()


def read_token(token: str, digest: str) -> str:
    """The position of a token; empty where the token is.

    Raises:
        InvalidArgumentError: It is none of ours, or was given for other filters.
    """
    if not token:
        return ""
    try:
        made_for, _, position = base64.b64decode(token, b"-_", validate=True).decode("ascii").partition(":")
    except (ValueError, binascii.Error):
        made_for = position = ""
    if not _POSITION.fullmatch(position) or made_for != digest:
        raise InvalidArgumentError(
            "page_token is none that this server gave for this request; use next_page_token as it came, "
            "with the same filters",
            reason="INVALID_PAGE_TOKEN",
            field="page_token",
        )
    return position
