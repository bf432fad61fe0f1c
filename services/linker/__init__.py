"""The linker: an affine map from a classifier's features `r` to a generator's latents `w`.

`w = A r + b` is fitted by exact ridge regression from statistics that are gathered in one pass over
streamed pairs and merged between chunks of work; nothing here knows protobuf, a server or torch::

    statistics = FoldedStatistics(folds=5, features=512, latents=256)
    statistics.update(features, latents, classes, row_ids)      # as often as there are batches
    linker = fit(statistics.folds, penalties=(1e-4, 1e-3, 1e-2, 1e-1, 1.0))
    linker.apply(features)

Modules: `sampling` (who is in which fold and in the sample), `moments`, `statistics` and `folds`
(gathering), `spectrum` and `ridge` (solving), `dual` (more features than 8,192), `mapping` (the
result), `baselines`, `bootstrap`, `congruence` and `evaluation` (what the map is worth) and
`plausibility` (is a w still one of the generator's own).

Source: the linking network of "Linking in Style" (arXiv 2409.16865), there ordinary least squares.
"""
