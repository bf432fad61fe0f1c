"""The generator: the StyleGAN-XL network, its training, and the server that renders with it.

`specs` says what a network is made of, `network` builds it, `ops` holds the definition of its
operations (the plain form) and `resampling` the matrices of the fast form.
"""
