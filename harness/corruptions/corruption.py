"""A corruption as the user writes it: one modality, one corruption, and its severities.

>>> corruption = Corruption.parse("image@noise:0,3", load_task("digits"))
>>> str(corruption), corruption.severities
('image@noise', (0, 3))
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from attacks.errors import BadInput, unknown
from attacks.randomness import keyed_generator
from attacks.region import Inputs
from harness.corruptions.scale import absent, ends
from harness.references.registry import Reference, names, resolve
from harness.references.userfile import own_packages
from harness.tasks import Batch, Modality, Task

GRAMMAR = (
    "MODALITY@NAME:SEVERITY,... or MODALITY@file.py:function:SEVERITY,...; severities 0 (clean) to 5, all if left out"
)
SEVERITIES = (0, 1, 2, 3, 4, 5)
MOVES = frozenset(
    {"audio/shift", "image/shift", *(f"video/{name}" for name in ("freeze", "repeat", "reorder", "swap", "shift"))}
)  # corruptions that move what they corrupt
PROBED = 4  # samples a corruption is tried on before the work begins
_PATTERN = re.compile(r"(?P<modality>[^@:]+)@(?P<name>.+?)(:(?P<severities>[^:]*))?")


@runtime_checkable
class Rule(Protocol):
    """The function of a corruption on one sample."""

    def __call__(self, x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
        """The corrupted sample.

        Args:
            x: one sample in raw units, not to be changed; for a sequence with padding, the real
                positions only.
            severity: 1 to 5.
            modality: its range, its absent value, its sample rate.
            generator: on the CPU; in the same state at every severity.

        Returns:
            a tensor of the shape of `x`; values outside the range are clipped to it.
        """


@dataclass(frozen=True)
class Corruption:
    """A corruption of one modality and the severities it is run at."""

    modality: str
    name: str
    severities: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.modality}@{self.name}"

    @staticmethod
    def parse(text: str, task: Task) -> Corruption:
        """Read a corruption for a task.

        Raises:
            BadInput: it does not parse, names a modality, corruption or severity there is not, or
                the corruption is of another kind than the modality.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise BadInput(f"corruption {text!r} does not parse: write {GRAMMAR}")
        modality, name, severities = (
            task.modality(match["modality"].strip()),
            match["name"].strip(),
            match["severities"],
        )
        if (
            severities is not None
            and severities.isidentifier()
            and f"{modality.kind}/{name}" not in names("corruption")
        ):
            name, severities = f"{name}:{severities}", None  # the colon is the reference's own
        levels = (
            SEVERITIES
            if severities is None
            else tuple(sorted({_severity(text, each.strip()) for each in severities.split(",")}))
        )
        _reference(modality, name)
        if f"{modality.kind}/{name}" in MOVES and task.lies_under(modality.name):
            raise BadInput(
                f"corruption {text!r} moves the input but not the target of task {task.name!r}, which names places in"
                " it: name another corruption"
            )
        return Corruption(modality.name, name, levels)

    @property
    def levels(self) -> tuple[int, ...]:
        """The severities, as the sweep calls them."""
        return self.severities

    def reference(self, task: Task) -> Reference:
        """The function and where it stands."""
        return _reference(task.modality(self.modality), self.name)

    def applied(self, task: Task, batch: Batch, severity: int, repeat: int, seed: int) -> tuple[Inputs, Tensor]:
        """The inputs with one modality corrupted, and which are present, bool (B, M): all.

        Every sample is corrupted on its own, on the CPU, with draws keyed on the seed, the sample,
        the corruption and the repeat, and not on the severity. At severity 0 the inputs are
        returned as they are.

        Raises:
            BadInput: the result has another shape than the sample, or holds NaN.
        """
        inputs, clean = dict(batch.inputs), batch.inputs[self.modality]
        if severity:
            reference = self.reference(task)
            with own_packages(reference.folder) if reference.folder else nullcontext():
                rows = list(
                    self._rows(reference.target, task.modality(self.modality), batch.to("cpu"), severity, repeat, seed)
                )
            inputs[self.modality] = torch.stack(rows).to(clean)
        return inputs, task.present(batch).cpu()

    def _rows(
        self, rule: Rule, modality: Modality, batch: Batch, severity: int, repeat: int, seed: int
    ) -> Iterator[Tensor]:
        valid = batch.valid.get(modality.name, [None] * len(batch))
        for sample, x, real in zip(batch.samples, batch.inputs[modality.name].detach(), valid, strict=True):
            generator = keyed_generator("corruption", seed, sample, str(self), repeat)
            try:
                yield _corrupted(rule, x, real, severity, modality, generator)
            except BadInput as error:
                raise BadInput(f"corruption '{self}' at severity {severity}, sample {sample!r}: {error}") from None


def parse_all(texts: Sequence[str], task: Task) -> list[Corruption]:
    """Read corruptions and try each on a few samples, before any work is done.

    Raises:
        BadInput: one cannot be used (see `Corruption.parse`), or is named twice.
    """
    corruptions = [Corruption.parse(text, task) for text in texts]
    texts = [str(corruption) for corruption in corruptions]
    for corruption in corruptions:
        if texts.count(str(corruption)) > 1:
            raise BadInput(f"corruption '{corruption}' is named twice: name it once, with all its severities")
        _probe(corruption, task)
    return corruptions


def _severity(text: str, severity: str) -> int:
    if severity not in map(str, SEVERITIES):
        raise BadInput(
            f"corruption {text!r}: {severity!r} is not a severity; a severity is a whole number from 0 (clean) to 5"
        )
    return int(severity)


def _reference(modality: Modality, name: str) -> Reference:
    """The function of an outside reference, or of a name registered under the modality's kind."""
    if ":" in name:
        return resolve("corruption", name)
    pairs = [tuple(each.split("/", 1)) for each in names("corruption")]
    own = [known for kind, known in pairs if kind == modality.kind]
    if name not in own:
        others = [kind for kind, known in pairs if known == name]
        but = f", but there is one of kind {' and '.join(others)}" if others else ""
        raise unknown(
            "corruption", name, own, where=f" of modality {modality.name!r}, which is of kind {modality.kind}{but}"
        )
    return resolve("corruption", f"{modality.kind}/{name}")


def _corrupted(
    rule: Rule, x: Tensor, real: Tensor | None, severity: int, modality: Modality, generator: torch.Generator
) -> Tensor:
    """One sample; its padding stays. The rule sees only the real positions of a sequence."""
    if real is None or real.ndim > 1:
        result = _checked(rule(x.clone(), severity, modality, generator), x, modality)
        return (
            result if real is None else torch.where(real.reshape(*real.shape, *[1] * (x.ndim - real.ndim)), result, x)
        )
    result = x.clone()
    if bool(real.any()):
        part = _part(modality, x, real)
        result[real] = _checked(rule(x[real], severity, part, generator), x[real], part)
    return result


def _part(modality: Modality, x: Tensor, real: Tensor) -> Modality:
    """The modality with the shape of a sample's real positions."""
    (low, high), stand_in = ends(x, modality), absent(x, modality)
    return replace(modality, shape=tuple(x[real].shape), low=low[real], high=high[real], absent=stand_in[real])


def _checked(result: object, x: Tensor, modality: Modality) -> Tensor:
    if not isinstance(result, Tensor) or result.shape != x.shape:
        shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise BadInput(f"it must return a sample of shape {tuple(x.shape)} in the same shape, not as {shape}")
    if not bool(result.isfinite().all()):
        raise BadInput(f"{int((~result.isfinite()).sum())} values came back as NaN or infinite")
    low, high = ends(x, modality)
    return result.to(x).clamp(low, high)


def _probe(corruption: Corruption, task: Task) -> None:
    batch = task.splits["test"].take(range(min(PROBED, len(task.splits["test"])))).to("cpu")
    for severity in corruption.severities:
        failed: list[Exception] = []
        for row in range(len(batch)):
            try:
                corruption.applied(task, batch.take([row]), severity, repeat=0, seed=0)
            except Exception as error:
                failed.append(error)
        if len(failed) < len(batch):  # one sample costs its own rows
            continue
        if isinstance(failed[0], BadInput):
            raise failed[0]
        raise BadInput(
            f"corruption '{corruption}' at severity {severity} fails on the first samples of task {task.name!r}: "
            f"{type(failed[0]).__name__}: {failed[0]}; it must take (x, severity, modality, generator)"
        ) from failed[0]
