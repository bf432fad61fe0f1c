"""The operators that an exported program may use, each by its name; everything else is refused.

They compute with tensors that they are given and nothing else: none reads a file, draws random numbers or
calls back into Python. What trains, e.g. dropout, is allowed where its flag says that it does not.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from unitscope.errors import InvalidArgumentError

_ATEN = re.compile(r"torch\.ops\.aten\.([a-z0-9_]+)\.([A-Za-z0-9_]+)")

ALLOWED = frozenset([
    "conv1d", "conv2d", "convolution", "linear", "addmm", "mm", "bmm", "baddbmm", "matmul", "einsum",
    "scaled_dot_product_attention", "batch_norm", "_native_batch_norm_legit_no_training", "layer_norm",
    "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm", "relu", "relu6",
    "hardtanh", "hardswish", "hardsigmoid", "silu", "gelu", "elu", "selu", "celu", "mish", "leaky_relu",
    "prelu", "_prelu_kernel", "sigmoid", "tanh", "softplus", "softmax", "_softmax", "log_softmax",
    "_log_softmax", "erf", "exp", "log", "log1p", "sqrt", "rsqrt", "square", "pow", "abs", "neg",
    "reciprocal", "sin", "cos", "floor", "ceil", "round", "clamp", "clamp_min", "clamp_max", "maximum",
    "minimum", "add", "sub", "rsub", "mul", "div", "mean", "sum", "amax", "amin", "var",
    "linalg_vector_norm", "cumsum", "max_pool2d", "max_pool2d_with_indices", "avg_pool2d",
    "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d", "upsample_nearest2d",
    "upsample_bilinear2d", "upsample_bicubic2d", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "reshape", "view", "_unsafe_view", "view_as", "reshape_as", "flatten", "unflatten", "transpose", "t",
    "numpy_T", "permute", "movedim", "squeeze", "unsqueeze", "expand", "expand_as", "repeat", "cat",
    "concat", "stack", "chunk", "split", "split_with_sizes", "unbind", "slice", "select", "narrow",
    "index", "index_select", "gather", "roll", "flip", "pad", "constant_pad_nd", "reflection_pad2d",
    "replication_pad2d", "clone", "contiguous", "detach", "alias", "to", "_to_copy", "type_as",
    "lift_fresh_copy", "dropout", "feature_dropout", "zeros", "ones", "full", "arange", "scalar_tensor",
    "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "where", "eq", "ne",
    "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "masked_fill", "tril", "triu",
])  # fmt: skip

MAKERS = frozenset({"zeros", "ones", "full", "arange", "scalar_tensor"})
"""Operators that make tensors of nothing, and need to be told where."""

SIZES = frozenset({"sym_size", "sym_numel"})
"""Operators of aten that give a number and not a tensor."""

CHECKS = frozenset(
    {"_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size"}
)
"""Operators that compute nothing and are left out."""

ALIASING = frozenset([
    "reshape", "view", "_unsafe_view", "view_as", "reshape_as", "flatten", "unflatten", "transpose", "t",
    "numpy_T", "permute", "movedim", "squeeze", "unsqueeze", "expand", "expand_as", "chunk", "split",
    "split_with_sizes", "unbind", "slice", "select", "narrow", "contiguous", "detach", "alias", "to",
    "type_as", "dropout", "feature_dropout",
])  # fmt: skip
"""Operators whose results may share memory with what they read."""

_AS = {"view": "reshape", "_unsafe_view": "reshape", "view_as": "reshape_as"}
"""What is run instead: the same values, whatever the order in memory."""

_NUMBERS: Mapping[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in (
            "add",
            "sub",
            "mul",
            "floordiv",
            "truediv",
            "mod",
            "neg",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
        )
    },
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_max": max,
    "torch.sym_min": min,
}
"""Arithmetic on sizes."""


def aten_name(target: str) -> str:
    """The operator's name without namespace and overload; empty where it is none of aten's."""
    match = _ATEN.fullmatch(target)
    return match[1] if match else ""


def gives_number(target: str) -> bool:
    """Whether it computes with sizes, and not with tensors."""
    return target in _NUMBERS or aten_name(target) in SIZES


def function_of(target: str) -> Callable[..., Any]:
    """The function that a target names.

    Args:
        target: As an exported program has it, e.g. ``torch.ops.aten.conv2d.default``; one that works in place
            stands for the one that does not.

    Raises:
        InvalidArgumentError: It is not allowed (reason OPERATOR_NOT_ALLOWED).
    """
    if target in _NUMBERS:
        return _NUMBERS[target]
    match = _ATEN.fullmatch(target)
    name = match[1] if match else ""
    if match is not None and name not in ALLOWED | SIZES:
        name = name.removesuffix("_")
    if match is None or name not in ALLOWED | SIZES:
        raise not_allowed(target)
    packet = getattr(torch.ops.aten, _AS.get(name, name))
    if match[2] not in packet.overloads():
        raise not_allowed(target)
    found: Callable[..., Any] = getattr(packet, match[2])
    return found


def not_allowed(target: str) -> InvalidArgumentError:
    """The error for a target that is not allowed."""
    return InvalidArgumentError(
        f"the program uses {target[:80]!r}, which is not among the operators that classifiers are read with; "
        "export the part of the model that classifies, in evaluation mode, without functions of its own",
        reason="OPERATOR_NOT_ALLOWED",
        field="file",
        operator=target[:80],
    )
