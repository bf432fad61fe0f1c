"""Drawn worlds: pictures whose every factor, part and word is known.

A world is where the truth comes from. ``avatars`` draws cartoon faces; ``factors`` says what may
vary and how often, ``parts`` which pixel belongs to what, and ``latents`` how the avatars pack
reads the factors off a generator's ``z``.
"""
