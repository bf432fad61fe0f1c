from __future__ import annotations

import contextlib
import os
import pickle
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from services.generator.importing import source
from services.generator.importing.importer import import_stylegan_xl
from services.generator.importing.limits import Limits
from services.generator.importing.opcodes import OpcodeStream
from services.generator.importing.reader import SymbolicReader
from tests.services.generator.importing.hostile import ATTACKS, CASES, EVIL_MODULE, LIMITS
from tests.services.generator.importing.official import checkpoint_bytes
from unitscope.errors import InvalidArgumentError


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, where a module lies that leaves traces."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "evil_module.py").write_text(EVIL_MODULE)
    monkeypatch.syspath_prepend(tmp_path / "path")
    monkeypatch.delitem(sys.modules, "evil_module", raising=False)
    (tmp_path / "room").mkdir()
    monkeypatch.chdir(tmp_path / "room")
    return tmp_path / "room"


def refusal(data: bytes, limits: Limits | None = None) -> InvalidArgumentError:
    Path("hostile.pkl").write_bytes(data)
    with pytest.raises(InvalidArgumentError) as raised:
        import_stylegan_xl(Path("hostile.pkl"), Path("models"), name="a/b", limits=limits)
    assert raised.value.violations
    return raised.value


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_is_refused_and_nothing_happens(room: Path, case: str) -> None:
    build, reason, message = CASES[case]
    error = refusal(build(), LIMITS.get(case))
    assert error.reason == reason, error.message
    assert pytest.raises(InvalidArgumentError, match=message).matches(error), error.message
    assert len(error.message) < 400
    assert "evil_module" not in sys.modules
    assert sorted(path.name for path in room.iterdir() if path.name != "models") == ["hostile.pkl"]
    assert not list(room.glob("models/**/*"))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_one(room: Path, attack: str) -> None:
    """An ordinary unpickler executes it, so that the test above can fail; here it is but read."""
    with contextlib.suppress(InvalidArgumentError):
        SymbolicReader(memoryview(ATTACKS[attack])).read()
    assert not list(room.iterdir())
    pickle.loads(ATTACKS[attack])
    assert Path("exploded").exists()


def test_a_file_cut_anywhere_is_refused(room: Path) -> None:
    data = checkpoint_bytes(16, G=None, D=None)
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 11, len(data) - 1, *rng.integers(12, len(data), 40)):
        error = refusal(data[:length])
        assert error.reason == "TRUNCATED_FILE", (length, error.message)


def descriptions(data: bytes) -> np.ndarray:
    """Positions of all bytes of a file that are not the weights themselves."""
    stream, free = OpcodeStream(memoryview(data), Limits()), np.ones(len(data), bool)
    for _, argument in stream:
        if isinstance(argument, memoryview):
            weights = slice(stream.position - len(argument) + 400, stream.position)
            free[weights] = False
    return np.flatnonzero(free)


def test_a_damaged_file_is_imported_or_refused_and_nothing_else(room: Path) -> None:
    data, rng = checkpoint_bytes(16, G=None, D=None), np.random.default_rng(1)
    positions = descriptions(data)
    reasons: set[str] = set()
    for i in range(150):
        damaged = bytearray(data)
        for position in rng.choice(positions, 1 + i % 3):
            damaged[position] = rng.integers(256)
        Path("damaged.pkl").write_bytes(damaged)
        try:
            import_stylegan_xl(Path("damaged.pkl"), Path("models"), name=f"a/b{i}")
        except InvalidArgumentError as error:
            reasons.add(error.reason)
    assert len(reasons) > 8, reasons


def test_limits_are_those_that_were_asked_for(room: Path) -> None:
    data = checkpoint_bytes(16)
    for name, limits in {
        "FILE_SIZE_LIMIT": Limits(file_bytes=1000),
        "OPCODE_LIMIT": Limits(opcodes=1000),
        "TOTAL_SIZE_LIMIT": Limits(total_bytes=1 << 20),
        "TENSOR_COUNT_LIMIT": Limits(tensors=20),
    }.items():
        assert refusal(data, limits).reason == name


def test_a_file_that_shrinks_while_it_is_read_is_refused(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a mapped file the system would end the process."""
    path, read = Path("hostile.pkl"), source._read_into
    path.write_bytes(checkpoint_bytes(16))

    def shrinking(file: BinaryIO, buffer: memoryview) -> int:
        os.truncate(path, 1000)
        return read(file, buffer)

    def shrunk(file: BinaryIO, buffer: memoryview) -> int:
        count = read(file, buffer)
        os.truncate(path, 1000)
        return count

    for change in (shrinking, shrunk):
        path.write_bytes(checkpoint_bytes(16))
        monkeypatch.setattr(source, "_read_into", change)
        with pytest.raises(InvalidArgumentError, match=r"had [\d,]+ bytes and has 1,000") as raised:
            import_stylegan_xl(path, Path("models"), name="a/b")
        assert raised.value.reason == "FILE_CHANGED"
    assert not Path("models").exists()


def test_a_file_that_shrinks_after_it_was_read_does_no_harm(room: Path) -> None:
    path, whole = Path("hostile.pkl"), checkpoint_bytes(16)
    path.write_bytes(whole)
    data = source.open_source(path, Limits())
    os.truncate(path, 0)
    assert bytes(data) == whole
    with pytest.raises(TypeError):
        data[0] = 0


def test_a_file_beyond_the_memory_of_the_machine_is_refused(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2, "SC_PAGE_SIZE": 4096}.__getitem__)
    error = refusal(checkpoint_bytes(16))
    assert error.reason == "FILE_EXCEEDS_MEMORY"
    assert "8,192 bytes of memory" in error.message
