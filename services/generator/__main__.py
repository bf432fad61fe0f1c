"""The program: ``python -m services.generator``."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from services.generator.settings import GeneratorSettings, ServerKind
from services.generator.triton_server import Triton, TritonBinary, find_triton
from unitscope import signals
from unitscope.errors import NotFoundError, UnavailableError, UnitScopeError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.rpc.exposure import check_exposure, check_server
from unitscope.settings import ModelSettings, ServerSettings, TlsSettings

PORT = 7403

log = logging.getLogger("services.generator")


def choose(kind: ServerKind) -> TritonBinary | None:
    """The Triton to run, or None where our own V2 server is to serve.

    Raises:
        UnavailableError: Triton is demanded and cannot run here; the message says why.
    """
    if kind == "v2":
        return None
    try:
        return find_triton()
    except UnavailableError as error:
        if kind == "triton":
            raise
        log.warning("%s; our own V2 server serves instead", error.message)
        return None


def generators(registry: Registry, names: Sequence[str]) -> list[ModelCard]:
    """The named generators, or all that there are.

    Raises:
        NotFoundError: There is none.
    """
    if names:
        return [registry.resolve(name, "generator") for name in names]
    cards = registry.cards("generator")
    if not cards:
        raise NotFoundError(
            f"there is no generator in {registry.root}; set UNITSCOPE_MODELS_ROOT to a folder of model packs",
            reason="MODEL_NOT_FOUND",
        )
    return cards


def serve_triton(
    binary: TritonBinary, cards: Sequence[ModelCard], models: ModelSettings, address: str
) -> None:
    """Runs Triton until SIGTERM or SIGINT. Raises as `supervise` does."""
    # The client library of V2 is imported by what needs it, so that --help answers at once.
    from services.generator.probe import Probe
    from services.generator.supervisor import supervise

    ended = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    settings = GeneratorSettings()
    check_exposure("generator", address, TlsSettings(), False, ServerSettings().insecure)
    triton = Triton(binary, cards, models, settings, address)
    reachable = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    patience = settings.probe_patience_seconds
    probe = Probe(reachable, cards, patience, triton.parts, settings.gradients, settings.hidden)
    try:
        supervise(triton, probe, settings, ended)
    finally:
        probe.close()


def main(
    server: Annotated[
        str, typer.Option(help="auto, triton or v2; the default is UNITSCOPE_GENERATOR_SERVER.")
    ] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="A generator to serve; all of the registry otherwise.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Load every generator, render a picture, and exit.")
    ] = False,
) -> None:
    """Serve the generators of a model registry over the Open Inference Protocol v2.

    Runs the real Triton Inference Server where one is installed, and a small server of the same
    protocol otherwise. Settings are read from the environment (UNITSCOPE_SERVER_*,
    UNITSCOPE_MODELS_*, UNITSCOPE_GENERATOR_*). Example:

    UNITSCOPE_MODELS_ROOT=models python -m services.generator --server triton
    """
    # Read by torch when it first takes memory, here or under Triton: canvases in pages of 2 MiB. Taking
    # them in small pages costs a layer of the full network 13 to 22 % of its time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if server not in ("", "auto", "triton", "v2"):
        raise typer.BadParameter(f"{server!r}; it must be auto, triton or v2")
    kind: ServerKind = server or GeneratorSettings().server  # type: ignore[assignment]
    models, settings = ModelSettings(), ServerSettings()
    try:
        signals.begin("generator", serves=not check)
        cards = generators(Registry(models.root), model or [])
        if check:
            check_server("generator", settings)
            _check(cards, models)
        elif (binary := choose(kind)) is not None:
            serve_triton(binary, cards, models, settings.listen or f"127.0.0.1:{PORT}")
        else:
            from services.generator.v2_program import make_server

            own = GeneratorSettings()
            make_server(cards, models, settings, own.gradients, own.precision, own.hidden).run()
        signals.end()
    except UnitScopeError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from None


def _check(cards: Sequence[ModelCard], models: ModelSettings) -> None:
    from services.generator.v2_program import self_test

    for card in cards:
        typer.echo(f"{card.name} {card.short_digest}: {self_test(card, models)}")


if __name__ == "__main__":
    typer.run(main)
