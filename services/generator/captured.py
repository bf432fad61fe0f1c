"""Synthesis of fixed batches, recorded once: CUDA graphs, and `torch.compile` where it is wished.

A full network is some hundred small steps a batch, which a processor starts one by one while a GPU waits for
them. A CUDA graph starts them all at once. It is recorded at the first batch of a shape, reads and writes
memory of its own, and is recorded anew when a weight has changed. Where recording or compiling fails, the
network is called as it is, and the reason is logged once::

    render = Recorded(network.synthesis, "fast", execution)
    pictures = render(ws)                           # float32, as `Synthesis.forward` gives them

What hidden features are read from (an observer) is never recorded. Source: "Accelerating PyTorch with CUDA
Graphs" (PyTorch's documentation, `torch.cuda.CUDAGraph`).
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from services.generator.execution import Execution
from services.generator.layers import Form
from services.generator.network import Synthesis

log = logging.getLogger(__name__)

WARM_UPS = 2
"""Runs before recording: libraries choose algorithms and take memory in them, which a graph must not hold."""

Render = Callable[[Tensor], Tensor]
Recording = tuple[Callable[[], None], Tensor]
"""What runs the recorded steps again, and the tensor that they write."""

_State = tuple[tuple[int, int], ...]


def cuda_graph(run: Callable[[], Tensor]) -> Recording:
    """Records what `run` does on the present GPU; call under `torch.no_grad`.

    Raises:
        RuntimeError: It does what a graph cannot hold, or memory ran out.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Other threads of this process may use the GPU meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        written = run()
    return graph.replay, written


@dataclasses.dataclass(frozen=True)
class _Recorded:
    state: _State
    read: Tensor
    replay: Callable[[], None]
    written: Tensor


class Recorded:
    """Renders batches as `Synthesis.forward` does, by a recording where the execution says so.

    Not for several threads at once: a recording has one input and one output.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        form: Form,
        execution: Execution,
        record: Callable[[Callable[[], Tensor]], Recording] = cuda_graph,
        compiler: Callable[[Render], Render] | None = None,
    ) -> None:
        """Records nothing yet.

        Args:
            synthesis: The network, on the execution's device.
            form: As in `Synthesis.forward`; the plain form is neither recorded nor compiled.
            execution: Says whether to record and to compile.
            record: Records a function without arguments.
            compiler: Compiles; `torch.compile` for fixed shapes by default.
        """
        self._synthesis, self._form = synthesis, form
        self._records = execution.graphs and form == "fast"
        self._record = record
        self._recorded: dict[tuple[int, ...], _Recorded] = {}
        self._compiled: Render | None = None
        if execution.compiled and form == "fast":
            self._compiled = (compiler or _compile)(self._plainly)

    def __call__(self, ws: Tensor) -> Tensor:
        """Pictures of w+ `(batch, num_ws, w_dim)`: float32 `(batch, 3, resolution, resolution)`.

        The precision is that of the surrounding `Execution.rendering`, always the same one.
        """
        if not self._records or torch.is_grad_enabled():
            return self._called(ws)
        shape, state = tuple(ws.shape), self._state()
        recorded = self._recorded.get(shape)
        if recorded is None or recorded.state != state:
            # Its memory goes before more is taken.
            self._recorded.pop(shape, None)
            del recorded
            read = ws.clone()
            try:
                replay, written = self._record(lambda: self._called(read))
            except RuntimeError as error:
                self._records = False
                log.warning("steps are started one by one: no CUDA graph could be made: %s", error)
                return self._called(ws)
            recorded = self._recorded[shape] = _Recorded(state, read, replay, written)
        recorded.read.copy_(ws)
        recorded.replay()
        # The next batch is written over it.
        return recorded.written.clone()

    def _called(self, ws: Tensor) -> Tensor:
        if self._compiled is not None:
            try:
                return self._compiled(ws)
            except Exception as error:
                # Of compilers that come and go with the machine; our own errors come again below.
                self._compiled = None
                log.warning("the network runs as it is: torch.compile failed: %s", str(error)[:300])
        return self._plainly(ws)

    def _plainly(self, ws: Tensor) -> Tensor:
        pictures: Tensor = self._synthesis(ws, self._form)
        return pictures

    def _state(self) -> _State:
        """What a recording depends on beside w: where all tensors lie, and which version they are."""
        tensors = itertools.chain(self._synthesis.parameters(), self._synthesis.buffers())
        return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)


def _compile(render: Render) -> Render:
    return cast(Render, torch.compile(render, dynamic=False))
