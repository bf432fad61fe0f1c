"""Official StyleGAN-XL checkpoints become models of the registry, and nothing in them is executed.

An official file is a pickle, a small program for a stack machine that can call any function. Here
it is never unpickled: `reader` runs the machine symbolically, so that a class or a function is a name
and a call a record; `tensors` and `checkpoint` then read the records of ``G_ema`` that they know and
refuse any other; `importer` writes safetensors and a card::

    card = import_stylegan_xl(Path("imagenet256.pkl"), Path("models"), name="stylegan-xl/imagenet256")

This package is the one exception to the rule that nothing of ours reads a pickle.
"""
