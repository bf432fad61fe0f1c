from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.classifier.archive import read_archive
from services.classifier.classifier import preprocess
from services.classifier.declaring import Declaration
from services.classifier.importer import import_export, open_export
from services.classifier.loading import GRAPH_FILE, load_classifier
from services.classifier.program import parse_program, trimmed
from services.classifier.program_network import ProgramNetwork
from tests.services.classifier.exported import CLASSES, EDGE, NETWORKS, edited, residual, step, write_export
from unitscope.errors import DataLossError, FailedPreconditionError, InvalidArgumentError, UnitScopeError
from unitscope.models.cards import WEIGHTS_FILE
from unitscope.models.registry import Registry

IMAGES = np.random.default_rng(5).integers(0, 256, (37, EDGE, EDGE, 3), dtype=np.uint8)
LAYERS = {
    "residual": {"maps": "act", "before": "block"},
    "transformer": {"tokens": "encoder.layers.encoder_layer_0", "average": "encoder.ln:mean"},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, export_files: dict[str, Path]) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name, file in export_files.items():
        import_export(file, root, Declaration(name, layers=LAYERS[name]))
    return root


@pytest.mark.parametrize("name", NETWORKS)
def test_the_imported_program_computes_what_the_network_does(root: Path, name: str) -> None:
    registry = Registry(root)
    card = registry.resolve(f"mine/{name}")
    classifier = load_classifier(card, registry)
    assert card.input is not None
    with torch.inference_mode():
        expected = NETWORKS[name]()(preprocess(torch.from_numpy(IMAGES), card.input)).numpy()
    reading = classifier.read(IMAGES)
    np.testing.assert_allclose(reading.logits, expected, atol=1e-5)
    assert expected.std() > 0.01
    np.testing.assert_array_equal(classifier.head(reading.features), reading.logits)
    for index in (0, 36):
        np.testing.assert_array_equal(
            classifier.read(IMAGES[index : index + 1]).logits[0], reading.logits[index]
        )


def test_layers_are_named_by_modules_and_read_before_steps_in_place(root: Path) -> None:
    registry = Registry(root)
    classifier = load_classifier(registry.resolve("mine/residual"), registry)
    layers = {layer.name: layer for layer in classifier.card.layers}
    assert [(name, layer.units, layer.nonnegative, layer.has_head) for name, layer in layers.items()] == [
        ("penultimate", 8, True, True), ("maps", 8, True, False), ("before", 8, False, False),
    ]  # fmt: skip
    network, seen = residual(), {}
    network.get_submodule("block").register_forward_hook(lambda _m, _i, out: seen.update(block=out.clone()))
    assert classifier.card.input is not None
    with torch.inference_mode():
        network(preprocess(torch.from_numpy(IMAGES[:3]), classifier.card.input))
    before = classifier.read(IMAGES[:3], "before", maps=True)
    assert before.maps is not None
    np.testing.assert_allclose(before.maps, seen["block"].numpy(), atol=1e-5)
    assert (before.maps < 0).any()
    after = classifier.read(IMAGES[:3], "maps", maps=True)
    np.testing.assert_allclose(after.features, classifier.read(IMAGES[:3]).features, atol=1e-6)


def test_a_vision_transformer_has_features_and_maps_of_its_tokens(root: Path) -> None:
    registry = Registry(root)
    classifier = load_classifier(registry.resolve("mine/transformer"), registry)
    tokens, average = classifier.card.layer("tokens"), classifier.card.layer("average")
    assert (tokens.layout, tokens.token, tokens.grid, tokens.units) == ("tokens", "class", (4, 4), 16)
    assert (average.token, average.grid) == ("mean", (4, 4))
    assert not tokens.has_head
    reading = classifier.read(IMAGES[:2], "average", maps=True)
    assert reading.maps is not None
    assert reading.maps.shape == (2, 16, 4, 4)
    np.testing.assert_allclose(reading.features, reading.maps.mean((2, 3)), atol=1e-6)
    assert classifier.card.layer().has_head
    assert classifier.read(IMAGES[:2]).features.shape == (2, 16)


def test_a_program_of_a_fixed_batch_is_padded_to_it(tmp_path: Path) -> None:
    file = write_export(residual(), tmp_path / "fixed.pt2", batch=3)
    card = import_export(file, tmp_path, Declaration("fixed"))
    reading = load_classifier(card, Registry(tmp_path)).read(IMAGES)
    network, _, _, _ = open_export(file)
    assert network.batch == 3
    assert reading.logits.shape == (37, CLASSES)
    assert len(np.unique(reading.logits[:, 0])) == 37


def test_what_is_kept_says_nothing_of_who_exported(root: Path) -> None:
    text = (root / "mine" / "residual" / GRAPH_FILE).read_text()
    assert "stack_trace" not in text
    assert str(Path(__file__).parents[3]) not in text


def test_a_changed_graph_is_noticed(export_files: dict[str, Path], tmp_path: Path) -> None:
    card = import_export(export_files["residual"], tmp_path, Declaration("net"))
    path = tmp_path / "mine" / "net" / GRAPH_FILE
    path.write_text(path.read_text().replace("aten.relu", "aten.silu"))
    with pytest.raises(DataLossError, match=GRAPH_FILE):
        load_classifier(card, Registry(tmp_path))


def _target(value: str) -> Any:
    return lambda model: step(model, "mean").update(target=value)


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default", "torch.ops.aten.bernoulli.default", "torch.ops.aten.view.dtype",
        "torch.ops.mine.mean.dim", "torch.hub.load", "torch.os.system", "_operator.attrgetter", "math.__loader__",
        "torch.ops.aten.mean.__class__", "torch.ops.higher_order.cond", "#custom:thing", "aten.mean", "",
    ],
)  # fmt: skip
def test_operators_that_are_not_on_the_list_are_refused(
    export_files: dict[str, Path], tmp_path: Path, target: str
) -> None:
    file = edited(export_files["residual"], tmp_path / "x.pt2", _target(target))
    with pytest.raises(InvalidArgumentError, match="not among the operators") as caught:
        import_export(file, tmp_path, Declaration("net"))
    assert caught.value.reason == "OPERATOR_NOT_ALLOWED"
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt2"]


def test_no_expression_of_the_file_is_evaluated(
    export_files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own loader hands these strings to a parser that evaluates them."""
    monkeypatch.chdir(tmp_path)

    def poison(model: dict[str, Any]) -> None:
        for value in model["graph_module"]["graph"]["tensor_values"].values():
            expression = {"as_expr": {"expr_str": "__import__('os').mkdir('exploded')", "hint": None}}
            value["sizes"][:1] = [expression] * len(value["sizes"][:1])
        model["guards_code"] = ["__import__('os').mkdir('exploded')"]

    file = edited(export_files["residual"], tmp_path / "x.pt2", poison)
    import_export(file, tmp_path, Declaration("net"))
    assert not os.path.exists("exploded")


def test_pickled_members_are_never_opened(export_files: dict[str, Path], tmp_path: Path) -> None:
    def pickled(config: dict[str, Any]) -> None:
        config["config"]["fc.bias"]["use_pickle"] = True

    file = edited(export_files["residual"], tmp_path / "x.pt2", pickled, "model_weights_config.json")
    with pytest.raises(InvalidArgumentError, match=r"'fc\.bias' as a pickle") as caught:
        read_archive(file)
    assert caught.value.reason == "PICKLED_MEMBER"
    with zipfile.ZipFile(export_files["residual"]) as old, zipfile.ZipFile(tmp_path / "y.pt2", "w") as new:
        for info in old.infolist():
            samples = info.filename.endswith("sample_inputs/model.pt")
            new.writestr(info.filename, b"not even a pickle" if samples else old.read(info))
    assert (
        read_archive(tmp_path / "y.pt2").tensors.keys()
        == read_archive(export_files["residual"]).tensors.keys()
    )


def _trains(model: dict[str, Any]) -> None:
    arguments = step(model, "batch_norm")["inputs"]
    next(item for item in arguments if item["name"] == "training")["arg"] = {"as_bool": True}


def _huge(model: dict[str, Any]) -> None:
    node = step(model, "mean")
    size = [{"as_int": 1 << 10}, {"as_int": 1 << 10}, {"as_int": 32}, {"as_int": 32}]
    node["target"] = "torch.ops.aten.repeat.default"
    node["inputs"] = [node["inputs"][0], {"name": "repeats", "arg": {"as_sym_ints": size}, "kind": 1}]


def _does_not_fit(model: dict[str, Any]) -> None:
    step(model, "mean")["inputs"][1]["arg"] = {"as_ints": [7]}


def _two_outputs(model: dict[str, Any]) -> None:
    specs = model["graph_module"]["signature"]["output_specs"]
    specs.append(specs[0])


def _trained_buffer(model: dict[str, Any]) -> None:
    specs = model["graph_module"]["signature"]["output_specs"]
    specs[0] = {"buffer_mutation": {"arg": {"name": "linear"}, "buffer_name": "stem.1.running_mean"}}


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        (_trains, "MODE_TRAINING", r"model\.eval\(\)"),
        (_huge, "PROGRAM_TOO_LARGE", "at most"),
        (_does_not_fit, "INVALID_PROGRAM", "mean"),
        (_two_outputs, "NOT_A_CLASSIFIER", "logits alone"),
        (_trained_buffer, "NOT_A_CLASSIFIER", "buffer_mutation"),
        (lambda model: model.pop("graph_module"), "INVALID_ARCHIVE", "graph_module"),
        (lambda model: model.update(schema_version={"major": 9}), "INVALID_ARCHIVE", "major version 8"),
        (lambda model: step(model, "mean").pop("inputs"), "INVALID_ARCHIVE", "inputs"),
        (lambda model: step(model, "conv2d").update(inputs=[{"name": "x", "arg": {"as_graph": {}}}]),
         "INVALID_ARCHIVE", "as_graph"),
    ],
)  # fmt: skip
def test_what_is_no_classifier_is_refused_with_a_reason(
    export_files: dict[str, Path], tmp_path: Path, change: Any, reason: str, says: str
) -> None:
    file = edited(export_files["residual"], tmp_path / "x.pt2", change)
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        import_export(file, tmp_path, Declaration("net"))
    assert caught.value.reason == reason
    assert not (tmp_path / "mine").exists()


def _tensor(**changes: Any) -> Any:
    return lambda config: config["config"]["fc.weight"]["tensor_meta"].update(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": [{"as_int": 1 << 40}, {"as_int": 8}]},
        {"strides": [{"as_int": 0}, {"as_int": 0}], "sizes": [{"as_int": 1 << 20}, {"as_int": 1 << 20}]},
        {"strides": [{"as_int": -8}, {"as_int": 1}]},
        {"storage_offset": {"as_int": 4096}},
        {"dtype": 99},
        {"sizes": [{"as_int": 40}]},
    ],
)
def test_tensors_outside_their_bytes_are_refused(
    export_files: dict[str, Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    file = edited(
        export_files["residual"], tmp_path / "x.pt2", _tensor(**changes), "model_weights_config.json"
    )
    with pytest.raises(InvalidArgumentError, match=r"the tensor 'fc\.weight'") as caught:
        read_archive(file)
    assert caught.value.reason == "INVALID_ARCHIVE"


def test_files_of_another_kind_are_refused(export_files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text.pt2").write_text("hello")
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as new:
        new.writestr("serialized_exported_program.json", "{}")
    with zipfile.ZipFile(tmp_path / "empty.pt2", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("x/models/model.json", json.dumps({"schema_version": {"major": 8}}))
    for name, says in (
        ("text", "no archive"), ("old", "earlier torch"), ("empty", "0 graphs"), ("bomb", "compressed"),
        ("missing", "No such file"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=says):
            read_archive(tmp_path / f"{name}.pt2")


class _OnAView(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(2)
        x.relu_()
        return flat.mean(2)


def test_steps_in_place_on_shared_memory_are_refused(tmp_path: Path) -> None:
    class Wrapped(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return _OnAView()(x * 2)

    file = write_export(Wrapped(), tmp_path / "view.pt2")
    with pytest.raises(InvalidArgumentError, match="run_decompositions") as caught:
        parse_program(read_archive(file).model)
    assert caught.value.reason == "IN_PLACE_ON_A_VIEW"


def test_a_program_of_another_size_is_refused(export_files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="fixes images of 32 x 32 pixels, not 64 x 64"):
        import_export(export_files["residual"], tmp_path, Declaration("net", size=(64, 64)))
    archive = read_archive(export_files["residual"])
    program = parse_program(trimmed(archive.model))
    with pytest.raises(InvalidArgumentError, match="exported for images"):
        ProgramNetwork(program, archive.tensors, (64, 64))
    with pytest.raises(InvalidArgumentError, match="no tensor 'block"):
        ProgramNetwork(program, {}, (EDGE, EDGE))


def test_a_folder_whose_weights_do_not_fit_is_not_served(root: Path, tmp_path: Path) -> None:
    card = Registry(root).resolve("mine/residual")
    other = Registry(root).resolve("mine/transformer")
    folder = tmp_path / "mine" / "residual"
    folder.mkdir(parents=True)
    for name, source in ((GRAPH_FILE, "residual"), (WEIGHTS_FILE, "transformer")):
        (folder / name).write_bytes((root / "mine" / source / name).read_bytes())
    files = {GRAPH_FILE: card.files[GRAPH_FILE], WEIGHTS_FILE: other.files[WEIGHTS_FILE]}
    mixed = card.model_copy(update={"files": files})
    with pytest.raises(FailedPreconditionError, match="cannot be served") as caught:
        load_classifier(mixed, Registry(tmp_path))
    assert caught.value.reason == "INVALID_CARD"


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a JSON value with a key into it."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found.append((value, key))
        found.extend(_places(item))
    return found


def test_damaged_graphs_end_in_a_sentence(export_files: dict[str, Path]) -> None:
    """300 graphs with one value replaced: read, or refused by an error of ours; nothing large is made."""
    archive = read_archive(export_files["transformer"])
    source = json.dumps(trimmed(archive.model))
    rng = np.random.default_rng(11)
    odd = [
        None,
        -1,
        0,
        1 << 40,
        1 << 70,
        0.5,
        "x",
        "linear",
        [],
        {},
        [[]],
        True,
        {"as_int": 1 << 45},
        {"as_none": True},
    ]
    refused, reasons = 0, set()
    for _ in range(300):
        model = json.loads(source)
        places = _places(model)
        container, key = places[int(rng.integers(len(places)))]
        container[key] = odd[int(rng.integers(len(odd)))]
        try:
            ProgramNetwork(parse_program(model), archive.tensors, (EDGE, EDGE))
        except UnitScopeError as error:
            refused += 1
            reasons.add(error.reason)
    assert refused > 100
    assert "INTERNAL" not in reasons


@pytest.mark.parametrize("operator", ["zeros", "arange", "full"])
def test_what_makes_tensors_of_nothing_makes_none_in_the_dry_run(
    export_files: dict[str, Path], tmp_path: Path, operator: str
) -> None:
    def huge(model: dict[str, Any]) -> None:
        size = {"name": "size", "arg": {"as_ints": [1 << 40]}, "kind": 1}
        inputs = {
            "zeros": [size],
            "arange": [{"name": "end", "arg": {"as_int": 1 << 40}, "kind": 1}],
            "full": [size, {"name": "fill_value", "arg": {"as_float": 1.0}, "kind": 1}],
        }
        step(model, "mean").update(target=f"torch.ops.aten.{operator}.default", inputs=inputs[operator])

    file = edited(export_files["residual"], tmp_path / "x.pt2", huge)
    with pytest.raises(InvalidArgumentError, match="at most") as caught:
        import_export(file, tmp_path, Declaration("net"))
    assert caught.value.reason == "PROGRAM_TOO_LARGE"
