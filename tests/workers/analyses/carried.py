"""Counterfactual jobs carried out stage by stage on the tiny pack, and what their chunks hold."""

import io
import zipfile

import numpy as np
from PIL import Image

from unitscope.jobs import layout
from unitscope.jobs.chunks import encode
from workers.analyses import counterfactual
from workers.counterfactual.result import OUTCOMES

CLASSES = ("ash", "birch", "cedar", "dogwood")
SEEDS, FRAMES = 3, 4


def outcomes(tensors):
    return [OUTCOMES[k] for k in tensors["outcome"]]


def pictures(chunk):
    archive = zipfile.ZipFile(io.BytesIO(chunk.tensors["pictures"].tobytes()))
    return {name: np.asarray(Image.open(archive.open(name))) for name in archive.namelist()}


def joined(chunks, name):
    return np.concatenate([chunk.tensors[name] for chunk in chunks])


class Carried:
    """A job's stages, carried out without its finalise step."""

    def __init__(self, stack, job_id, spec):
        self.context = stack.context(job_id, spec)
        self.spec = spec
        self.bytes = {}
        for stage in self.context.plan.stages:
            for params, chunk in zip(stage.chunks, self.context.plan.chunk_ids(stage), strict=True):
                data = encode(counterfactual.run(self.context, stage.name, params))
                assert stack.store.create(layout.chunk(job_id, stage.name, chunk), data)
                self.bytes[stage.name, chunk] = data

    def stage(self, name):
        return [chunk for _, chunk in self.context.result(name)]
