"""``unitscope submit quantify``: measure what every unit does."""

from __future__ import annotations

from typing import Annotated

import typer

from unitscope.cli.options import DEFAULT_HOME, AddressOption, HomeOption, Output, OutputOption
from unitscope.cli.specs import (
    AcceptOption,
    ClassesOption,
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
    given_fields,
    merged_fields,
    read_spec_file,
    submit_job,
)

EXAMPLE = "unitscope submit quantify --pack avatars --classifier shortcut --watch"

PackOption = Annotated[
    str | None,
    typer.Option(
        "--pack", help="A model pack: names without '/' are looked up in it, and its generator is used."
    ),
]
PartsOption = Annotated[
    str | None, typer.Option("--parts", help="The parts model; default: the one made for the generator.")
]
UnitsOption = Annotated[
    list[int] | None,
    typer.Option("--unit", metavar="INDEX", help="A unit; may be repeated. Default: all that vary."),
]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Set units by 'range', by 'quantiles', or by 'deviations'.")
]
DeviationsOption = Annotated[
    float | None, typer.Option("--deviations", help="How many standard deviations to either side.")
]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--start", help="Move units in the 'own' generated image, or in what is left of it when 'linked'."
    ),
]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Steps of a traversal, ends included.")]
ScreeningOption = Annotated[
    int | None,
    typer.Option("--screening-seeds", help="Base images, in all, on which every unit is screened."),
]
SeedsOption = Annotated[
    int | None,
    typer.Option("--seeds", help="Other base images, in all, that shortlisted units are measured on."),
]
ShortlistOption = Annotated[int | None, typer.Option("--shortlist", help="How many units screening keeps.")]
MinTrustOption = Annotated[
    float | None,
    typer.Option("--min-trust", help="Units of lower trust are marked, and left out of selections."),
]
ImagesOption = Annotated[
    str | None,
    typer.Option("--images", help="Real images to show beside units: a NAME of `unitscope images add`."),
]


def quantify(
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
    unit: UnitsOption = None,
    by: ByOption = None,
    deviations: DeviationsOption = None,
    start: StartOption = None,
    classes: ClassesOption = None,
    steps: StepsOption = None,
    screening_seeds: ScreeningOption = None,
    seeds: SeedsOption = None,
    shortlist: ShortlistOption = None,
    min_trust: MinTrustOption = None,
    images: ImagesOption = None,
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
    """Measure what every unit does.

    All units are screened on few images; those that stand out are measured on many others. What a
    unit does to every part of the picture, and to every logit, goes into tables and a report; then see
    `unitscope units`.
    """
    if pack is not None:
        generator = generator or (None if linker else "generator")
        classifier, generator, parts = (in_pack(pack, name) for name in (classifier, generator, parts))
    link = given_fields(
        classifier=classifier,
        generator=generator,
        layer=layer,
        truncation=truncation,
        samples_per_class=samples,
        heldout_per_class=heldout,
        accept=accept,
        seed=link_seed,
    )
    flags = given_fields(
        linker=linker,
        link=link or None,
        parts=parts,
        units=unit,
        perturbation=given_fields(by=by, deviations=deviations) or None,
        start=start,
        classes=classes,
        steps=steps,
        screening_seeds=screening_seeds,
        seeds=seeds,
        shortlist=shortlist,
        min_trust=min_trust,
        image_folder=images,
        keep=keep,
        seed=seed,
        render_with=render_with,
    )
    values = merged_fields(read_spec_file(spec, "quantify"), flags)
    submit_job("quantify", values, validate_only, watch, request_id, output, address, home)


def in_pack(pack: str, name: str | None) -> str | None:
    """The full name of a model of a pack."""
    return f"{pack}/{name}" if name and "/" not in name else name
