"""Plans whose linker was fitted with one generator and whose pictures another one renders."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
import torch

from tests.support.grown import GROWN, grown_network, write_grown
from tests.support.tiny_pack import CLASSES, CLASSIFIER, GENERATOR, write_tiny_pack
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, UnitScopeError
from unitscope.jobs import planning
from unitscope.jobs.plan import Plan
from unitscope.jobs.specs import parse_spec
from unitscope.models import ModelCard, Registry
from unitscope.models.cards import CARD_FILE

DIGEST = "0" * 64


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    root = write_tiny_pack(tmp_path_factory.mktemp("models"))
    write_grown(root)
    network = grown_network(root)
    with torch.no_grad():
        network.mapping.embed.weight.mul_(1.5)
    write_grown(root, network, "tiny/stranger")
    write_grown(root, None, "tiny/renamed", tuple(reversed(CLASSES)))
    return Registry(root)


def plan(registry: Registry, kind: str = "traverse", **values: Any) -> Plan:
    classifier, generator = (registry.resolve(name) for name in (CLASSIFIER, GENERATOR))
    linker = ModelCard(
        name="linkers/000000000000",
        kind="linker",
        description="A linker of the tiny pack.",
        license="as its models",
        architecture={
            "name": "affine",
            "layer": "penultimate",
            "classifier": {"name": classifier.name, "digest": classifier.digest},
            "generator": {"name": generator.name, "digest": generator.digest},
        },
        classes=CLASSES,
        files={},
    )
    spec = parse_spec(kind, {"linker": DIGEST, **values})
    return planning.make(spec, registry, lambda _: linker)


def test_a_stage_of_the_same_stem_takes_the_generators_place(registry: Registry) -> None:
    own, other = plan(registry), plan(registry, render_with=GROWN)
    grown = registry.resolve(GROWN)
    assert [(m.kind, m.name) for m in own.models[:2]] == [
        ("classifier", CLASSIFIER),
        ("generator", GENERATOR),
    ]
    assert [(m.kind, m.name) for m in other.models] == [
        ("classifier", CLASSIFIER), ("generator", GROWN), ("linker", "linkers/000000000000"),
    ]  # fmt: skip
    assert other.models[1].digest == grown.digest
    assert other.digest != own.digest
    assert other.stages == own.stages


def test_the_linkers_own_generator_may_be_named(registry: Registry) -> None:
    assert plan(registry, render_with=GENERATOR).models == plan(registry).models


def test_a_pinned_digest_is_kept(registry: Registry) -> None:
    pinned = f"{GROWN}@sha256:{registry.resolve(GROWN).short_digest}"
    assert plan(registry, render_with=pinned).models == plan(registry, render_with=GROWN).models


def test_quantify_looks_for_parts_of_the_generator_that_renders(registry: Registry) -> None:
    assert plan(registry, "quantify").models[-1].name == "tiny/parts"
    with pytest.raises(UnitScopeError, match="no parts model for tiny/grown") as caught:
        plan(registry, "quantify", render_with=GROWN)
    assert caught.value.reason == "NO_PARTS_MODEL"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tiny/stranger", "W_NOT_SHARED"),
        ("tiny/renamed", "CLASSES_DIFFER"),
        ("tiny/none", "MODEL_NOT_FOUND"),
        (CLASSIFIER, "WRONG_MODEL_KIND"),
        ("no name", "INVALID_MODEL_NAME"),
    ],
)
def test_other_generators_are_refused(registry: Registry, name: str, reason: str) -> None:
    with pytest.raises(UnitScopeError) as caught:
        plan(registry, render_with=name)
    assert caught.value.reason == reason
    assert caught.value.violations[0][0] == "spec.traverse.render_with"


def test_the_tensors_decide_and_not_what_a_card_records(registry: Registry) -> None:
    folder = registry.folder("tiny/liar")
    shutil.copytree(registry.folder("tiny/stranger"), folder)
    card = json.loads((folder / CARD_FILE).read_text())
    card |= {"name": "tiny/liar", "metrics": registry.resolve(GROWN).metrics}
    (folder / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(FailedPreconditionError) as caught:
        plan(registry, render_with="tiny/liar")
    assert caught.value.reason == "W_NOT_SHARED"


@pytest.mark.parametrize("kind", ["traverse", "quantify"])
def test_a_linker_that_is_still_to_be_fitted_has_its_own_generator(kind: str) -> None:
    link = {"classifier": CLASSIFIER, "generator": GENERATOR}
    with pytest.raises(InvalidArgumentError, match="render_with goes with 'linker'"):
        parse_spec(kind, {"link": link, "render_with": GROWN})
