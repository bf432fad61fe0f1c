"""The tables of `traverse`."""

from __future__ import annotations

import pyarrow as pa

from unitscope.tables.schema import FLOAT, IMAGE_NAME, IMAGE_SHARD, INT, LONG, TEXT, Column, Table

STEPS = Table(
    "steps",
    "One row for each rendered step of each traversal.",
    kind="traverse",
    columns=(
        Column("unit", INT, "", "The unit that was moved."),
        Column("class", TEXT, "", "The class that the base image was made for."),
        Column("seed", LONG, "", "The base image: its index in the class's stream of seeds."),
        Column("step", INT, "", "The step, from 0."),
        Column("commanded", FLOAT, "feature", "The value that the unit was set to."),
        Column("base", FLOAT, "feature", "The value of the unit in the base image."),
        Column("reencoded", FLOAT, "feature", "The unit's value when the picture is read again."),
        Column("predicted", TEXT, "", "The class that the classifier reads in the picture."),
        Column("logits", pa.list_(FLOAT), "logit", "The logits, in the order of the classes."),
        Column("luminance", FLOAT, "L*", "Mean CIELAB lightness of the picture, 0 to 100."),
        Column("contrast", FLOAT, "L*", "Standard deviation of the lightness."),
        Column("entropy", FLOAT, "bit", "Entropy of the histogram of lightness, 64 bins."),
        Column("chroma", FLOAT, "C*ab", "Mean CIELAB chroma of the picture."),
        Column("change", FLOAT, "grey level", "Mean absolute difference from step 0, 0 to 255."),
        Column(
            "focus",
            FLOAT,
            "",
            "Own movement over the largest movement of any unit, in standard deviations, from step 0.",
        ),
        Column(
            "distance",
            FLOAT,
            "",
            "Mahalanobis distance of w under the fit's latents, per root dimension.",
        ),
        IMAGE_SHARD,
        IMAGE_NAME,
    ),
)

UNITS = Table(
    "units",
    "One row for each unit that was moved.",
    kind="traverse",
    columns=(
        Column("unit", INT, "", "The unit."),
        Column("rank", INT, "", "Its place in the selection, from 0."),
        Column(
            "score",
            FLOAT,
            "",
            "What it was ranked by; for named units the weight rank.",
            nullable=True,
        ),
        Column("low", FLOAT, "feature", "Lower end of the range it was moved over."),
        Column("high", FLOAT, "feature", "Upper end of the range."),
        Column("mean", FLOAT, "feature", "Its mean over the fit's samples."),
        Column("std", FLOAT, "feature", "Its standard deviation over the fit's samples."),
        Column("span", FLOAT, "w", "Length of the way in w between the ends of the range."),
        Column(
            "strongest_class",
            TEXT,
            "",
            "The class whose logit changed most, in the mean over traversals.",
        ),
        Column(
            "strongest_change",
            FLOAT,
            "logit",
            "That mean change, from the first to the last step.",
        ),
        Column("flips", FLOAT, "share", "Share of traversals over which the predicted class changes."),
        Column(
            "change",
            FLOAT,
            "grey level",
            "Mean absolute difference between first and last picture.",
        ),
        Column(
            "follow",
            FLOAT,
            "",
            "Did the re-encoded feature move as commanded: correlation times slope, each clipped to 0..1.",
        ),
        Column(
            "focus",
            FLOAT,
            "",
            "Own movement over the largest movement of any unit, mean at the last step.",
        ),
        Column(
            "plausible",
            FLOAT,
            "share",
            "Share of steps whose w is as near as 99 % of the generator's own.",
        ),
        Column("trust", FLOAT, "", "Geometric mean of follow, focus and plausible, 0 to 1."),
        Column("traversals", INT, "", "Number of traversals behind the row."),
    ),
)
