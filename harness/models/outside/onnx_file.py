"""A network in an ONNX file, run by onnxruntime on the CPU. It has no gradients."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.tasks import Task

TYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(uint8)": torch.uint8,
    "tensor(bool)": torch.bool,
}
PRESENT = "present"


class OnnxFile(nn.Module):
    """A model of named inputs from an ONNX file.

    Inputs of the graph with the names of modalities get these; where none has such a name, they
    get the modalities in the order of the task. An input `present` gets which modalities are there,
    bool (B, M). An input of whole numbers gets rounded values.

    Args:
        answer: the name or the number of the output that holds the logits (B, *shape).

    Raises:
        BadInput: onnxruntime is not installed, the file cannot be read, or its inputs or outputs do
            not fit the task.
    """

    digest: Tensor

    def __init__(self, path: str | Path, task: Task, answer: str | int = 0) -> None:
        super().__init__()
        content, runtime = _content(Path(path)), _runtime()
        self.register_buffer("digest", torch.tensor(list(hashlib.sha256(content).digest()), dtype=torch.uint8))
        try:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            self.session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's classes of errors have no common base
            raise BadInput(f"the ONNX file {path} cannot be loaded: {error}") from error
        self.given = _given([each.name for each in self.session.get_inputs()], task, path)
        self.types = {each.name: _type(each, path) for each in self.session.get_inputs()}
        self.answer = _answer([each.name for each in self.session.get_outputs()], answer, path)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, *shape), without gradients."""
        some = next(iter(inputs.values()))
        held = {**inputs, **({} if present is None else {PRESENT: present})}
        feed = {name: _as(source, held[source], self.types[name]) for name, source in self.given.items()}
        (found,) = self.session.run([self.answer], feed)
        return torch.from_numpy(found).to(some.device, torch.float32)


def _content(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise BadInput(f"the ONNX file {path} cannot be read ({error.strerror}): name a file that is there") from None


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise BadInput("an ONNX file needs onnxruntime: pip install 'multimodal-robustness-harness[onnx]'") from None
    return onnxruntime


def _type(held: Any, path: str | Path) -> torch.dtype:
    if held.type not in TYPES:
        raise BadInput(f"the ONNX file {path} takes {held.type} for {held.name!r}: only numbers can be given to it")
    return TYPES[held.type]


def _given(names: list[str], task: Task, path: str | Path) -> dict[str, str]:
    """The modality or extra input that each input of the graph gets."""
    known = [*task.names, *task.extra_inputs, PRESENT]
    if set(names) <= set(known):
        return {name: name for name in names}
    free = [name for name in names if name != PRESENT]
    if not set(free) & set(known) and len(free) == len(task.names):
        return {**dict(zip(free, task.names, strict=True)), **{name: name for name in names if name == PRESENT}}
    raise BadInput(
        f"the inputs {', '.join(names)} of the ONNX file {path} are not the modalities of task {task.name!r}"
        f" ({', '.join(task.names)}): export it with these names"
    )


def _answer(names: list[str], answer: str | int, path: str | Path) -> str:
    if isinstance(answer, int) and -len(names) <= answer < len(names):
        return names[answer]
    if answer in names:
        return str(answer)
    raise BadInput(f"the ONNX file {path} has no output {answer!r} (outputs: {', '.join(names)})")


def _as(name: str, x: Tensor, dtype: torch.dtype) -> Any:
    """Values in the type that the file declares; they do not wrap round.

    Raises:
        BadInput: they are beyond that type.
    """
    whole = x if dtype.is_floating_point or not x.is_floating_point() else x.round()
    if not dtype.is_floating_point and x.numel():
        low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
        least, most = (float(end) for end in whole.aminmax()) if x.dtype != torch.bool else (0.0, 1.0)
        if least < low or most > high:
            raise BadInput(
                f"the ONNX file takes {name!r} as {str(dtype).removeprefix('torch.')}, from {low} to {high}, and it"
                f" reaches from {least:g} to {most:g}: give the modality that range"
            )
    return whole.detach().to("cpu", dtype).contiguous().numpy()
