"""A tiny pack, its backend, and the servers over it: shared by all tests of the generator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.generator.backend import GeneratorBackend
from services.generator.parts.network import PartsNetwork
from services.generator.parts.store import load_parts
from services.generator.triton_server import find_triton
from tests.support.generator import RunningGenerator, generator_program, in_process_generator
from tests.support.tiny_pack import GENERATOR, PARTS_MODEL, write_tiny_pack
from unitscope.errors import UnavailableError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pack(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def card(pack: Path) -> ModelCard:
    return Registry(pack).resolve(GENERATOR)


@pytest.fixture(scope="session")
def backend(pack: Path, card: ModelCard) -> GeneratorBackend:
    return GeneratorBackend.load(card, Registry(pack).verified(card), threads=1)


@pytest.fixture(scope="session")
def parts_card(pack: Path) -> ModelCard:
    return Registry(pack).resolve(PARTS_MODEL, "parts")


@pytest.fixture(scope="session")
def parts_network(pack: Path, card: ModelCard, parts_card: ModelCard) -> PartsNetwork:
    return load_parts(parts_card, Registry(pack).verified(parts_card), card)


@pytest.fixture(scope="session")
def triton(pack: Path) -> Iterator[RunningGenerator]:
    try:
        find_triton()
    except UnavailableError as error:
        pytest.skip(error.message)
    extras = {"UNITSCOPE_GENERATOR_GRADIENTS": "true", "UNITSCOPE_GENERATOR_HIDDEN": "true"}
    with generator_program(pack, "triton", **extras) as running:
        yield running


@pytest.fixture(scope="session")
def v2_server(pack: Path) -> Iterator[RunningGenerator]:
    with in_process_generator(pack) as running:
        yield running


@pytest.fixture(params=["v2", pytest.param("triton", marks=pytest.mark.integration)])
def running(request: pytest.FixtureRequest) -> RunningGenerator:
    """Either server over the tiny pack: both keep one contract."""
    name = "triton" if request.param == "triton" else "v2_server"
    server: RunningGenerator = request.getfixturevalue(name)
    return server
