"""``unitscope submit KIND``: flags for the common fields, a file for all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from unitscope.cli.counterfactual import EXAMPLE as COUNTERFACTUAL_EXAMPLE
from unitscope.cli.counterfactual import counterfactual
from unitscope.cli.options import (
    DEFAULT_HOME,
    AddressOption,
    HomeOption,
    Output,
    OutputOption,
    example,
)
from unitscope.cli.quantify import EXAMPLE as QUANTIFY_EXAMPLE
from unitscope.cli.quantify import quantify
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
    group.command("quantify", **example(QUANTIFY_EXAMPLE))(quantify)
    group.command("counterfactual", **example(COUNTERFACTUAL_EXAMPLE))(counterfactual)
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
    flags = given_fields(
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
    values = merged_fields(read_spec_file(spec, "link"), flags)
    submit_job("link", values, validate_only, watch, request_id, output, address, home)


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
    render_with: RenderWithOption = None,
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
    first = given_fields(
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
        link=first or None,
        units=given_fields(indices=unit, top=top, by=by, for_class=for_class) or None,
        classes=classes,
        seeds_per_class=seeds,
        steps=steps,
        low_quantile=low,
        high_quantile=high,
        keep=keep,
        seed=seed,
        render_with=render_with,
    )
    values = merged_fields(read_spec_file(spec, "traverse"), flags)
    submit_job("traverse", values, validate_only, watch, request_id, output, address, home)
