"""The classes of torchattacks (Kim, 2020), which attack one image in [0, 1], on any modalities
in any units.

A class attacks one sample at a time. Some classes hand on subsets, copies or single rows of
their batch, so that a row would not know which sample's other modalities it goes with; and
several draw random numbers, scale losses or stop early for the batch as a whole, so that a
result would depend on its neighbours.

It sees each sample as a `UnitImage`. Its model returns the objective's margins with 0 at the right
class, shifted to be positive: to cross-entropy, DLR and every difference of logits, these are the
logits, and CW, which ignores negative logits, has a signal to follow. Its result is projected on
the region, and judged again.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torchattacks.attack import Attack as LibraryAttack

from attacks.ascent import Attempt
from attacks.errors import BadInput
from attacks.norms import NORMS
from attacks.objective import Classification, Objective
from attacks.randomness import keyed_seed
from attacks.region import Inputs, Region, take
from attacks.unit_image import UnitImage

MANAGED = ("model", "eps", "norm", "seed", "n_classes")  # set from the scenario, the samples and the task
NORM_NAMES = {"linf": "Linf", "l2": "L2"}
ONLY_L2 = ("PGDL2", "PGDRSL2")  # whose eps is an L2 radius; others with an eps and no choice of norm are L∞
FEWEST_CLASSES = {"APGDT": 4, "AutoAttack": 4}  # their DLR loss reads the fourth largest logit
FEWEST_FOR_DLR = 3
STRENGTH = 1.0  # of the try before the work begins


class _Logits(nn.Module):
    """The objective on one sample, as the model of images that torchattacks needs.

    The library's `backward` ends at the image: no parameter of the model behind the objective is
    reached.

    Attributes:
        gradients: gradient evaluations so far; a Jacobian of K classes is K.
        broke: whether the objective raised.
    """

    def __init__(self, objective: Objective, unit_image: UnitImage, label: int) -> None:
        super().__init__()
        # where the library finds its device
        self.place = nn.Parameter(torch.zeros_like(unit_image.clean), requires_grad=False)
        self._objective = (objective,)  # not as a submodule: the library changes modes
        self.unit_image, self.label = unit_image, label
        self.gradients, self.broke = 0, False

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[1:] != self.unit_image.clean.shape[1:]:
            raise BadInput(
                f"it changes the shape {tuple(self.unit_image.clean.shape[1:])} of its input: it needs square images"
            )
        margins: Tensor = _Margins.apply(image, self)  # type: ignore[no-untyped-call]
        logits = margins.index_fill(1, torch.tensor([self.label], device=image.device), 0.0)
        return logits - logits.detach().amin(1, keepdim=True) + 1

    def margins(self, image: Tensor) -> Tensor:
        """(n, K), n copies of the sample that differ in the attacked modalities."""
        copies = torch.zeros(len(image), dtype=torch.int64, device=image.device)
        inputs = {**take(self.unit_image.region.inputs, copies), **self.unit_image.raw(image)}
        margins = self._objective[0].take(copies)(inputs).margins
        assert margins is not None, "only a classifier is attacked"
        return margins

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Inside the block, an exception counts as the objective's, not the library's."""
        try:
            yield
        except Exception:
            self.broke = True
            raise


class _Margins(torch.autograd.Function):
    """Margins of an image, whose gradient stops at the image and is counted."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, logits: _Logits) -> Tensor:
        ctx.logits, ctx.image = logits, image.detach().requires_grad_(image.requires_grad)
        with logits.asking(), torch.set_grad_enabled(image.requires_grad):
            ctx.margins = logits.margins(ctx.image)
        margins: Tensor = ctx.margins.detach().clone()
        return margins

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        ctx.logits.gradients += len(gradient)
        if not ctx.margins.requires_grad:
            return torch.zeros_like(ctx.image), None
        with ctx.logits.asking():
            (found,) = torch.autograd.grad(ctx.margins, ctx.image, gradient, retain_graph=True, allow_unused=True)
        return torch.zeros_like(ctx.image) if found is None else found, None


@dataclass(frozen=True, eq=False)
class Bridge:
    """A class of torchattacks, or a subclass of its `Attack`, as a fixed-strength attack on a
    region.

    `eps` is the scenario's radius times the strength; `alpha`, unless given, keeps the class's own
    ratio to `eps` (1/4 for most). A given `alpha` is in raw units, like the radius. All other
    options are the class's own, in units of the unit_image. A class without `eps` (CW, DeepFool,
    SparseFool, OnePixel ...) keeps to no ball: its result is projected on the ball, and counts if
    the sample still fails there. Features at an end of their range do not move under CW, whose
    change of variables is flat there.

    Raises:
        BadInput: the class is not an attack of torchattacks, or needs more arguments than a model
            and options.
    """

    attack: type[Any]
    __signature__: inspect.Signature = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not issubclass(self.attack, LibraryAttack):
            raise BadInput(
                f"{self.name} is a class, but not an attack of torchattacks: name a subclass of"
                " torchattacks.attack.Attack"
            )
        needed = [
            name
            for name, each in self._parameters.items()
            if each.default is each.empty and each.kind is not each.VAR_KEYWORD
        ]
        if needed != ["model"]:
            raise BadInput(
                f"{self.name} needs {' and '.join(needed)}, not only a model and options: it cannot be used by name"
            )
        given = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("objective", "region", "strength")
        ]
        free = [
            each for each in self._parameters.values() if each.name not in MANAGED and each.kind is not each.VAR_KEYWORD
        ]
        keyed = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in ("samples", "seed")]
        options = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in free]
        object.__setattr__(self, "__signature__", inspect.Signature([*given, *keyed, *options]))

    @property
    def name(self) -> str:
        return self.attack.__name__

    @property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(self.attack).parameters)

    def check(self, region: Region, classes: int | None, options: dict[str, Any]) -> None:
        """Whether the class can attack such a region: by its known limits, and then by a trial on a
        model that fails already.

        Args:
            classes: of the objective; None if it is not a classifier.

        Raises:
            BadInput: too few classes, a norm that is not the class's, no unit_image, or options
                or a shape it fails on.
        """
        self._suits(region, classes, options)
        device = next(iter(region.inputs.values())).device
        logits = torch.arange(classes or 0, dtype=torch.float32, device=device)

        def fooled(inputs: Inputs) -> Tensor:
            touched = [inputs[name].flatten(1).sum(1, keepdim=True) for name in region.ranges]
            return logits + 0 * torch.cat(touched, dim=1).sum(1, keepdim=True)

        first = torch.zeros(1, dtype=torch.int64, device=device)
        trial = _Logits(Classification(fooled, first), UnitImage.of(region.take(first), STRENGTH), 0)
        self._one(trial, len(logits), 0, options)

    def _suits(self, region: Region, classes: int | None, options: dict[str, Any]) -> None:
        if classes is None:
            raise BadInput(
                f"{self.name} attacks classifiers, and this model is not a classifier: use pgd, apgd, fmn or square"
            )
        fewest = FEWEST_CLASSES.get(self.name, FEWEST_FOR_DLR if options.get("loss") == "dlr" else 2)
        if classes < fewest:
            raise BadInput(
                f"{self.name} needs {fewest} classes or more for its loss, but the model has {classes}: use APGD or FAB"
            )
        for ball in region.scenario.attacked:
            if ball.norm_name not in self._norms:
                raise BadInput(
                    f"{self.name} keeps to {' or '.join(self._norms)}, not to {ball}: name an attack of that norm"
                )
        if "alpha" in options and len(region.scenario.attacked) > 1:
            raise BadInput(f"{self.name}: alpha has no common unit for several modalities: leave it out")

    @property
    def _norms(self) -> tuple[str, ...]:
        """The norms that it can keep to; all of them if it keeps to no ball."""
        if "norm" in self._parameters:
            return tuple(NORM_NAMES)
        if "eps" not in self._parameters:
            return tuple(NORMS)
        return ("l2",) if any(base.__name__ in ONLY_L2 for base in self.attack.__mro__) else ("linf",)

    def _built(self, model: nn.Module, unit_image: UnitImage, classes: int, seed: int, options: dict[str, Any]) -> Any:
        parameters, ball = self._parameters, unit_image.region.scenario.attacked[0]
        managed = {"eps": unit_image.eps, "norm": NORM_NAMES.get(ball.norm_name), "seed": seed, "n_classes": classes}
        if "alpha" in options:
            options = {**options, "alpha": options["alpha"] / unit_image.scale[ball.modality]}
        elif {"alpha", "eps"} <= parameters.keys():
            managed["alpha"] = unit_image.eps * parameters["alpha"].default / parameters["eps"].default
        return self.attack(model, **{name: value for name, value in managed.items() if name in parameters}, **options)

    def __call__(
        self,
        objective: Objective,
        region: Region,
        strength: Tensor | float,
        *,
        samples: Sequence[str] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Attempt:
        """Attack each sample at strength t, shared or per sample (B,).

        Args:
            samples: names of the samples, to key randomness on; row numbers if absent.
            options: of the class.

        Raises:
            BadInput: as `check`.
        """
        with torch.no_grad():
            margins = objective(region.inputs).margins
        self._suits(region, None if margins is None else margins.shape[1], options)
        assert margins is not None
        names = [str(row) for row in range(len(region))] if samples is None else samples
        limit = torch.as_tensor(strength, dtype=torch.float64, device=margins.device).expand(len(region))
        reached, spent = [], []
        for row, label in enumerate(margins.isneginf().int().argmax(1).tolist()):
            rows = torch.tensor([row], device=margins.device)
            logits = _Logits(objective.take(rows), UnitImage.of(region.take(rows), float(limit[row])), label)
            reached.append(self._one(logits, margins.shape[1], _key(region, names[row], seed), options))
            spent.append(logits.gradients)
        found = region.project({name: torch.cat([each[name] for each in reached]) for name in region.ranges}, limit)
        with torch.no_grad():
            fails = objective(region.complete(found)).fails
        return Attempt(found, fails, torch.tensor(spent, device=margins.device))

    def _one(self, logits: _Logits, classes: int, seed: int, options: dict[str, Any]) -> Inputs:
        """Where the attack takes one sample: its attacked modalities, (1, ...)."""
        unit_image = logits.unit_image
        with _seeded(seed), torch.enable_grad(), _blamed(self.name, logits):
            attack = self._built(logits, unit_image, classes, seed, options)
            image = attack(unit_image.clean, torch.tensor([logits.label], device=unit_image.clean.device))
        return unit_image.raw(image.detach())


def _key(region: Region, sample: str, seed: int) -> int:
    balls = [(ball.modality, ball.norm_name) for ball in region.scenario.attacked]
    return keyed_seed("torchattacks", seed, sample, balls, region.scenario.missing)


@contextmanager
def _blamed(name: str, logits: _Logits) -> Iterator[None]:
    """Errors of the library become BadInput; errors of the objective pass through."""
    try:
        yield
    except Exception as error:
        if logits.broke:
            raise
        reason = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
        raise BadInput(
            f"torchattacks' {name} fails on an input of shape {tuple(logits.unit_image.clean.shape[1:])}: {reason}"
        ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Inside the block, torch's and numpy's global random states follow the seed, and warnings of
    the library's arithmetic are silent.
    """
    numpy_state = np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings(action="ignore"):
        try:
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)
