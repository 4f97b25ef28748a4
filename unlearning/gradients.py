"""Gradients of the loss, or another function of losses.py, by target weights: autograd for measuring stays here.

A gradient is one row over the flat vector of the targets: each target row-major, concatenated in order. Targets
are weights of linear layers, y = a W^T, and there a sample's gradient is the sum over its tokens t of the outer
products of what came back and what went in:

    dL/dW = sum_t delta_t a_t^T,     delta_t = dL/dy_t (out,), a_t (in,).

So one forward and one backward pass over a batch gives the `Trace` of every layer, from which the rows of single
samples follow, as few columns of them at a time as memory allows. For a whole model the traces are far smaller
than the rows, and `spooled` keeps them on disk where they are large.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from unlearning import losses, samples
from unlearning.errors import ArchitectureError
from unlearning.progress import Progress, silent

Samples = tuple[np.ndarray | Tensor, np.ndarray | Tensor]  # x and y as in `traces`
_IN_MEMORY = 64_000_000  # bytes of one spool that stay in memory before it becomes a file
_EXACT_SPOOL = 2_000_000_000  # bytes of all traces beyond which they are spooled as bfloat16
_FLOATS_PER_SLICE = 16_000_000  # of rows made at once


class Trace(NamedTuple):
    """What a linear layer saw of n samples: inputs (n, tokens, in), gradients at its outputs (n, tokens, out)."""

    inputs: Tensor
    deltas: Tensor

    def rows(self, outputs: slice = slice(None)) -> Tensor:
        """Gradients of single samples with respect to the weights of some outputs: (n, outputs * in)."""
        return (self.deltas[:, :, outputs].to(self.inputs.dtype).transpose(1, 2) @ self.inputs).flatten(1)

    def total(self) -> Tensor:
        """The sum of all samples' gradients, (out * in,)."""
        return (self.deltas.flatten(0, 1).T @ self.inputs.flatten(0, 1)).flatten()

    def slices(self, multiple: int = 1) -> Iterator[slice]:
        """Runs of outputs whose rows fit in memory, each of `multiple` outputs or a multiple of that."""
        outputs = self.deltas.shape[2]
        fit = _FLOATS_PER_SLICE // max(1, self.inputs.shape[0] * self.inputs.shape[2])
        step = max(multiple, fit // multiple * multiple)
        return (slice(start, min(start + step, outputs)) for start in range(0, outputs, step))


def traces(
    model: nn.Module,
    x: np.ndarray | Tensor,
    y: np.ndarray | Tensor,
    names: Sequence[str],
    batch: int = 32,
    signal: losses.PerSample = losses.per_sample,
) -> Iterator[dict[str, Trace]]:
    """Yield, batch by batch in sample order, the trace of every target layer, by target name.

    `signal` is what is differentiated. x (samples, channels, height, width), y (samples,); or tokens (samples,
    length) each. The model is used in evaluation mode and left as it was. Raises DatasetError for samples that do
    not fit the model, ArchitectureError for a target that is unknown or not the weight of a linear layer.
    """
    inputs, labels = samples.for_model(model, x, y)
    layers = _layers(model, names)
    frozen = {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    model.eval()
    for images, truth in zip(inputs.split(batch), labels.split(batch), strict=True):
        with _listening(layers) as heard:
            logits = functional_call(model, frozen, (images,))
        loss = signal(logits, truth).sum()
        outputs = [output for name in names for _, output in heard[name]]
        deltas = iter(torch.autograd.grad(loss, outputs))
        yield {name: _trace(len(truth), [(seen, next(deltas)) for seen, _ in heard[name]]) for name in names}


def per_sample(
    model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor, names: Sequence[str], batch: int = 32
) -> Iterator[Tensor]:
    """Yield the gradients of single samples' losses, (n, total) with n at most `batch`, in sample order.

    One batch holds batch x total floats: for large models take `traces` and a slice of outputs at a time.
    Arguments and errors as in `traces`.
    """
    for seen in traces(model, x, y, names, batch):
        yield torch.cat([seen[name].rows() for name in names], dim=1)


def mean_gradient(
    model: nn.Module,
    x: np.ndarray | Tensor,
    y: np.ndarray | Tensor,
    names: Sequence[str],
    batch: int = 32,
    signal: losses.PerSample = losses.per_sample,
) -> Tensor:
    """The gradient (total,) of the mean signal over all samples; arguments and errors as in `traces`."""
    total: Tensor | None = None
    for seen in traces(model, x, y, names, batch, signal):
        part = torch.cat([seen[name].total() for name in names])
        total = part if total is None else total.add_(part)
    assert total is not None  # no samples are refused before
    return total / len(y)


def contrasted(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    names: Sequence[str],
    batch: int = 32,
    signal: losses.PerSample = losses.per_sample,
    contrast: float = 0.0,
) -> Tensor:
    """The mean gradient (total,) on `forget`, less `contrast` times that on `retain`; errors as in `traces`."""
    mean = mean_gradient(model, *forget, names, batch, signal)
    if contrast:
        mean -= contrast * mean_gradient(model, *retain, names, batch, signal)
    return mean


class Moments(NamedTuple):
    """Mean gradient, and mean squared gradient (the Fisher's diagonal), over a set of samples, (total,) each."""

    gradient: Tensor
    fisher: Tensor


def moments(
    model: nn.Module,
    x: np.ndarray | Tensor,
    y: np.ndarray | Tensor,
    names: Sequence[str],
    batch: int = 16,
    progress: Progress = silent,
) -> Moments:
    """Both moments in one pass over the data.

    Beside them, one layer's rows of one batch are held, a slice of outputs at a time. Arguments and errors as in
    `traces`.
    """
    done, total, squares = 0, None, None
    for seen in traces(model, x, y, names, batch):
        if total is None or squares is None:
            sizes = sum(trace.inputs.shape[2] * trace.deltas.shape[2] for trace in seen.values())
            total, squares = torch.zeros(sizes), torch.zeros(sizes)
        start = 0
        for name in names:
            for outputs in seen[name].slices():
                rows = seen[name].rows(outputs)
                place = slice(start, start := start + rows.shape[1])
                total[place] += rows.sum(dim=0)
                squares[place] += rows.square_().sum(dim=0)
        done += _samples(seen)
        progress(done / len(y), f"gradients of {done} of {len(y)} samples")
    assert total is not None, "no samples are refused before"
    assert squares is not None
    return Moments(total / len(y), squares / len(y))


class Spool:
    """Traces of many samples, layer by layer, in memory or, where they are large, in temporary files.

    Whatever the number of layers, `trace` brings one layer back at a time. Traces of more than 2 GB are kept as
    bfloat16 (8 bits of precision, which the factors' own 5 or 6 bits and the sum over samples hide).
    """

    def __init__(self, files: ExitStack, names: Sequence[str], dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._width = {torch.float32: torch.int32, torch.bfloat16: torch.int16}[dtype]
        self._files = {
            name: tuple(files.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY)) for _ in range(2))  # noqa: SIM115
            for name in names
        }
        self._shapes: dict[str, list[tuple[torch.Size, torch.Size]]] = {name: [] for name in names}

    def add(self, seen: dict[str, Trace]) -> None:
        """Append one batch."""
        for name, trace in seen.items():
            for file, tensor in zip(self._files[name], trace, strict=True):
                file.write(tensor.to(self._dtype).contiguous().view(self._width).numpy().data)
            self._shapes[name].append((trace.inputs.shape, trace.deltas.shape))

    def trace(self, name: str) -> Trace:
        """All samples of one layer; inputs are float32, deltas as they were kept."""
        parts = []
        for number, file in enumerate(self._files[name]):
            shapes = [shape[number] for shape in self._shapes[name]]
            part = torch.empty(sum(shape[0] for shape in shapes), *shapes[0][1:], dtype=self._dtype)
            file.seek(0)
            read = file.readinto(part.view(self._width).numpy().data.cast("B"))
            assert read == part.nbytes, "a temporary file was cut short"
            parts.append(part)
        return Trace(parts[0].float(), parts[1])


@contextmanager
def spooled(
    model: nn.Module,
    x: np.ndarray | Tensor,
    y: np.ndarray | Tensor,
    names: Sequence[str],
    batch: int = 16,
    progress: Progress = silent,
) -> Iterator[Spool]:
    """The traces of all samples, spooled; the files are gone afterwards. Arguments and errors as in `traces`."""
    with ExitStack() as files:
        spool, done = None, 0
        for seen in traces(model, x, y, names, batch):
            n = _samples(seen)
            if spool is None:
                size = sum(trace.inputs.nbytes + trace.deltas.nbytes for trace in seen.values()) * len(y) // n
                spool = Spool(files, names, torch.float32 if size <= _EXACT_SPOOL else torch.bfloat16)
            spool.add(seen)
            done += n
            progress(done / len(y), f"gradients of {done} of {len(y)} samples")
        assert spool is not None  # no samples are refused before
        yield spool


def _samples(seen: dict[str, Trace]) -> int:
    return len(next(iter(seen.values())).inputs)


def _layers(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Linear]:
    """The linear layers whose weights the targets are."""
    known = {f"{name}.weight": module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    missing = [name for name in names if name not in known]
    if missing or not names:
        raise ArchitectureError(
            f"targets {missing!r} are not weights of linear layers of the model; take names from target_names"
        )
    return {name: known[name] for name in names}


@contextmanager
def _listening(layers: dict[str, nn.Linear]) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Collect every call's input and output. The weights are frozen, so the first output starts the graph."""
    heard: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

    def hook(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output if output.requires_grad else output.detach().requires_grad_()
        heard[name].append((inputs[0].detach(), output))
        return output

    handles = [
        layer.register_forward_hook(lambda _module, inputs, output, name=name: hook(name, inputs, output))
        for name, layer in layers.items()
    ]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _trace(n: int, calls: list[tuple[Tensor, Tensor]]) -> Trace:
    """One layer's trace of a batch of n: whatever stands between sample and features counts as its tokens."""
    shaped = [[tensor.reshape(n, -1, tensor.shape[-1]) for tensor in call] for call in calls]
    return Trace(*(torch.cat(column, dim=1) for column in zip(*shaped, strict=True)))
