"""The tables of `counterfactual`."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from unitscope.tables.schema import (
    DOUBLE,
    FLOAT,
    IMAGE_FOLDER,
    IMAGES_SHARD,
    INT,
    LONG,
    TEXT,
    Column,
    Table,
    tested_mean,
)

_ORIGIN = Column("origin", TEXT, "", "The class that the classifier reads in the base image.")
_TARGET = Column("target", TEXT, "", "The class that was wanted.")
_METHOD = Column("method", TEXT, "", "The search: 'path' or 'descent'.")

COUNTERFACTUALS = Table(
    "counterfactuals",
    "One row for each base image and target; after these columns comes one for every part and measure, "
    "`<part>.<measure>`: counterfactual less base image, missing where the part is too small or there is no "
    "counterfactual.",
    kind="counterfactual",
    columns=(
        replace(_ORIGIN, nullable=True),
        _TARGET,
        Column(
            "class",
            TEXT,
            "",
            "The class that the base image was made for; none of one's own.",
            nullable=True,
        ),
        Column(
            "seed",
            LONG,
            "",
            "The base image: its index in the class's stream of seeds, or among one's own images.",
            nullable=True,
        ),
        Column("image", TEXT, "", "The file's name, of one's own images.", nullable=True),
        _METHOD,
        Column(
            "outcome",
            TEXT,
            "",
            "'reached', or why there is no counterfactual: 'same_class', 'unknown_class', "
            "'invalid_features', 'already_target', 'starts_as_target', 'unreachable', 'not_crossed', "
            "'not_accepted'.",
        ),
        Column("valid", pa.bool_(), "", "Validity: whether the classifier reads the picture as the target."),
        Column("l2", DOUBLE, "feature", "Proximity: length of the shift of the features.", nullable=True),
        Column("l1", DOUBLE, "feature", "Sum of the moves of all units.", nullable=True),
        Column("l0", INT, "units", "Sparsity: units that moved.", nullable=True),
        Column(
            "units_for_90",
            INT,
            "units",
            "Sparsity: units that hold 90 % of the squared shift, the largest first.",
            nullable=True,
        ),
        Column(
            "deviations",
            DOUBLE,
            "standard deviation",
            "Root mean square of the moves over each unit's standard deviation.",
            nullable=True,
        ),
        Column(
            "head_distance",
            DOUBLE,
            "feature",
            "Length of the smallest shift that takes the head, without a picture, to the target.",
            nullable=True,
        ),
        Column(
            "alpha",
            DOUBLE,
            "",
            "Where the picture crosses: l2 over head_distance.",
            nullable=True,
        ),
        Column(
            "plausibility",
            DOUBLE,
            "",
            "Mahalanobis distance of the counterfactual's w under the fit's latents, per root dimension; "
            "smaller is more usual.",
            nullable=True,
        ),
        Column("start_plausibility", DOUBLE, "", "That of the base image.", nullable=True),
        Column(
            "plausible",
            pa.bool_(),
            "",
            "Whether the counterfactual's w is as near as 99 % of the generator's own.",
            nullable=True,
        ),
        Column("change", FLOAT, "grey level", "Mean absolute difference of the two pictures.", nullable=True),
        Column("origin_before", FLOAT, "share", "Probability of the origin before.", nullable=True),
        Column("target_before", FLOAT, "share", "Probability of the target before.", nullable=True),
        Column("origin_after", FLOAT, "share", "Probability of the origin after.", nullable=True),
        Column("target_after", FLOAT, "share", "Probability of the target after.", nullable=True),
        Column("part", TEXT, "", "The part that changes most, standardised.", nullable=True),
        Column("measure", TEXT, "", "Its measure that changes most.", nullable=True),
        Column("units", pa.list_(INT), "", "Units that carry most of the change, the largest first."),
        Column("shifts", pa.list_(FLOAT), "feature", "By how much each of them moved."),
        Column("refined", pa.bool_(), "", "Whether gradients through the picture improved the shift."),
        Column("steps", INT, "", "Steps of the search in features."),
        Column("generator_calls", INT, "calls", "Calls of the generator that the row took part in."),
        Column("renders", INT, "images", "Images rendered for the row, its film strip left out."),
        IMAGES_SHARD,
        IMAGE_FOLDER,
    ),
)

PAIRS = Table(
    "pairs",
    "One row for each pair of classes of which a counterfactual was searched for.",
    kind="counterfactual",
    columns=(
        _ORIGIN,
        _TARGET,
        _METHOD,
        Column("images", INT, "images", "Base images that were searched from."),
        Column("reached", INT, "images", "Those with a counterfactual."),
        Column("validity", DOUBLE, "share", "Their share.", nullable=True),
        Column("validity_lower", DOUBLE, "share", "Lower end of its interval, 95 %.", nullable=True),
        Column("validity_upper", DOUBLE, "share", "Upper end (Wilson).", nullable=True),
        Column("distance", DOUBLE, "feature", "Mean length of the shifts.", nullable=True),
        Column("distance_lower", DOUBLE, "feature", "Lower end of its interval, 95 %.", nullable=True),
        Column("distance_upper", DOUBLE, "feature", "Upper end (bootstrap).", nullable=True),
        Column("distance_median", DOUBLE, "feature", "Median length.", nullable=True),
        Column("head_distance", DOUBLE, "feature", "Mean distance to the head's boundary.", nullable=True),
        Column("alpha", DOUBLE, "", "Median of alpha.", nullable=True),
        Column("units_for_90", DOUBLE, "units", "Median sparsity.", nullable=True),
        Column("plausibility", DOUBLE, "", "Mean distance of the counterfactuals' w.", nullable=True),
        Column("plausible", DOUBLE, "share", "Share of counterfactuals that are plausible.", nullable=True),
        Column("change", DOUBLE, "grey level", "Mean difference of the pictures.", nullable=True),
        Column("part", TEXT, "", "The part that changes most.", nullable=True),
        Column(
            "part_share",
            DOUBLE,
            "share",
            "Its share of what changes for certain: standardised, at the nearer end of the interval; with "
            "fewer than 6 counterfactuals, of the mean changes themselves.",
            nullable=True,
        ),
        Column("measure", TEXT, "", "Its measure that changes most.", nullable=True),
        Column("unit", INT, "", "The unit most often among the carriers.", nullable=True),
        Column("unit_frequency", DOUBLE, "share", "How often.", nullable=True),
        Column("mean_l2", DOUBLE, "feature", "Length of the mean shift.", nullable=True),
        Column(
            "alike",
            DOUBLE,
            "",
            "How alike the shifts are: mean cosine of each with the mean of the others.",
            nullable=True,
        ),
        Column(
            "mean_flips",
            DOUBLE,
            "share",
            "Images of the origin that the mean shift of the other images takes to the target.",
            nullable=True,
        ),
        Column("mean_flips_lower", DOUBLE, "share", "Lower end of its interval.", nullable=True),
        Column("mean_flips_upper", DOUBLE, "share", "Upper end (Wilson).", nullable=True),
        Column("mean_flips_doubled", DOUBLE, "share", "Likewise, applied twice over.", nullable=True),
        Column("generator_calls", DOUBLE, "calls", "Mean calls of the generator of a row.", nullable=True),
        Column("renders", DOUBLE, "images", "Mean images rendered for a row.", nullable=True),
    ),
)

CARRIERS = Table(
    "carriers",
    "One row for each pair of classes and unit that is among the carriers of a counterfactual of the pair.",
    kind="counterfactual",
    columns=(
        _ORIGIN,
        _TARGET,
        Column("unit", INT, "", "The unit."),
        Column("rank", INT, "", "Its place in the pair, from 0: by frequency, then by weight."),
        Column("counterfactuals", INT, "images", "Counterfactuals of the pair."),
        Column("count", INT, "images", "Those that have the unit among their carriers."),
        Column("frequency", DOUBLE, "share", "Their share."),
        Column("frequency_lower", DOUBLE, "share", "Lower end of its interval, 95 %."),
        Column("frequency_upper", DOUBLE, "share", "Upper end (Wilson)."),
        Column("shift", DOUBLE, "feature", "Mean move over all counterfactuals of the pair."),
        Column("deviations", DOUBLE, "standard deviation", "That over the unit's standard deviation."),
    ),
)

CHANGES = Table(
    "changes",
    "One row for each pair of classes, part and measure: counterfactual less base image.",
    kind="counterfactual",
    columns=(
        _ORIGIN,
        _TARGET,
        Column("part", TEXT, "", "A part, or 'picture' for the whole of it."),
        Column("measure", TEXT, "", "The measure."),
        Column("images", INT, "images", "Counterfactuals in which the change could be measured."),
        *tested_mean("change", "Mean change.", "", "all pairs, parts and measures"),
        Column(
            "share",
            DOUBLE,
            "share",
            "Share of what changes for certain over all parts and measures of the pair; with fewer than 6 "
            "counterfactuals, of the mean changes themselves.",
            nullable=True,
        ),
        Column("status", TEXT, "", "'measured', 'too_small', 'too_few' or 'unsigned'; as in effects."),
    ),
)

INVERSIONS = Table(
    "inversions",
    "One row for each of one's own images: how well the generator can show it.",
    kind="counterfactual",
    columns=(
        Column("image", TEXT, "", "The file's name."),
        Column("seed", LONG, "", "Its index in the folder."),
        Column("read_as", TEXT, "", "The class that the classifier reads in the image itself."),
        Column("inverted_as", TEXT, "", "The class that it reads in the inverted image."),
        Column("linked_error", FLOAT, "grey level", "Root mean square difference to the linker's image."),
        Column("error", FLOAT, "grey level", "That to the inverted image, after gradient refinement."),
        Column("feature_error", FLOAT, "", "Difference of the features, relative to their length."),
        Column("refined", pa.bool_(), "", "Whether gradients were served; else the linker's w was taken."),
        Column("plausibility", DOUBLE, "", "Mahalanobis distance of w under the fit's latents."),
        IMAGES_SHARD,
        IMAGE_FOLDER,
    ),
)
