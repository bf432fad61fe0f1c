"""``unitscope submit counterfactual``: what would have to change for the classifier to say something else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unitscope.cli.images import STORE_VARIABLE, shown_images, store_of
from unitscope.cli.options import DEFAULT_HOME, AddressOption, HomeOption, Output, OutputOption
from unitscope.cli.quantify import PackOption, PartsOption, in_pack
from unitscope.cli.specs import (
    AcceptOption,
    ClassifierOption,
    GeneratorOption,
    HeldoutOption,
    KeepOption,
    LayerOption,
    LinkerOption,
    LinkSeedOption,
    RenderWithOption,
    RequestOption,
    SamplesOption,
    SeedOption,
    SpecOption,
    TruncationOption,
    ValidateOption,
    WatchOption,
    check_fields,
    given_fields,
    merged_fields,
    read_spec_file,
    submit_job,
)
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    from unitscope.client import Result
    from unitscope.store.images import OwnImages

EXAMPLE = (
    "unitscope submit counterfactual --origin bun --target hat --pack avatars --classifier shortcut --watch"
)

FEW_FILES = 3
"""Pictures that are read without a word."""

OriginOption = Annotated[
    list[str] | None,
    typer.Option(
        "--origin",
        metavar="CLASS",
        help="A class of the generator to start from; may be repeated. Default: all of the linker's.",
    ),
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="CLASS",
        help="A class of the classifier that is wanted; may be repeated. Default: all others.",
    ),
]
RunnerUpOption = Annotated[
    bool,
    typer.Option("--runner-up", help="Of each image its own second class is wanted, in place of --target."),
]
ImageOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="A picture of your own to start from, in place of generated ones; may be repeated. It is put "
        "into the store, as by `unitscope images add`.",
    ),
]
ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="NAME",
        help="Pictures of your own that are in the store: a NAME of `unitscope images add`; --seeds of them "
        "at most.",
    ),
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="'path': the smallest shift, the crossing of the picture, refinement; 'descent': as published.",
    ),
]
NormOption = Annotated[
    str | None, typer.Option("--norm", help="What 'path' keeps small: 'l2', or 'l1' so that few units move.")
]
PlausibilityOption = Annotated[
    float | None,
    typer.Option(
        "--plausibility", help="How much 'path' minds a shift that features never make; 0 for not at all."
    ),
]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--start",
        help="Start from the 'own' picture, or from the linker's picture of its features ('linked'); "
        "default: own, and linked for 'descent'.",
    ),
]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="Base images of each origin.")]
FramesOption = Annotated[int | None, typer.Option("--frames", help="Pictures of a film strip.")]
TopOption = Annotated[int | None, typer.Option("--top", help="How many units that carry a change are named.")]
MaxStepsOption = Annotated[int | None, typer.Option("--max-steps", help="Steps of 'descent' at most.")]


def counterfactual(
    pack: PackOption = None,
    linker: LinkerOption = None,
    classifier: ClassifierOption = None,
    generator: GeneratorOption = None,
    parts: PartsOption = None,
    layer: LayerOption = None,
    truncation: TruncationOption = None,
    samples: SamplesOption = None,
    heldout: HeldoutOption = None,
    accept: AcceptOption = None,
    link_seed: LinkSeedOption = None,
    origin: OriginOption = None,
    target: TargetOption = None,
    runner_up: RunnerUpOption = False,
    image: ImageOption = None,
    images: ImagesOption = None,
    method: MethodOption = None,
    norm: NormOption = None,
    plausibility: PlausibilityOption = None,
    start: StartOption = None,
    seeds: SeedsOption = None,
    frames: FramesOption = None,
    top: TopOption = None,
    max_steps: MaxStepsOption = None,
    keep: KeepOption = None,
    seed: SeedOption = None,
    render_with: RenderWithOption = None,
    spec: SpecOption = "",
    validate_only: ValidateOption = False,
    watch: WatchOption = False,
    request_id: RequestOption = "",
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Find what would have to change for the classifier to say something else.

    For base images of each origin and each target: the smallest change after which the classifier reads the
    picture as the target; which units carry it, and which parts of the picture change. A name that no model
    knows stops nothing, its rows say so. Afterwards see `unitscope counterfactuals`.
    """
    _check_ways({"--image": image, "--images": images, "--origin": origin})
    _check_ways({"--runner-up": runner_up, "--target": target})
    if pack is not None:
        generator = generator or (None if linker else "generator")
        classifier, generator, parts = (in_pack(pack, name) for name in (classifier, generator, parts))
    own = _read(image) if image else None
    link = given_fields(
        classifier=classifier, generator=generator, layer=layer, truncation=truncation,
        samples_per_class=samples, heldout_per_class=heldout, accept=accept, seed=link_seed,
    )  # fmt: skip
    flags = given_fields(
        linker=linker, link=link or None, parts=parts, method=method, norm=norm, plausibility=plausibility,
        start=start, origins=origin, targets=target, runner_up=runner_up or None,
        seeds=len(own.pictures) if own and seeds is None else seeds,
        image_folder=own.name if own else images, frames=frames, top=top, max_steps=max_steps, keep=keep,
        seed=seed, render_with=render_with,
    )  # fmt: skip
    values = merged_fields(read_spec_file(spec, "counterfactual"), flags)
    check_fields("counterfactual", values)  # before anything is put into a store
    if own and not validate_only:
        _keep(own, address, home, output)
    submit_job(
        "counterfactual", values, validate_only, watch, request_id, output, address, home, after=_sum_up
    )


def _check_ways(options: dict[str, object]) -> None:
    """Raises InvalidArgumentError where more than one of the options is used."""
    used = [name for name, value in options.items() if value]
    if len(used) > 1:
        raise InvalidArgumentError(
            f"{used[0]} does not go together with {' and '.join(used[1:])}; submit one job for each",
            reason="OPTIONS_EXCLUDE_EACH_OTHER",
        )


def _read(files: list[Path]) -> OwnImages:
    """The pictures; of more than a few it is shown how far it is, as large ones take a second each."""
    from unitscope.store.images import read_files

    if len(files) <= FEW_FILES:
        return read_files(files)
    with shown_images() as seen:
        return read_files(files, seen=seen)


def _keep(own: OwnImages, address: str, home: Path, output: Output) -> None:
    """Puts the pictures into the store, unless they are there.

    Raises:
        FailedPreconditionError: Which store it is cannot be told (reason STORE_NOT_FOUND).
    """
    from unitscope.client import ADDRESS_VARIABLE
    from unitscope.embedded import find
    from unitscope.store.images import add_files

    gateway = address or os.environ.get(ADDRESS_VARIABLE, "")
    if gateway and not os.environ.get(STORE_VARIABLE):
        stack = find(home)
        if stack is None or stack.gateway != gateway:
            raise FailedPreconditionError(
                f"a picture goes into the store of the gateway at {gateway}, which is not known here: name "
                f"it with {STORE_VARIABLE}, or run 'unitscope images add FOLDER --name NAME' where it is "
                "known and submit with --images NAME",
                reason="STORE_NOT_FOUND",
            )
    fresh = add_files(store_of(home, existing=True), own)
    count = len(own.pictures)
    images = "1 image" if count == 1 else f"{count} images"
    where = "added to the store" if fresh else "in the store already"
    typer.echo(f"{own.name}: {images}, {where}", err=output is Output.JSON)


def _sum_up(result: Result) -> list[str]:
    """What came out, in a line, and how to see more of it."""
    from unitscope.selection.counterfactuals import summary

    if "counterfactuals" not in result.tables:
        return []
    return [
        summary(result.table("counterfactuals")),
        f"more: unitscope counterfactuals {result.handle.id}",
    ]
