"""The classifier service: images to features of a declared layer and logits; features to logits.

`networks`, `program_network` and `onnx_network` turn what a card speaks of into a network, `classifier`
runs one in fixed batches, `loading` makes one out of a model's folder, `pool` keeps those that are in use.
`importer` brings in weights of torchvision, programs of ``torch.export`` and ONNX files, none of which it
executes or unpickles. They know no protobuf and can be used from a notebook; `servicer` is the way in over
gRPC::

    classifier = load_classifier(registry.resolve("avatars/clean"), registry)
    reading = classifier.read(images)          # uint8 (n, h, w, 3) -> features, logits
"""
