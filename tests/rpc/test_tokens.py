"""Tokens: what the file may hold, whom it lets in, and that it fails closed."""

import hashlib
import hmac
import logging
import os
from datetime import UTC, date, datetime, timedelta

import pytest

from unitscope.errors import InvalidArgumentError, UnauthenticatedError, UnavailableError
from unitscope.rpc import tokens
from unitscope.rpc.access import Principal
from unitscope.rpc.tokens import TokenFile, create_token, parse_tokens

HASH = hashlib.sha256(b"x").hexdigest()


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_created_token_gets_in_as_its_owner(tmp_path):
    token, entry = create_token("alice", "lab", date(2100, 1, 31))
    file = TokenFile(write(tmp_path / "tokens", "# people", "", entry.to_line() + " # until she leaves"))
    assert file.authenticate(f"Bearer {token}") == Principal("lab", "alice")
    assert file.authenticate(f"bearer  {token} ") == Principal("lab", "alice")


def test_tokens_are_long_random_and_only_hashed_in_the_line():
    token, entry = create_token("alice", "lab")
    again, _ = create_token("alice", "lab")
    assert token != again
    assert token.startswith("ust_")
    assert len(token) == 4 + 43  # 256 bits in base64
    assert token not in entry.to_line()
    assert entry.sha256 == hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "TOKEN_MISSING"),
        ("", "TOKEN_MISSING"),
        ("Bearer", "TOKEN_MISSING"),
        ("Bearer ", "TOKEN_MISSING"),
        ("Basic eHg6eHg=", "TOKEN_MISSING"),
        ("Bearer x", "TOKEN_UNKNOWN"),
        (f"Bearer {HASH}", "TOKEN_UNKNOWN"),
    ],
)
def test_without_a_known_token_nobody_gets_in(tmp_path, value, reason):
    _, entry = create_token("alice", "lab")
    file = TokenFile(write(tmp_path / "tokens", entry.to_line()))
    with pytest.raises(UnauthenticatedError) as caught:
        file.authenticate(value)
    assert caught.value.reason == reason
    assert "x" * 3 not in caught.value.message


def test_a_token_is_good_through_its_last_day(tmp_path):
    today = datetime.now(UTC).date()
    good, first = create_token("alice", "lab", today)
    ended, second = create_token("bob", "lab", today - timedelta(days=1))
    file = TokenFile(write(tmp_path / "tokens", first.to_line(), second.to_line()))
    # The day may end while the test runs.
    if datetime.now(UTC).date() == today:
        assert file.authenticate(f"Bearer {good}").name == "alice"
    with pytest.raises(UnauthenticatedError) as caught:
        file.authenticate(f"Bearer {ended}")
    assert caught.value.reason == "TOKEN_EXPIRED"


def test_every_entry_is_compared_in_constant_time(tmp_path, monkeypatch):
    made = [create_token(f"user{i}", "lab") for i in range(5)]
    file = TokenFile(write(tmp_path / "tokens", *(entry.to_line() for _, entry in made)))
    compared = []

    def compare(left, right):
        compared.append(left)
        return hmac.compare_digest(left, right)

    monkeypatch.setattr(tokens, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    assert file.authenticate(f"Bearer {made[0][0]}").name == "user0"
    assert compared == [entry.sha256 for _, entry in made]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("alice lab", "2 words"),
        (f"alice lab {HASH} 2027-01-01 more", "5 words"),
        (f"ali/ce lab {HASH}", "name"),
        (f"alice Lab {HASH}", "project"),
        (f"alice ../lab {HASH}", "project"),
        ("alice lab ust_secret-as-it-was-printed", "third word"),
        (f"alice lab {HASH.upper()}", "third word"),
        (f"alice lab {HASH} 2027-13-01", "last day"),
        (f"alice lab {HASH} 20270101", "last day"),
        (f"alice lab {HASH} tomorrow", "last day"),
    ],
)
def test_a_wrong_line_is_named_and_never_quoted(tmp_path, caplog, line, problem):
    token, entry = create_token("bob", "lab")
    file = write(tmp_path / "tokens", entry.to_line(), line)
    with caplog.at_level(logging.DEBUG):
        assert TokenFile(file).authenticate(f"Bearer {token}").name == "bob"
    (_, problems) = parse_tokens(file.read_text())
    assert len(problems) == 1
    assert problems[0].startswith("line 2: ")
    assert problem in problems[0]
    assert problems[0] in caplog.text
    for word in line.split():
        if len(word) > 8:
            assert word not in caplog.text


def test_one_hash_for_two_owners_counts_once():
    entries, problems = parse_tokens(f"alice lab {HASH}\nmallory other {HASH}\n")
    assert [entry.principal.name for entry in entries] == ["alice"]
    assert problems == ["line 2: the token is that of line 1"]


def test_the_file_is_read_again_when_it_changes(tmp_path):
    old, first = create_token("alice", "lab")
    new, second = create_token("alice", "lab")
    path = write(tmp_path / "tokens", first.to_line())
    file = TokenFile(path)
    assert file.authenticate(f"Bearer {old}").name == "alice"
    write(tmp_path / "next", second.to_line())
    os.replace(tmp_path / "next", path)
    assert file.authenticate(f"Bearer {new}").name == "alice"
    with pytest.raises(UnauthenticatedError):
        file.authenticate(f"Bearer {old}")


def test_a_file_that_went_away_lets_nobody_in_until_it_is_back(tmp_path, caplog):
    token, entry = create_token("alice", "lab")
    path = write(tmp_path / "tokens", entry.to_line())
    file = TokenFile(path)
    path.unlink()
    with pytest.raises(UnavailableError) as caught:
        file.authenticate(f"Bearer {token}")
    assert caught.value.reason == "TOKENS_UNREADABLE"
    assert "nobody gets in" in caplog.text
    path.write_bytes(b"\xff secret \xff")
    with pytest.raises(UnavailableError):
        file.authenticate(f"Bearer {token}")
    assert "secret" not in caplog.text
    write(path, entry.to_line())
    assert file.authenticate(f"Bearer {token}").name == "alice"


def test_a_server_does_not_start_without_its_file(tmp_path):
    with pytest.raises(InvalidArgumentError, match="UNITSCOPE_GATEWAY_TOKENS_FILE") as caught:
        TokenFile(tmp_path / "missing")
    assert caught.value.reason == "TOKENS_UNREADABLE"


@pytest.mark.parametrize(("name", "project"), [("", "lab"), ("alice", ""), ("a b", "lab"), ("alice", "LAB")])
def test_an_owner_that_cannot_stand_in_the_file_is_refused(name, project):
    with pytest.raises(InvalidArgumentError) as caught:
        create_token(name, project)
    assert caught.value.reason == "INVALID_TOKEN_OWNER"
