from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from services.classifier.classifier import preprocess
from services.classifier.declaring import Declaration
from services.classifier.importer import import_onnx, open_onnx
from services.classifier.loading import ONNX_FILE, load_classifier
from services.classifier.onnx_file import read_onnx
from tests.services.classifier.exported import CLASSES, EDGE, NETWORKS
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.models.registry import Registry

IMAGES = np.random.default_rng(6).integers(0, 256, (35, EDGE, EDGE, 3), dtype=np.uint8)


def main_layers(file: Path) -> list[str]:
    network, _ = open_onnx(file)
    return [place for place, passed in network.places().items() if passed]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_imported_model_computes_what_the_network_does(
    onnx_files: dict[str, Path], tmp_path: Path, name: str
) -> None:
    maps = main_layers(onnx_files[name])[-3]
    card = import_onnx(onnx_files[name], tmp_path, Declaration(name, layers={"maps": maps}))
    classifier = load_classifier(card, Registry(tmp_path))
    assert card.input is not None
    with torch.inference_mode():
        expected = NETWORKS[name]()(preprocess(torch.from_numpy(IMAGES), card.input)).numpy()
    reading = classifier.read(IMAGES)
    np.testing.assert_allclose(reading.logits, expected, atol=1e-4)
    assert expected.std() > 0.01
    assert card.layer().has_head
    np.testing.assert_array_equal(classifier.head(reading.features), reading.logits)
    np.testing.assert_array_equal(classifier.read(IMAGES[34:]).features[0], reading.features[34])
    spatial = classifier.read(IMAGES[:2], "maps", maps=True)
    assert spatial.maps is not None
    assert spatial.maps.shape == ((2, 8, 16, 16) if name == "residual" else (2, 16, 4, 4))
    assert not card.layer("maps").has_head
    both = classifier.read(IMAGES[:3], "maps+penultimate").features
    np.testing.assert_array_equal(both[:, -card.layer().units :], reading.features[:3])


def test_the_file_is_kept_as_it_is(onnx_files: dict[str, Path], tmp_path: Path) -> None:
    card = import_onnx(onnx_files["residual"], tmp_path, Declaration("pack/net", classes=list("abcde")))
    assert (tmp_path / "pack" / "net" / ONNX_FILE).read_bytes() == onnx_files["residual"].read_bytes()
    assert card.training["source_sha256"] == card.files[ONNX_FILE].sha256
    assert card.classes == tuple("abcde")


def small_model(*nodes: onnx.NodeProto, **fields: Any) -> onnx.ModelProto:
    """A model of images (n, 3, 8, 8), with the tensors w (3, 4) and b (4)."""
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    weights = [onnx.numpy_helper.from_array(values, "w"), onnx.numpy_helper.from_array(values[0], "b")]
    graph = helper.make_graph(
        list(nodes), "g",
        [helper.make_tensor_value_info("x", fields.get("kind", TensorProto.FLOAT), fields.get("shape", ["n", 3, 8, 8]))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "c"]) for name in fields.get("outputs", ["y"])],
        weights,
    )  # fmt: skip
    return helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    )


POOL = helper.make_node("GlobalAveragePool", ["x"], ["p"])
FLAT = helper.make_node("Flatten", ["p"], ["f"])
PRODUCT = helper.make_node("MatMul", ["f", "w"], ["m"])
SUM = helper.make_node("Add", ["m", "b"], ["y"])


def saved(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_a_product_and_a_sum_are_a_linear_layer(tmp_path: Path) -> None:
    path = saved(small_model(POOL, FLAT, PRODUCT, SUM), tmp_path / "m.onnx")
    card = import_onnx(path, tmp_path, Declaration("net", size=(8, 8), layers={"mean:colour": "p"}))
    assert (card.layer().module, card.layer().units) == ("f", 3)
    assert card.layer("mean:colour").units == 3
    assert main_layers(path) == ["p", "f", "m"]


def test_without_a_linear_layer_one_must_be_named(tmp_path: Path) -> None:
    path = saved(small_model(POOL, FLAT, PRODUCT, SUM, helper.make_node("Softmax", ["y"], ["s"]), outputs=["s"]),
                 tmp_path / "m.onnx")  # fmt: skip
    with pytest.raises(FailedPreconditionError, match=r"one of these, .*: p, f, m, y") as caught:
        import_onnx(path, tmp_path, Declaration("net", size=(8, 8)))
    assert caught.value.reason == "NO_PENULTIMATE_LAYER"
    card = import_onnx(path, tmp_path, Declaration("net", size=(8, 8), layers={"penultimate": "f"}))
    assert card.layer().units == 3


def _external() -> onnx.ModelProto:
    model = small_model(POOL, FLAT, PRODUCT, SUM)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../../etc/passwd")
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    return model


def _external_constant() -> onnx.ModelProto:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    return small_model(constant, POOL, FLAT, PRODUCT, helper.make_node("Add", ["m", "c"], ["y"]))


def _function() -> onnx.ModelProto:
    model = small_model(POOL, FLAT, PRODUCT, SUM)
    model.functions.append(helper.make_function("mine", "F", ["a"], ["b"], [], [helper.make_opsetid("", 17)]))
    return model


def _loop() -> onnx.ModelProto:
    body = helper.make_graph([], "body", [], [])
    return small_model(POOL, helper.make_node("Loop", ["p"], ["y"], body=body))


def _hidden_graph() -> onnx.ModelProto:
    body = helper.make_graph([], "body", [], [])
    return small_model(POOL, helper.make_node("Relu", ["p"], ["y"], body=body))


@pytest.mark.parametrize(
    ("make", "reason", "says"),
    [
        (_external, "EXTERNAL_DATA", "in another file"),
        (_external_constant, "EXTERNAL_DATA", "in another file"),
        (_function, "OPERATOR_NOT_ALLOWED", "functions of its own"),
        (_loop, "OPERATOR_NOT_ALLOWED", "Loop"),
        (_hidden_graph, "OPERATOR_NOT_ALLOWED", "graphs of its own"),
        (lambda: small_model(helper.make_node("Thing", ["x"], ["y"], domain="mine")),
         "OPERATOR_NOT_ALLOWED", "Thing of the domain 'mine'"),
        (lambda: small_model(helper.make_node("RandomNormalLike", ["x"], ["y"])), "OPERATOR_NOT_ALLOWED", "random"),
        (lambda: small_model(helper.make_node("NoSuch", ["x"], ["y"])), "INVALID_ONNX", "no valid ONNX"),
        (lambda: small_model(POOL, FLAT, PRODUCT, SUM, outputs=["y", "f"]), "NOT_A_CLASSIFIER", "2 outputs"),
        (lambda: small_model(POOL, FLAT, PRODUCT, SUM, shape=["n", 8, 8, 3]), "NOT_A_CLASSIFIER", "height, width"),
        (lambda: small_model(POOL, FLAT, PRODUCT, SUM, kind=TensorProto.FLOAT16), "NOT_A_CLASSIFIER", "type 10"),
        (lambda: small_model(), "INVALID_ONNX", "0 nodes"),
        (lambda: small_model(POOL, FLAT, helper.make_node("MatMul", ["f", "b"], ["y"])), "INVALID_ONNX", "onnxruntime"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_with_a_reason(tmp_path: Path, make: Any, reason: str, says: str) -> None:
    path = saved(make(), tmp_path / "m.onnx")
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        import_onnx(path, tmp_path, Declaration("net", size=(8, 8)))
    assert caught.value.reason == reason
    assert not (tmp_path / "mine").exists()


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\xff" * 64)
    with pytest.raises(InvalidArgumentError, match="no ONNX file"):
        read_onnx(tmp_path / "m.onnx")
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_onnx(tmp_path / "missing.onnx")


def test_without_the_packages_a_sentence_says_what_to_install(
    onnx_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_onnx(onnx_files["residual"])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    network = importlib.import_module("services.classifier.onnx_network")
    with pytest.raises(FailedPreconditionError, match=r"install unitscope\[onnx\]"):
        network.OnnxNetwork(found, (EDGE, EDGE))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(FailedPreconditionError, match=r"install unitscope\[onnx\]"):
        read_onnx(onnx_files["residual"])


def test_logits_are_counted(onnx_files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(
        InvalidArgumentError, match=f"2 class names are given; the model has {CLASSES} logits"
    ):
        import_onnx(onnx_files["residual"], tmp_path, Declaration("net", classes=("a", "b")))
