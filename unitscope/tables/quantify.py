"""The tables of `quantify`."""

from __future__ import annotations

import pyarrow as pa

from unitscope.tables.schema import (
    DOUBLE,
    FLOAT,
    IMAGE_NAME,
    IMAGE_SHARD,
    INT,
    LONG,
    TEXT,
    Column,
    Table,
    tested_mean,
)

_UNIT = Column("unit", INT, "", "The unit; -1 - index for a group of units.")
_GROUP = Column("group", TEXT, "", "The group's name, where several units moved together.", nullable=True)
_STAGE = Column("stage", TEXT, "", "'confirm' where it was measured on the many images, else 'screen'.")

EFFECTS = Table(
    "effects",
    "One row for each unit and part and measure, and for each unit and class logit.",
    kind="quantify",
    columns=(
        _UNIT,
        _GROUP,
        Column("part", TEXT, "", "A part, 'picture' for the whole of it, or 'logit'."),
        Column("measure", TEXT, "", "The measure; for part 'logit' the name of the class."),
        _STAGE,
        Column("seeds", INT, "images", "Base images in which the effect could be measured."),
        *tested_mean(
            "effect",
            "Mean over images of the last step less the first step.",
            " Of logits their standard deviation.",
            "all units and all parts and measures, or all logits; units that screening dropped count as "
            "p = 1",
        ),
        Column(
            "selectivity",
            DOUBLE,
            "share",
            "Share of what the unit does for certain (standardised, at the nearer end of the interval), over "
            "all parts and measures, or all logits.",
            nullable=True,
        ),
        Column(
            "status",
            TEXT,
            "",
            "'measured'; 'too_small': the part is too small in too many images; 'unsigned': a change "
            "without direction, which has no p.",
        ),
    ),
)

QUANTIFIED_UNITS = Table(
    "units",
    "One row for each unit or group that was moved.",
    kind="quantify",
    columns=(
        _UNIT,
        _GROUP,
        Column("layer", TEXT, "", "The layer that the unit belongs to."),
        _STAGE,
        Column("low", FLOAT, "feature", "The lowest value that it was set to; mean over images."),
        Column("high", FLOAT, "feature", "The highest value."),
        Column("mean", FLOAT, "feature", "Its mean over the fit's samples."),
        Column("std", FLOAT, "feature", "Its standard deviation over the fit's samples."),
        Column("span", FLOAT, "w", "Length of the way in w between first and last step."),
        Column("part", TEXT, "", "The part that the largest share of its effect falls on.", nullable=True),
        Column("part_share", FLOAT, "share", "That share.", nullable=True),
        Column(
            "aspect",
            TEXT,
            "",
            "What about that part: its 'look' (colour, texture) or its 'form' (all else).",
            nullable=True,
        ),
        Column("measure", TEXT, "", "The measure of it that the unit changes most.", nullable=True),
        Column(
            "selectivity",
            FLOAT,
            "",
            "How concentrated its effect is, 0 to 1: sum of squared shares over looks and forms of parts.",
        ),
        Column(
            "named",
            pa.bool_(),
            "",
            "Whether it may be named after that part: its selectivity reaches the naming threshold, and "
            "some measure of it has q < 0.05.",
        ),
        Column("strongest_class", TEXT, "", "The class whose logit it moves most, in the mean."),
        Column("strongest_change", FLOAT, "logit", "That mean change, from the first to the last step."),
        Column("flips", FLOAT, "share", "Share of images whose predicted class changes on the way."),
        Column("change", FLOAT, "grey level", "Mean absolute difference of first and last picture."),
        Column("follow", FLOAT, "", "Did the re-encoded unit move as commanded, 0 to 1."),
        Column("focus", FLOAT, "", "Own movement over the largest movement of any unit, 0 to 1."),
        Column("plausible", FLOAT, "share", "Share of steps whose w is as near as the generator's own."),
        Column("trust", FLOAT, "", "Geometric mean of follow, focus and plausible."),
        Column("trusted", pa.bool_(), "", "Whether trust reaches the job's min_trust."),
        Column("seeds", INT, "images", "Base images behind the row."),
        Column("cluster", INT, "", "Units with like effects have one number, 0 the largest.", nullable=True),
        Column("x", FLOAT, "", "Place on the map of all units: like effects lie together.", nullable=True),
        Column("y", FLOAT, "", "The other coordinate.", nullable=True),
    ),
)

QUANTIFIED_STEPS = Table(
    "steps",
    "One row for each rendered step, in shards `steps/00000.parquet`, ...; after these columns comes one "
    "for every part and measure, `<part>.<measure>`, missing where the part is too small.",
    kind="quantify",
    columns=(
        _UNIT,
        _GROUP,
        _STAGE,
        Column("class", TEXT, "", "The class that the base image was made for."),
        Column("seed", LONG, "", "The base image: its index in the class's stream of seeds."),
        Column("step", INT, "", "The step, from 0."),
        Column("commanded", FLOAT, "feature", "The value that the unit was set to; of a group the mean."),
        Column("base", FLOAT, "feature", "The value in the base image; of a group the mean."),
        Column("reencoded", FLOAT, "feature", "The value when the picture is read again."),
        Column("predicted", TEXT, "", "The class that the classifier reads in the picture."),
        Column("logits", pa.list_(FLOAT), "logit", "The logits, in the order of the classes."),
        Column("change", FLOAT, "grey level", "Mean absolute difference from step 0, 0 to 255."),
        Column("focus", FLOAT, "", "Own movement over the largest of any unit, from step 0."),
        Column("distance", FLOAT, "", "Mahalanobis distance of w under the fit's latents."),
        IMAGE_SHARD,
        IMAGE_NAME,
    ),
)
