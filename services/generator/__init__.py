"""The generator: the StyleGAN-XL network, and the servers that render with it.

`specs` says what a network is made of, `design` computes that from a few numbers, `network` builds it;
`plain` holds the definition of its operations and `fast` the form that is served. `backend` runs it in
fixed batches, `repository` and `triton_model` bring it to Triton, `v2_server` is the stand-in.
"""
