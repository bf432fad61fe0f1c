"""The classifier service: images to features of a declared layer and logits; features to logits.

`networks` turns a card into a network, `classifier` runs one in fixed batches, `pool` keeps those
that are in use, `importer` converts weights from outside. They know no protobuf and can be used from
a notebook; `servicer` is the way in over gRPC::

    classifier = load_classifier(registry.resolve("avatars/clean"), registry)
    reading = classifier.read(images)          # uint8 (n, h, w, 3) -> features, logits
"""
