"""Random pictures and label maps with parts that look like parts."""

import numpy as np
from scipy.ndimage import gaussian_filter


def labels(seed, parts, batch=1, size=(32, 32), smooth=3.0):
    noise = np.random.default_rng(seed).standard_normal((batch, parts, *size))
    return gaussian_filter(noise, (0, 0, smooth, smooth)).argmax(1).astype(np.uint8)


def pictures(seed, batch=1, size=(32, 32), smooth=2.0):
    noise = np.random.default_rng(seed).standard_normal((batch, *size, 3))
    blurred = gaussian_filter(noise, (0, smooth, smooth, 0))
    return np.clip(128 + 90 * blurred / blurred.std(), 0, 255).astype(np.uint8)
