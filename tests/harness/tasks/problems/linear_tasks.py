"""A small task and a linear model for every kind of answer, so that each can be run to the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from harness.models.words.speaking import greedy, speaking
from harness.tasks import (
    Boxes,
    Classification,
    Counting,
    Enhancement,
    FreeAnswers,
    Heads,
    Images,
    MultiLabel,
    Problem,
    Regression,
    Retrieval,
    SoftCounting,
    Task,
    Values,
)
from harness.tasks.problems.free_answers import ANSWERS, tokens_of
from tests.harness.tasks.problems.linear_maps import Pixelwise, maps

COUNT = 60
__all__ = ["MODELS", "RAISES", "TASKS"]
RAISES = """
from tests.harness.tasks.problems.linear_tasks import MODELS, TASKS
def task(): return TASKS["maps"]()
def build(task):
    model = MODELS["maps"]()
    class Raises(type(model)):
        def forward(self, inputs, present=None):
            if inputs["rgb"].requires_grad: raise ZeroDivisionError("a fault of the model")
            return super().forward(inputs, present)
    return Raises()
"""
"""A file of a user whose model raises under attack."""


class Linear(nn.Module):
    """A linear map of both inputs, or their mean, so that an answer is near its target."""

    def __init__(self, weights: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weights, self.shape = nn.Parameter(weights), shape

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        x = torch.cat([each.flatten(1) for each in inputs.values()], 1)
        return (x @ self.weights).reshape(-1, *self.shape)


def _drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


WEIGHTS = _drawn(7, 3)


def features() -> dict[str, Tensor]:
    return {"a": _drawn(COUNT, 4), "b": _drawn(COUNT, 3).roll(1, 0)}


def evidence() -> Tensor:
    """What the linear model answers to the features, (60, 3)."""
    return torch.cat(list(features().values()), 1) @ WEIGHTS


def of_features(name: str, targets: Tensor, problem: Problem) -> Task:
    return Task.from_arrays(features(), targets, name=name, problem=problem)


def classes() -> Task:
    return of_features("classes", evidence().argmax(1), Classification(3))


def counts() -> Task:
    return of_features("counts", evidence().argmax(1), Counting(2))


def votes() -> Task:
    return of_features("votes", evidence().argmax(1), SoftCounting(((9, 1, 0), (0, 10, 0), (1, 2, 7))))


def heads() -> Task:
    """Two heads of two classes, which share a logit."""
    left, right = evidence()[:, :2].argmax(1), evidence()[:, 1:].argmax(1)
    problem = Heads(("left", "right"), (2, 2))
    return of_features("heads", problem.join([left, right]), problem)


def value() -> Task:
    return of_features("value", evidence()[:, 0] + 0.2 * _drawn(COUNT, 1)[:, 0], Regression(1.0))


def labels() -> Task:
    names = ("red", "green", "blue")
    return of_features("labels", (evidence() > 0).long(), MultiLabel(3, names))


def values() -> Task:
    targets = evidence() + 0.2 * _drawn(COUNT, 3)
    return of_features("values", targets, Values((1.0, 0.5, 2.0), ("x", "y", "z")))


def images() -> Task:
    light = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    depth = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    options = {"kinds": {"light": "image", "depth": "image"}, "ranges": {"light": (0, 1), "depth": (0, 1)}}
    targets = (light + depth) / 2
    problem = Images((1, 8, 8), thresholds=(0.5, 0.9))
    return Task.from_arrays({"light": light, "depth": depth}, targets, name="images", problem=problem, **options)


@dataclass(frozen=True)
class Levels:
    """Features of images (B, 1, 8, 8): how far each pixel is from each of 20 levels."""

    name: str = "levels"
    width: int = 1280

    def __call__(self, images: Tensor) -> Tensor:
        return (images.flatten(1)[..., None] - torch.linspace(0, 1, 20)).abs().flatten(1)


def features_of_images() -> Task:
    """Images whose tallies do not stand in the rows: they hold 1,280 features of two images."""
    task = images()
    return replace(task, name="features", problem=Images((1, 8, 8), thresholds=(0.5, 0.9), extractor=Levels()))


class Padded(MultiLabel):
    """Labels with a tally of 1,000 numbers, as an answer has that is padded to a fixed length."""

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        found = super().tally(outputs, targets)
        return nn.functional.pad(found, (0, 1000 - found.shape[1]))

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        return super().metrics(tallies[:, : 2 * self.labels])


def long_labels() -> Task:
    return of_features("long-labels", (evidence() > 0).long(), Padded(3))


def sounds() -> Task:
    """A tone, and its noisy copies at two microphones: their mean is nearer to it than either."""
    time = torch.arange(400) / 8000
    pitch = 200 + 400 * torch.rand(COUNT, 1, generator=torch.Generator().manual_seed(3))
    clean = 0.5 * torch.sin(2 * torch.pi * pitch * time)
    near, far = (clean + 0.2 * _drawn(COUNT, 400).roll(turn, 0) for turn in (0, 1))
    options = {"kinds": {"near": "audio", "far": "audio"}, "sample_rate": 8000}
    problem = Enhancement(400, best=10.0)
    return Task.from_arrays(
        {"near": near, "far": far}, torch.stack([clean, near], 1), name="sounds", problem=problem, **options
    )


class Quadrants(nn.Module):
    """Sees a lamp in a bright quadrant of `light` (B, 1, 8, 8), a pit in a deep one of `depth`."""

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        lamp, pit = (_quadrants(inputs[name]) for name in ("light", "depth"))
        logits = 20 * torch.stack([lamp - 0.5, pit - 0.5, torch.zeros_like(lamp)], 2)
        return torch.cat([logits, torch.tensor(QUADRANTS).to(logits).expand(len(lamp), -1, -1)], 2)


QUADRANTS = [(x, y, x + 0.5, y + 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)]


def _quadrants(x: Tensor) -> Tensor:
    """The mean of each quadrant, (B, 4)."""
    return nn.functional.avg_pool2d(x, 4).flatten(1)


def boxes() -> Task:
    """A quadrant with an object is bright or deep, seldom both, and all pixels are noisy."""
    generator = torch.Generator().manual_seed(4)
    there = torch.randint(-1, 2, (COUNT, 4), generator=generator)
    noise = 0.4 * torch.rand(2, COUNT, 1, 8, 8, generator=generator)
    light, depth = (
        (0.15 + 0.3 * (there == kind)).reshape(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3) + each
        for kind, each in enumerate(noise)
    )
    targets = torch.cat([there[..., None].float(), torch.tensor(QUADRANTS).expand(COUNT, -1, -1)], 2)
    options = {"kinds": {"light": "image", "depth": "image"}, "ranges": {"light": (0, 1), "depth": (0, 1)}}
    problem = Boxes(2, 4, ("lamp", "pit"), most=4, thresholds=(0.999,))
    return Task.from_arrays({"light": light, "depth": depth}, targets, name="boxes", problem=problem, **options)


class Bilinear(nn.Module):
    """The similarity of `sound`, mapped to three numbers, to its own `text` and to those that the
    model holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gallery", _texts())

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        query, own = inputs["sound"] @ WEIGHTS[:4], inputs["text"]
        return torch.cat([(query * own).sum(1, keepdim=True), query @ self.gallery.T], 1)


def _texts() -> Tensor:
    """Directions that sounds, mapped to three numbers, have, nearly."""
    return nn.functional.normalize(features()["a"] @ WEIGHTS[:4] + 0.1 * _drawn(COUNT, 3))


def pairs() -> Task:
    """Which text belongs to a sound, of 60?"""
    inputs = {"sound": features()["a"], "text": _texts()}
    return Task.from_arrays(inputs, torch.arange(COUNT), name="pairs", problem=Retrieval(COUNT))


SAID = ("", "red", "green", "blue")


def said(tokens: Sequence[int]) -> str:
    return " ".join(SAID[token] for token in tokens if token)


class TwoWords(nn.Module):
    """Says two words, each linear in the inputs, and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.stack([WEIGHTS, WEIGHTS.roll(1, 1)]))

    def embed_prompt(self, inputs: dict[str, Tensor], present: Tensor | None) -> dict[str, Tensor]:
        return {"x": torch.cat([inputs["a"], inputs["b"]], 1)}

    def logits(self, prompt: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        x = prompt["x"]
        words = nn.functional.pad(torch.einsum("pdv,bd->bpv", self.words, x), (1, 0), value=-20.0)
        end = torch.tensor([20.0, 0, 0, 0]).to(x).expand(len(x), 1, -1)
        return torch.cat([words, end], 1)[:, : tokens.shape[1] + 1]

    def generate(self, prompt: Mapping[str, Tensor], length: int) -> Tensor:
        return greedy(self, prompt, length)


def words() -> Task:
    """Two words, in which a speaker of two words is seldom wrong."""
    noisy = evidence() + 0.2 * _drawn(COUNT, 3)
    first, second = 1 + noisy.argmax(1), 1 + noisy.roll(1, 1).argmax(1)
    right = tuple((said(pair),) for pair in torch.stack([first, second], 1).tolist())
    tokens = tokens_of(right, lambda text: [SAID.index(word) for word in text.split()], 0, 1)
    problem = FreeAnswers(right, said, len(SAID), 3)
    return Task.from_arrays(
        features(), torch.arange(COUNT), name="words", problem=problem, extra_inputs={ANSWERS: tokens}
    )


def _mean(size: int) -> Tensor:
    return torch.cat([torch.eye(size), torch.eye(size)]) / 2


def _linear(*columns: int) -> Linear:
    return Linear(WEIGHTS[:, list(columns)].clone(), (len(columns),))


TASKS = {
    "maps": maps,
    "images": images,
    "sounds": sounds,
    "classes": classes,
    "counts": counts,
    "boxes": boxes,
    "pairs": pairs,
    "votes": votes,
    "heads": heads,
    "labels": labels,
    "features": features_of_images,
    "long-labels": long_labels,
    "value": value,
    "values": values,
    "words": words,
}
MODELS = {
    **{name: lambda: _linear(0, 1, 2) for name in ("classes", "counts", "votes", "labels", "long-labels", "values")},
    "heads": lambda: _linear(0, 1, 1, 2),
    "value": lambda: _linear(0),
    "maps": Pixelwise,
    "boxes": Quadrants,
    "pairs": Bilinear,
    "words": lambda: speaking(TwoWords(), words(), end=0),
    **{name: lambda: Linear(_mean(64), (1, 8, 8)) for name in ("images", "features")},
    "sounds": lambda: Linear(_mean(400), (400,)),
}
