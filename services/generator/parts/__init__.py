"""Parts models: they label the regions of what one generator renders, from its own hidden features.

`features` reads the hidden layers in the pass that renders, `network` turns them into labels;
`training` fits a network to a few labelled pictures, `clustering` to none; `store` keeps it in a
registry, `cards` checks it there, `evaluation` compares label maps. After "Repurposing GANs for
one-shot semantic part segmentation" (arXiv 2103.04379), without the tensor of all channels at full
size that it builds.
"""
