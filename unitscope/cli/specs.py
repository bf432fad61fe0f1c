"""What commands that submit a job share: their options, spec files, and the submitting itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitscope.cli.jobs import follow_to_end, show
from unitscope.cli.options import LONG_SECONDS, Output, connect
from unitscope.cli.output import duration, print_json, print_pairs, size
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    from unitscope.client import Client, Result

MAX_SPEC_BYTES = 4 << 20
REPORT = "report/index.html"
QUALITY = "quality"
JOB = "job-"
"""How the ids of jobs begin."""

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
    str | None,
    typer.Option(
        "--linker",
        metavar="DIGEST|JOB",
        help="A published linker, in place of fitting one: its digest, or a job that fitted or used it.",
    ),
]
LinkSeedOption = Annotated[int | None, typer.Option("--link-seed", help="The seed of the linker's samples.")]
KeepOption = Annotated[
    str | None, typer.Option("--keep", help="Rendered images to keep: 'all', 'sample' or 'none'.")
]
RenderWithOption = Annotated[
    str | None,
    typer.Option("--render-with", help="With --linker: another generator to render with, one that shares W."),
]


def submit_job(
    kind: str,
    values: dict[str, Any],
    validate_only: bool,
    watch: bool,
    request_id: str,
    output: Output,
    address: str,
    home: Path,
    after: Callable[[Result], list[str]] = lambda result: [],
) -> None:
    """Submits a job as the options say, or only validates it; follows it where it is to be watched.

    Lines that `after` makes of the result of a watched job are shown at its end, and where its report is.
    """
    from unitscope.client.handle import raise_for_state

    with connect(address, home, LONG_SECONDS) as client:
        values = with_linker_of_job(values, client)
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
            result = handle.result()
            lines = after(result)
            if digest := noted_linker(result):
                lines.append(f"linker: {digest[:12]}, for --linker of later jobs")
            if any(item.name == REPORT for item in result.artifacts):
                lines.append(f"report: unitscope download {handle.id}, then {handle.id}/{REPORT}")
            for text in lines:
                typer.echo(text, err=output is Output.JSON)
        elif output is Output.JSON:
            show(handle.status(), output)


def noted_linker(result: Result) -> str:
    """The digest of the linker that an ended job fitted or used; empty where its tables note none."""
    from unitscope.tables import LINKER_DIGEST

    about = result.table(QUALITY).schema.metadata if QUALITY in result.tables else None
    noted: bytes = (about or {}).get(LINKER_DIGEST.encode(), b"")
    return noted.decode()


def with_linker_of_job(values: dict[str, Any], client: Client) -> dict[str, Any]:
    """The fields with the digest of the linker where they name a job.

    Raises:
        FailedPreconditionError: The job noted no linker (reason LINKER_NOT_NOTED).
    """
    job = str(values.get("linker", ""))
    if not job.startswith(JOB):
        return values
    digest = noted_linker(client.job(job).result())
    if not digest:
        raise FailedPreconditionError(
            f"the tables of {job} note no linker, as it was made by an older version; give the digest that "
            "its report states",
            reason="LINKER_NOT_NOTED",
            job=job,
        )
    return {**values, "linker": digest}


def check_fields(kind: str, values: dict[str, Any]) -> None:
    """Raises InvalidArgumentError where the fields make no spec; a job may stand for its linker."""
    from unitscope.jobs.specs import parse_spec

    job = str(values.get("linker", "")).startswith(JOB)
    parse_spec(kind, {**values, "linker": "0" * 12} if job else values)


def given_fields(**values: Any) -> dict[str, Any]:
    """The values that were given: not None, and no empty list."""
    return {name: value for name, value in values.items() if value not in (None, [])}


def merged_fields(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings joined; where both have a value, the second one's."""
    result = dict(base)
    for name, value in over.items():
        below = result.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[name] = merged_fields(below, value) if both else value  # type: ignore[arg-type]
    return result


def read_spec_file(source: str, kind: str) -> dict[str, Any]:
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
