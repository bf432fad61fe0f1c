"""Tokens of the job API's callers: a file of hashes, one a line.

A line holds the caller's name, the project that their jobs belong to, the token's sha256 in hexadecimal
and, if wanted, the last day (UTC) that it is good for; ``#`` starts a comment::

    alice lab 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae 2027-12-31

Why sha256 and no slow hash: tokens are drawn by us, with 256 random bits. Slow hashes make up for
passwords that people choose; nobody guesses 256 bits, however fast a guess is checked.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from unitscope.errors import InvalidArgumentError, UnauthenticatedError, UnavailableError
from unitscope.rpc.access import Principal
from unitscope.rpc.watched import Watched

log = logging.getLogger(__name__)

PREFIX = "ust_"
"""Starts every token of ours, so that scanners of leaked secrets can tell one."""
FILE_VARIABLE = "UNITSCOPE_GATEWAY_TOKENS_FILE"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9-]{0,38}")
_HASH = re.compile(r"[0-9a-f]{64}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class TokenEntry:
    """One line of the file.

    Attributes:
        principal: Whom the token stands for.
        sha256: Its hash.
        expires: The last day that it is good for, in UTC; None where it never ends.
    """

    principal: Principal
    sha256: str
    expires: date | None = None

    def to_line(self) -> str:
        """The entry as the file holds it."""
        words = (self.principal.name, self.principal.project, self.sha256)
        return " ".join([*words, *([self.expires.isoformat()] if self.expires else [])])


def create_token(name: str, project: str, expires: date | None = None) -> tuple[str, TokenEntry]:
    """Draws a token.

    Returns:
        The token, which is nowhere else, and its entry.

    Raises:
        InvalidArgumentError: Name or project cannot stand in the file (reason INVALID_TOKEN_OWNER).
    """
    token = PREFIX + secrets.token_urlsafe(32)
    entry = TokenEntry(Principal(project, name), _hash(token), expires)
    problem = _problem([name, project, entry.sha256])
    if problem:
        raise InvalidArgumentError(problem, reason="INVALID_TOKEN_OWNER")
    return token, entry


def parse_tokens(text: str) -> tuple[list[TokenEntry], list[str]]:
    """The entries of a file's text, and what is wrong with its other lines, never quoting any."""
    entries: list[TokenEntry] = []
    problems: list[str] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        problem = _problem(words)
        if not problem and words[2] in lines:
            problem = f"the token is that of line {lines[words[2]]}"
        if problem:
            problems.append(f"line {number}: {problem}")
            continue
        lines[words[2]] = number
        expires = date.fromisoformat(words[3]) if len(words) == 4 else None
        entries.append(TokenEntry(Principal(words[1], words[0]), words[2], expires))
    return entries, problems


class TokenFile:
    """The tokens of one file, read again when it changes. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Raises:
            InvalidArgumentError: It cannot be read (reason TOKENS_UNREADABLE).
        """
        self._path = path
        self._watched = Watched([path], self._read)
        try:
            self._watched.current()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(
                f"the tokens' file {path} ({FILE_VARIABLE}) cannot be read: {_why(error)}",
                reason="TOKENS_UNREADABLE",
            ) from error

    def authenticate(self, authorization: str | None) -> Principal:
        """Whom the value of the metadata ``authorization`` stands for.

        Raises:
            UnauthenticatedError: There is no token (TOKEN_MISSING), it is not known (TOKEN_UNKNOWN), or
                it is no longer good (TOKEN_EXPIRED).
            UnavailableError: The file cannot be read at present (TOKENS_UNREADABLE): nobody gets in.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError(
                "this server asks for a token, and the call brought none; send the metadata "
                "'authorization: Bearer <token>' (UNITSCOPE_CLIENT_TOKEN_FILE)",
                reason="TOKEN_MISSING",
            )
        try:
            entries = self._watched.current()
        except (OSError, UnicodeDecodeError) as error:
            log.error(
                "the tokens' file %s cannot be read, so that nobody gets in: %s", self._path, _why(error)
            )
            raise UnavailableError(
                "the server cannot read its tokens at present", reason="TOKENS_UNREADABLE"
            ) from error
        digest = _hash(token.strip())
        found = None
        # All are compared, each in constant time: how long it takes says nothing about any.
        for entry in entries:
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None:
            raise UnauthenticatedError(
                "the token is not known to this server; ask whoever runs it for a new one",
                reason="TOKEN_UNKNOWN",
            )
        if found.expires is not None and datetime.now(UTC).date() > found.expires:
            raise UnauthenticatedError(
                f"the token was good until {found.expires}; ask for a new one", reason="TOKEN_EXPIRED"
            )
        return found.principal

    def _read(self) -> list[TokenEntry]:
        entries, problems = parse_tokens(self._path.read_text("utf-8"))
        for problem in problems:
            log.error("tokens' file %s, %s; the line lets nobody in", self._path, problem)
        log.info("tokens' file %s: %d tokens", self._path, len(entries))
        return entries


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _why(error: OSError | UnicodeDecodeError) -> str:
    # What cannot be decoded must not be quoted.
    return (error.strerror or "error") if isinstance(error, OSError) else "it is not UTF-8"


def _problem(words: list[str]) -> str:
    """What is wrong with a line's words; empty where nothing is."""
    if len(words) not in (3, 4):
        return f"it has {len(words)} words; name, project, sha256 and, if wanted, the last day are needed"
    if not _NAME.fullmatch(words[0]):
        return "the name must start with a letter or digit and have at most 63 of letters, digits and ._@-"
    if not _PROJECT.fullmatch(words[1]):
        return "the project must start with a letter or digit and have at most 39 of a-z, 0-9 and -"
    if not _HASH.fullmatch(words[2]):
        return "the third word must be the token's sha256, 64 of 0-9 and a-f; never the token itself"
    if len(words) == 4 and not _is_day(words[3]):
        return "the last day must be a date, e.g. 2027-12-31"
    return ""


def _is_day(word: str) -> bool:
    try:
        date.fromisoformat(word)
    except ValueError:
        return False
    return _DAY.fullmatch(word) is not None
