"""Training a generator on a laboratory's own pictures, adversarially, as StyleGAN-XL is trained.

From the inside out: `stages` builds the stem and grows a network by a super-resolution stage,
`projector` and `discriminator` judge pictures by the features of a frozen network, `augment` varies
what they judge, `guidance` asks for the class, and `trainer` takes the steps. Sources: StyleGAN-XL
(arXiv 2202.00273), Projected GANs (arXiv 2111.01007), DiffAugment (arXiv 2006.10738).
"""
