"""One whole stack for the tests of this folder: real processes, the real Triton binary, a real store."""

import pytest

from tests.support.tiny_pack import write_tiny_pack
from unitscope.embedded import Embedded

LINK = {
    "classifier": "tiny/classifier",
    "generator": "tiny/generator",
    "samples_per_class": 60,
    "heldout_per_class": 12,
    "folds": 3,
    "attempts_per_sample": 50,
}
TRAVERSE = {"link": LINK, "units": {"top": 3}, "seeds_per_class": 2, "steps": 4, "keep": "all"}


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    return write_tiny_pack(tmp_path_factory.mktemp("tiny-models"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory, tiny_models):
    patience = {
        "UNITSCOPE_GATEWAY_LOST_AFTER_SECONDS": "6",
        "UNITSCOPE_GATEWAY_RECONCILE_SECONDS": "0.3",
        "UNITSCOPE_WORKER_REFRESH_SECONDS": "1",
    }
    home = tmp_path_factory.mktemp("stack")
    with Embedded(home, tiny_models, environment=patience, start_seconds=600) as stack:
        yield stack
