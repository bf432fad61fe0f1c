"""From the data of a counterfactual job to what its templates print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workers.report.counterfactual import matrix, rest
from workers.report.counterfactual.data import CounterfactualData
from workers.report.counterfactual.examples import example
from workers.report.counterfactual.page import PageMaker, pair_title
from workers.report.counterfactual.phrases import methods
from workers.report.counterfactual.pictures import MAX_EXAMPLES, MAX_OWN
from workers.report.counterfactual.results import Key, Results
from workers.report.counterfactual.shapes import CounterfactualView, Example, PairPage
from workers.report.quantify.data import PICTURE
from workers.report.quantify.view import COLOURS, PICTURE_COLOUR
from workers.report.words import label, whole

OPEN_AT_FIRST = 12
"""Pages of pairs that are open when the report is opened."""


def make(results: Results, images: Mapping[str, str], left_out: int = 0) -> CounterfactualView:
    """The view of a counterfactual job.

    Args:
        results: Its data, in order.
        images: Data URIs by the keys of `pictures.wanted`.
        left_out: How many of those pictures did not fit.
    """
    data = results.data
    palette = [COLOURS[k % len(COLOURS)] for k in range(len(data.parts))]
    colours = {**dict(zip(data.parts, palette, strict=True)), PICTURE: PICTURE_COLOUR}
    numbers = {key: k for k, key in enumerate(images)}
    examples = {
        k: example(results, k, palette, (numbers.get(f"trio{k}"), numbers.get(f"film{k}")))
        for key in results.order
        for k in results.shown.get(key, ())[:MAX_EXAMPLES]
        if f"trio{k}" in images or f"film{k}" in images
    }
    pages = tuple(_pages(results, PageMaker(results, colours), examples))
    hero = _hero(results, pages, examples)
    return CounterfactualView(
        data=data,
        hero=hero,
        hero_caption=_hero_caption(results),
        matrix=matrix.make(results, colours),
        pages=pages,
        origins=tuple(matrix.order_of([key[0] for key in results.order], results)),
        targets=tuple(matrix.order_of([key[1] for key in results.order], results)),
        table=tuple(rest.table(results)),
        headings=rest.HEADINGS,
        own=tuple(rest.own_images(results, {k: numbers[f"own{k}"] for k in _own(data, images)})),
        own_caution=_own_caution(data),
        failures=tuple(rest.failures(data)),
        total=len(data.rows),
        methods=methods(data),
        # A rule of the style sheet lets one picture stand in several places and be stored once.
        rules="\n".join(f".s{k}{{background-image:url({images[key]})}}" for key, k in numbers.items()),
        notes=tuple(_notes(results, left_out)),
    )


def _pages(results: Results, maker: PageMaker, examples: Mapping[int, Example]) -> Iterator[PairPage]:
    for place, key in enumerate(results.order):
        mine = [examples[k] for k in results.shown.get(key, ()) if k in examples]
        yield maker.page(key, mine, opened=place < OPEN_AT_FIRST)


def _hero(
    results: Results, pages: tuple[PairPage, ...], examples: Mapping[int, Example]
) -> tuple[PairPage, Example] | None:
    k = results.hero
    if k is None or k not in examples or examples[k].film is None:
        return None
    row = results.data.shown[k].row
    anchor = results.anchors[str(row["origin"]), str(row["target"])]
    return next((page, examples[k]) for page in pages if page.anchor == anchor)


def _hero_caption(results: Results) -> str:
    if results.hero is None:
        return ""
    row = results.data.shown[results.hero].row
    key: Key = (str(row["origin"]), str(row["target"]))
    return pair_title(key)


def _own(data: CounterfactualData, images: Mapping[str, str]) -> list[int]:
    return [k for k in range(len(data.inverted[:MAX_OWN])) if f"own{k}" in images]


def _own_caution(data: CounterfactualData) -> str:
    bad = sum(bool(rest.caution(own.row)) for own in data.inverted)
    if not bad:
        return ""
    many = "the image" if len(data.inverted) == 1 else f"{whole(bad)} of {whole(len(data.inverted))} images"
    return (
        f"Of {many} the inverted picture is not close enough to stand for the photo; "
        "each says so where it is shown."
    )


def _notes(results: Results, left_out: int) -> Iterator[str]:
    """What the page does not show, so that no one takes it for everything."""
    data = results.data
    if left_out:
        yield f"{whole(left_out)} film strips and pictures were left out to keep this file small."
    if len(results.pairs) > len(results.order):
        yield (
            f"{whole(len(results.order))} of {whole(len(results.pairs))} pairs have a page of their own, "
            "those with the most telling pictures; tables/pairs has all."
        )
    if len(results.pairs) > rest.MAX_TABLE_ROWS:
        yield f"The table of pairs shows the first {whole(rest.MAX_TABLE_ROWS)}; tables/pairs has all."
    if len(data.inverted) > MAX_OWN:
        yield f"Of {whole(len(data.inverted))} images of your own the first {MAX_OWN} are shown."
    if data.unknown:
        names = ", ".join(f"“{label(name)}”" for name in data.unknown)
        if data.more_unknown:
            names += f" and {whole(data.more_unknown)} more"
        yield f"Asked for, but no class: {names}. See What did not work."
