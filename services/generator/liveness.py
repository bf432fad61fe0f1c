"""Whether the generator renders: ``python -m services.generator.liveness``, with exit code 0 or 1.

For probes of containers. A python backend whose process was killed leaves Triton "ready" while every
inference fails: only an inference tells. One row of zeros goes to every model that the settings have the
server serve, over TLS where UNITSCOPE_TLS_SERVER_CA_FILE is set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from services.generator.__main__ import PORT, generators
from services.generator.parts.cards import usable
from services.generator.probe import Probe
from services.generator.settings import GeneratorSettings
from unitscope.errors import UnitScopeError
from unitscope.models.registry import Registry
from unitscope.settings import ModelSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Infers once with every model; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m services.generator.liveness",
        description="Says whether the generator renders, by a small inference of every model.",
        epilog="example: python -m services.generator.liveness --model avatars/generator",
    )
    parser.add_argument("--address", default=f"127.0.0.1:{PORT}", help="of the server (default: %(default)s)")
    parser.add_argument(
        "--model", action="append", default=[], help="a generator; default: all of the registry"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="deadline of an inference (default: 20)")
    options = parser.parse_args(arguments)
    settings = GeneratorSettings()
    try:
        registry = Registry(ModelSettings().root)
        cards = generators(registry, options.model)
        probe = Probe(
            options.address,
            cards,
            options.seconds,
            usable(registry, cards),
            settings.gradients,
            settings.hidden,
        )
        try:
            probe.check()
        finally:
            probe.close()
    except UnitScopeError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"{', '.join(card.name for card in cards)}: every model renders")
    return 0


if __name__ == "__main__":
    sys.exit(main())
