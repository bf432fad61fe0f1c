"""``unitscope submit link|traverse|quantify``: flags for the common fields, a file for all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unitscope.cli.jobs import follow_to_end, show
from unitscope.cli.options import (
    DEFAULT_HOME,
    LONG_SECONDS,
    AddressOption,
    HomeOption,
    Output,
    OutputOption,
    connect,
    example,
)
from unitscope.cli.output import duration, print_json, print_pairs, size
from unitscope.errors import InvalidArgumentError

MAX_SPEC_BYTES = 4 << 20

SpecOption = Annotated[
    str,
    typer.Option(
        "--spec",
        metavar="FILE",
        help="A YAML or JSON file with the spec's fields; '-' reads standard input. Flags win over the file.",
        show_default=False,
    ),
]
WatchOption = Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")]
ValidateOption = Annotated[
    bool, typer.Option("--validate-only", help="Only check the spec and say what it would take.")
]
RequestOption = Annotated[
    str,
    typer.Option(
        "--request-id",
        help="Names the request: repeated with the same id, it is the same job.",
        show_default=False,
    ),
]
ClassifierOption = Annotated[
    str | None, typer.Option("--classifier", help="The classifier, e.g. avatars/shortcut.")
]
GeneratorOption = Annotated[
    str | None, typer.Option("--generator", help="The generator, e.g. avatars/generator.")
]
LayerOption = Annotated[
    str | None, typer.Option("--layer", help="A layer of the classifier; default: penultimate.")
]
TruncationOption = Annotated[
    float | None, typer.Option("--truncation", help="Truncation psi of the samples, 0 to 1.")
]
SamplesOption = Annotated[int | None, typer.Option("--samples", help="Pairs a class to fit the linker on.")]
HeldoutOption = Annotated[int | None, typer.Option("--heldout", help="Pairs a class to judge the linker on.")]
AcceptOption = Annotated[
    str | None, typer.Option("--accept", help="'class' or 'any': which images take part in the fit.")
]
ClassesOption = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="NAME", help="A class of the generator; may be repeated."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="The seed of all streams.")]
LinkerOption = Annotated[
    str | None, typer.Option("--linker", help="The digest of a published linker, in place of fitting one.")
]
LinkSeedOption = Annotated[int | None, typer.Option("--link-seed", help="The seed of the linker's samples.")]
KeepOption = Annotated[
    str | None, typer.Option("--keep", help="Rendered images to keep: 'all', 'sample' or 'none'.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Submit an analysis.", no_args_is_help=True, rich_markup_mode=None)
    link_line = "unitscope submit link --classifier avatars/clean --generator avatars/generator --watch"
    group.command("link", **example(link_line))(link)
    traverse_line = (
        "unitscope submit traverse --classifier avatars/shortcut --generator avatars/generator "
        "--top 12 --watch"
    )
    group.command("traverse", **example(traverse_line))(traverse)
    quantify_line = "unitscope submit quantify --pack avatars --classifier shortcut --watch"
    group.command("quantify", **example(quantify_line))(quantify)
    app.add_typer(group, name="submit")


def link(
    classifier: ClassifierOption = None,
    generator: GeneratorOption = None,
    layer: LayerOption = None,
    classes: ClassesOption = None,
    truncation: TruncationOption = None,
    samples: SamplesOption = None,
    heldout: HeldoutOption = None,
    folds: Annotated[int | None, typer.Option(help="Folds of the cross-validation.")] = None,
    accept: AcceptOption = None,
    seed: SeedOption = None,
    spec: SpecOption = "",
    validate_only: ValidateOption = False,
    watch: WatchOption = False,
    request_id: RequestOption = "",
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Fit a linker and judge it.

    A linker maps the features of a classifier to the latents of a generator.
    """
    flags = _given(
        classifier=classifier,
        generator=generator,
        layer=layer,
        classes=classes,
        truncation=truncation,
        samples_per_class=samples,
        heldout_per_class=heldout,
        folds=folds,
        accept=accept,
        seed=seed,
    )
    values = _merged(_read_spec(spec, "link"), flags)
    _submit("link", values, validate_only, watch, request_id, output, address, home)


def traverse(
    linker: LinkerOption = None,
    classifier: ClassifierOption = None,
    generator: GeneratorOption = None,
    layer: LayerOption = None,
    truncation: TruncationOption = None,
    samples: SamplesOption = None,
    heldout: HeldoutOption = None,
    accept: AcceptOption = None,
    link_seed: LinkSeedOption = None,
    unit: Annotated[list[int] | None, typer.Option(metavar="INDEX", help="A unit; may be repeated.")] = None,
    top: Annotated[int | None, typer.Option(help="How many units to choose.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Choose by 'weight' (effect on a logit) or by 'range'.")
    ] = None,
    for_class: Annotated[
        str | None, typer.Option(help="The class whose logit 'weight' looks at; default: any.")
    ] = None,
    classes: ClassesOption = None,
    seeds: Annotated[int | None, typer.Option(help="Base images a class.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a traversal, ends included.")] = None,
    low: Annotated[
        float | None, typer.Option(help="Lower end of the range, as a quantile of the unit.")
    ] = None,
    high: Annotated[
        float | None, typer.Option(help="Upper end of the range, as a quantile of the unit.")
    ] = None,
    keep: KeepOption = None,
    seed: SeedOption = None,
    spec: SpecOption = "",
    validate_only: ValidateOption = False,
    watch: WatchOption = False,
    request_id: RequestOption = "",
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Move single units over their range.

    Every step is rendered, read again by the classifier, and measured.
    """
    first = _given(
        classifier=classifier,
        generator=generator,
        layer=layer,
        truncation=truncation,
        samples_per_class=samples,
        heldout_per_class=heldout,
        accept=accept,
        seed=link_seed,
    )
    flags = _given(
        linker=linker,
        link=first or None,
        units=_given(indices=unit, top=top, by=by, for_class=for_class) or None,
        classes=classes,
        seeds_per_class=seeds,
        steps=steps,
        low_quantile=low,
        high_quantile=high,
        keep=keep,
        seed=seed,
    )
    values = _merged(_read_spec(spec, "traverse"), flags)
    _submit("traverse", values, validate_only, watch, request_id, output, address, home)


def quantify(
    pack: Annotated[
        str | None,
        typer.Option(help="A model pack: names without '/' are looked up in it, and its generator is used."),
    ] = None,
    linker: LinkerOption = None,
    classifier: ClassifierOption = None,
    generator: GeneratorOption = None,
    parts: Annotated[
        str | None, typer.Option(help="The parts model; default: the one made for the generator.")
    ] = None,
    layer: LayerOption = None,
    truncation: TruncationOption = None,
    samples: SamplesOption = None,
    heldout: HeldoutOption = None,
    accept: AcceptOption = None,
    link_seed: LinkSeedOption = None,
    unit: Annotated[
        list[int] | None, typer.Option(metavar="INDEX", help="A unit; may be repeated. Default: all.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Set units by 'range', 'quantiles', or 'deviations' from their own value."),
    ] = None,
    deviations: Annotated[
        float | None, typer.Option(help="How many standard deviations to either side.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Move units in the 'own' generated image, or in what is left of it when 'linked'."),
    ] = None,
    classes: ClassesOption = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a traversal, ends included.")] = None,
    screening_seeds: Annotated[
        int | None, typer.Option(help="Base images, in all, on which every unit is screened.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Other base images, in all, that shortlisted units are measured on.")
    ] = None,
    shortlist: Annotated[int | None, typer.Option(help="How many units screening keeps.")] = None,
    min_trust: Annotated[
        float | None, typer.Option(help="Units of lower trust are marked, and left out of selections.")
    ] = None,
    image_folder: Annotated[
        str | None,
        typer.Option("--images", help="Real images to show beside units: a NAME of `unitscope images add`."),
    ] = None,
    keep: KeepOption = None,
    seed: SeedOption = None,
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
        classifier, generator, parts = (_in_pack(pack, name) for name in (classifier, generator, parts))
    first = _given(
        classifier=classifier,
        generator=generator,
        layer=layer,
        truncation=truncation,
        samples_per_class=samples,
        heldout_per_class=heldout,
        accept=accept,
        seed=link_seed,
    )
    flags = _given(
        linker=linker,
        link=first or None,
        parts=parts,
        units=unit,
        perturbation=_given(by=by, deviations=deviations) or None,
        start=start,
        classes=classes,
        steps=steps,
        screening_seeds=screening_seeds,
        seeds=seeds,
        shortlist=shortlist,
        min_trust=min_trust,
        image_folder=image_folder,
        keep=keep,
        seed=seed,
    )
    values = _merged(_read_spec(spec, "quantify"), flags)
    _submit("quantify", values, validate_only, watch, request_id, output, address, home)


def _in_pack(pack: str, name: str | None) -> str | None:
    """The full name of a model of a pack."""
    return f"{pack}/{name}" if name and "/" not in name else name


def _submit(
    kind: str,
    values: dict[str, Any],
    validate_only: bool,
    watch: bool,
    request_id: str,
    output: Output,
    address: str,
    home: Path,
) -> None:
    from unitscope.client.handle import raise_for_state

    with connect(address, home, LONG_SECONDS) as client:
        if validate_only:
            cost = client.validate(kind, values)
            if output is Output.JSON:
                print_json(cost)
                return
            time = f"about {duration(cost.seconds)}" if cost.seconds else "not measured here yet"
            print_pairs(
                (
                    ("images to render", f"{cost.renders:,}"),
                    ("kept in the store", f"about {size(cost.stored_bytes)}"),
                    ("time", time),
                    ("chunks", str(cost.chunks)),
                )
            )
            return
        handle = client.submit(kind, values, request_id=request_id)
        typer.echo(f"submitted {handle.id}", err=output is Output.JSON)
        if watch:
            status = follow_to_end(handle, to_error=output is Output.JSON)
            if output is Output.JSON:
                show(status, output)
            raise_for_state(status)
        elif output is Output.JSON:
            show(handle.status(), output)


def _given(**values: Any) -> dict[str, Any]:
    """The values that were given: not None, and no empty list."""
    return {name: value for name, value in values.items() if value not in (None, [])}


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings joined; where both have a value, the second one's."""
    result = dict(base)
    for name, value in over.items():
        below = result.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[name] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def _read_spec(source: str, kind: str) -> dict[str, Any]:
    """The fields in a file; also where they stand below the name of the kind.

    Raises:
        InvalidArgumentError: The file cannot be read, is too large, or holds no mapping.
    """
    if not source:
        return {}
    name = "standard input" if source == "-" else source
    try:
        data = sys.stdin.buffer.read(MAX_SPEC_BYTES + 1) if source == "-" else _read(Path(source))
    except OSError as error:
        raise _bad(f"{name} cannot be read: {error.strerror}") from None
    if len(data) > MAX_SPEC_BYTES:
        raise _bad(f"{name} is larger than {size(MAX_SPEC_BYTES)}; a spec is a small file")
    values = _parse(data, name)
    if isinstance(values, dict) and set(values) == {kind}:
        values = values[kind]
    if not isinstance(values, dict):
        raise _bad(f"{name} holds no fields; write e.g. 'classifier: avatars/clean', one a line")
    return values


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_SPEC_BYTES + 1)


def _parse(data: bytes, name: str) -> Any:
    """JSON, or else YAML."""
    try:
        return json.loads(data)
    except ValueError:
        import yaml

    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise _bad(f"{name} is neither JSON nor YAML{where}") from None


def _bad(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_SPEC_FILE")
