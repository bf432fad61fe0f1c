"""What is neither matrix nor pair: the opening, one's own images, what did not work, the table of pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from workers.report.counterfactual import pictures
from workers.report.counterfactual.data import CounterfactualData, Inverted, Row
from workers.report.counterfactual.page import pair_title
from workers.report.counterfactual.phrases import OUTCOMES, chance, distance, near_names, share_span, span
from workers.report.counterfactual.results import SEARCHED, Results, pair_of
from workers.report.counterfactual.shapes import Failure, Own, PairRow
from workers.report.quantify.data import PICTURE
from workers.report.quantify.phrases import part_label
from workers.report.quantify.view import SMALL
from workers.report.words import finite, label, number, percent, whole

LARGE_ERROR = 15.0
"""Grey levels from which an inverted image is not taken for the photo."""

MAX_EXAMPLES = 4
MAX_TABLE_ROWS = 2_000

HEADINGS = (
    ("Images", "Base images that were searched from"),
    ("Validity", "Share of them with a counterfactual, and its 95 % interval"),
    ("Distance", "Mean length of the shift, and its 95 % interval"),
    ("Median", "Median length of the shift"),
    ("To the head", "Mean distance to the boundary of the head"),
    ("Alpha", "Median of distance over distance to the head"),
    ("Units for 90 %", "Median sparsity"),
    ("Through", "The part that changes most, and its share of what changes for certain"),
    ("Plausible", "Share of counterfactuals as usual as 99 % of the generator’s own"),
    ("Alike", "Mean cosine of each shift with the mean of the others"),
    ("Mean shift flips", "Images that the mean shift of the others takes to the target"),
    ("Calls", "Mean calls of the generator"),
)


def summary(data: CounterfactualData, classifier: str) -> str:
    """The main result in a sentence or two."""
    searched = [r for r in data.rows if r["outcome"] in SEARCHED]
    reached = [r for r in searched if r["outcome"] == "reached"]
    if not data.rows:
        return "Nothing was searched for: there was no base image to start from."
    if not searched:
        return (
            f"Nothing could be searched for: of {whole(len(data.rows))} rows that were asked for, each ended "
            "before a search. What did not work says why."
        )
    if not reached:
        return (
            f"No change was found that makes {classifier} say the other class: none of "
            f"{whole(len(searched))} searches ended in a picture that is read as the target."
        )
    one = {pair_of(r) for r in searched}
    wanted = f"say “{label(next(iter(one))[1])}”" if len(one) == 1 else "say the other class"
    found = f"In {whole(len(reached))} of {whole(len(searched))} searches"
    text = f"{found} a change was found that makes {classifier} {wanted}"
    units = [float(r["units_for_90"]) for r in reached if finite(r["units_for_90"])]
    parts = Counter(str(r["part"]) for r in reached if r["part"])
    more = []
    if units:
        more.append(f"the median one needs {_units(float(np.median(units)))} for nine tenths of its way")
    if parts:
        name, count = min(parts.items(), key=lambda item: (-item[1], item[0]))
        share = percent(count / len(reached))
        more.append(f"{part_label(name)} is what changes most in {share} of them")
    return f"{text}; {', and '.join(more)}." if more else f"{text}."


def _units(count: float) -> str:
    return f"{count:,.0f} unit" + ("" if round(count) == 1 else "s")


def figures(data: CounterfactualData) -> Iterator[tuple[str, str]]:
    """Headline figures: value and text."""
    searched = [r for r in data.rows if r["outcome"] in SEARCHED]
    reached = [r for r in searched if r["outcome"] == "reached"]
    yield whole(len(searched)), "searches" if len(searched) != 1 else "search"
    yield whole(len(data.pairs)), "pairs of classes" if len(data.pairs) != 1 else "pair of classes"
    if searched:
        yield percent(len(reached) / len(searched)), "reach the other class"
    for column, digits, text in (
        ("l2", 2, "median distance in feature space"),
        ("units_for_90", 0, "units carry 90\u202f% of the median shift"),
    ):
        values = [float(r[column]) for r in reached if finite(r[column])]
        if values:
            yield number(float(np.median(values)), digits), text
    usual = [bool(r["plausible"]) for r in reached if r["plausible"] is not None]
    if usual:
        yield percent(float(np.mean(usual))), "of counterfactuals are as usual as the generator’s own"
    if searched:
        calls = float(np.median([int(r["generator_calls"]) for r in searched]))
        yield number(calls, 0), "generator calls for the median search"


def own_images(results: Results, numbers: Mapping[int, int]) -> Iterator[Own]:
    """One's own images, with the numbers of their CSS rules."""
    links: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in results.reached:
        if row["image"] and pair_of(row) in results.paged:
            links[str(row["image"])].append((results.anchors[pair_of(row)], label(str(row["target"]))))
    for k, own in enumerate(results.data.inverted[: pictures.MAX_OWN]):
        yield _own(own, numbers.get(k), links[str(own.row["image"])])


def _own(own: Inverted, rule: int | None, links: Sequence[tuple[str, str]]) -> Own:
    row = own.row
    height, width = own.photo.shape[:2]
    read, again = label(str(row["read_as"])), label(str(row["inverted_as"]))
    how = "Refined by gradients" if row["refined"] else "Not refined, as no gradients were served"
    return Own(
        name=str(row["image"]),
        number=rule,
        style=f"--n:3;--w:{width};--h:{height}" + (";--smooth:auto" if width > SMALL else ""),
        photo=f"reads {read}",
        linked=f"{number(row['linked_error'], 1)} grey levels off",
        inverted=f"{number(row['error'], 1)} grey levels off, reads {again}",
        facts=f"{how}; features differ by {percent(row['feature_error'])}",
        caution=caution(row),
        description=f"{row['image']}: the photo, the linker’s picture of it, and the inverted one",
        links=tuple(dict.fromkeys(links)),
    )


def caution(row: Row) -> str:
    """What an inversion must not be taken for; empty where it is close."""
    problems = []
    if finite(row["error"]) and float(row["error"]) > LARGE_ERROR:
        problems.append("looks clearly different from the photo")
    if row["read_as"] != row["inverted_as"]:
        problems.append("is read as another class")
    if not problems:
        return ""
    return (
        f"The inverted image {' and '.join(problems)}: a counterfactual from here is one of the inverted "
        "image, not of the photo."
    )


def failures(data: CounterfactualData) -> Iterator[Failure]:
    """Rows without a counterfactual, by reason."""
    counts = Counter(str(r["outcome"]) for r in data.rows)
    for outcome in (*OUTCOMES, *sorted(set(counts) - set(OUTCOMES) - {"reached"})):
        if not counts[outcome] and not (outcome == "unknown_class" and data.unknown):
            continue
        title, meaning = OUTCOMES.get(outcome, (label(outcome).capitalize(), ""))
        rows = [r for r in data.rows if r["outcome"] == outcome]
        unknown = data.unknown.items() if outcome == "unknown_class" else ()
        named = [near_names(name, near) for name, near in unknown]
        if named and data.more_unknown:
            named.append(f"and {whole(data.more_unknown)} other names")
        yield Failure(
            outcome=outcome,
            title=title,
            meaning=meaning,
            count=counts[outcome],
            share=chance(counts[outcome] / len(data.rows)) if data.rows else "–",
            examples=tuple(named or _examples(rows)),
        )


def _examples(rows: Sequence[Row]) -> Iterator[str]:
    """The pairs with most of such rows, and an image of each."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[pair_of(row)].append(row)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    for key, mine in ordered[:MAX_EXAMPLES]:
        many = f"{whole(len(mine))} images, e.g. " if len(mine) > 1 else ""
        image = mine[0]["image"] or (f"seed {mine[0]['seed']}" if mine[0]["seed"] is not None else "")
        title = label(key[0]) if key[0] == key[1] else pair_title(key)
        yield f"{title}: {many}{image}".rstrip(": ") if image or many else title
    if len(ordered) > MAX_EXAMPLES:
        more = len(ordered) - MAX_EXAMPLES
        yield f"and {whole(more)} other {'pair' if more == 1 else 'pairs'}"


def table(results: Results) -> Iterator[PairRow]:
    """The table of pairs, in the order of the classes."""
    ordered = sorted(results.pairs, key=lambda key: (results.places(key), key))
    for key in ordered[:MAX_TABLE_ROWS]:
        pair = results.pairs[key]
        bounds = share_span(pair["validity_lower"], pair["validity_upper"])
        around = span(pair["distance_lower"], pair["distance_upper"])
        flips = share_span(pair["mean_flips_lower"], pair["mean_flips_upper"])
        part = str(pair["part"] or "")
        named = "whole picture" if part == PICTURE else label(part)
        yield PairRow(
            origin=label(key[0]),
            target=label(key[1]),
            anchor=results.anchors[key] if key in results.paged else "",
            cells=(
                (whole(pair["images"]), str(pair["images"])),
                (percent(pair["validity"]) + bounds, str(pair["validity"])),
                (distance(pair["distance"]) + around, str(pair["distance"])),
                (distance(pair["distance_median"]), str(pair["distance_median"])),
                (distance(pair["head_distance"]), str(pair["head_distance"])),
                (number(pair["alpha"]), str(pair["alpha"])),
                (number(pair["units_for_90"], 0), str(pair["units_for_90"])),
                (f"{named} {percent(pair['part_share'])}" if part else "–", part),
                (percent(pair["plausible"]), str(pair["plausible"])),
                (number(pair["alike"]), str(pair["alike"])),
                (percent(pair["mean_flips"]) + flips, str(pair["mean_flips"])),
                (number(pair["generator_calls"], 0), str(pair["generator_calls"])),
            ),
        )
