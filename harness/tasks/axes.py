"""The axes of a sample of each kind, in one place for all code that works along an axis."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attacks.errors import BadInput
from attacks.scenario import Scenario

AXES = {"image": (2, 3), "video": (4,), "audio": (1, 2), "text": (2,)}
"""How many axes a sample has; features have any."""
MENDS = {
    "image": "give (C, H, W) or (H, W), or declare its kind as features",
    "video": "give (C, T, H, W), frames on the second axis, or declare its kind as features",
    "audio": (
        "give waveforms (T,), or (C, T) for several channels, as x.permute(0, 2, 1), or declare its kind as features"
    ),
    "text": (
        "give one-hot rows (positions, vocabulary), as torch.nn.functional.one_hot(ids), or see harness.tasks.tokens"
    ),
}
GRID = {"image": 2, "audio": 1, "video": 3}  # axes that are places in space or time, the last ones
FEW = 4  # images commonly have no more channels


def check_axes(name: str, kind: str, shape: tuple[int, ...]) -> None:
    """Refuse a shape that does not fit the kind: image (C, H, W) or (H, W), video (C, T, H, W),
    audio (T,) or (C, T), text (positions, vocabulary).

    Raises:
        BadInput: the shape does not fit; the message names the modality and its shape, and says
            what to do.
    """
    allowed = AXES.get(kind, (len(shape),))
    if len(shape) not in allowed:
        counts, axes = " or ".join(map(str, allowed)), "axis" if allowed == (1,) else "axes"
        raise BadInput(f"{kind} has {counts} {axes} per sample, modality {name!r} has shape {shape}: {MENDS[kind]}")
    if kind == "audio" and len(shape) == 2 and shape[0] >= shape[1]:
        raise BadInput(f"modality {name!r} has shape {shape} per sample, which looks like (T, C): {MENDS[kind]}")
    if kind == "image" and channels_last(shape):
        raise BadInput(
            f"modality {name!r} has shape {shape} per sample, which looks like (H, W, C), but an image must be (C,"
            " H, W): "
            "move the channels first, x.permute(0, 3, 1, 2), or, if this shape is right, declare its kind as features"
        )
    if kind == "video" and _channels_elsewhere(shape):
        read, moved = ("(T, C, H, W)", "0, 2, 1, 3, 4") if shape[1] <= FEW else ("(T, H, W, C)", "0, 4, 1, 2, 3")
        raise BadInput(
            f"modality {name!r} has shape {shape} per sample, which looks like {read}, but a video must be (C, T, H,"
            " W): move"
            f" the channels first, x.permute({moved}), or, if this shape is right, declare its kind as features"
        )


def _channels_elsewhere(shape: tuple[int, ...]) -> bool:
    """Whether a video looks like (T, C, H, W) or (T, H, W, C), also one of few frames: frames of
    grey or of red, green and blue, or at most `FEW` columns beside more rows and frames.
    """
    first, second, rows, columns = shape
    if first > FEW >= min(second, columns):
        return True
    return columns <= FEW < min(second, rows) or (second in (1, 3) and first not in (1, 3) and first <= FEW)


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether an image looks like (H, W, C): fewer channels than both sides have pixels, or two
    equal sides and a different one.

    >>> channels_last((32, 48, 3)), channels_last((64, 64, 13))
    (True, True)
    >>> channels_last((13, 64, 64)), channels_last((3, 8, 3))
    (False, False)
    >>> channels_last((32, 48, 13)), channels_last((4, 4, 3)), channels_last((4, 100, 3))
    (True, True, True)
    """
    if len(shape) != 3:
        return False
    first, middle, last = shape
    return 0 < last < min(first, middle) or (FEW < first == middle != last)


def vocabulary_first(x: Tensor) -> bool:
    """Whether a text (N, A, B) has at most one token in each column and more in some row: it is (N,
    vocabulary, positions).
    """
    ones = bool(((x == 0) | (x == 1)).all()) and bool((x == 1).any())
    return ones and bool((x.sum(1) <= 1).all()) and bool((x.sum(2) > 1).any())


def positions(kind: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """The first and the last axis of a sample's positions: rows and columns of an image, frames of
    a video, times of a sound, else the first axis.
    """
    ends = {"image": (len(shape) - 2, len(shape)), "video": (1, 2), "audio": (len(shape) - 1, len(shape))}
    return ends.get(kind, (0, 1))


def channels(shape: tuple[int, ...]) -> int:
    """The channels of an image (C, H, W) or (H, W), or of a video (C, T, H, W)."""
    return 1 if len(shape) == min(AXES["image"]) else shape[0]


def check_edits(scenario: Scenario, kinds: dict[str, str]) -> None:
    """Refuse an edit of a kind of modality that it does not fit, such as a patch in a text;
    features may be anything.

    Raises:
        BadInput: naming the modality and the kinds that the edit fits.
    """
    for ball in scenario.edits:
        kind, fitting = kinds[ball.modality], ball.edit.kinds
        if fitting and kind not in (*fitting, "features"):
            raise BadInput(
                f"modality {ball.modality!r} is of kind {kind}, but {ball.norm_name!r} edits {' or '.join(fitting)}:"
                f" attack it in a norm, as in {ball.modality}@linf:0.1"
            )


def lie_under(kind: str, shape: Sequence[int], targets: Sequence[int], placed: int) -> bool:
    """Whether targets of a shape (N, ...) name places in a modality, so that a shift of the input
    must also move the target.

    A map, an image or a sound lies on the grid of the modality. For places of another form, such as
    boxes, the problem has `placed`, the number of axes that they need. Features of as many axes,
    such as a range scan, may be a view of the same scene.
    """
    grid = GRID.get(kind, 0)
    if placed:
        return (len(shape) if kind == "features" else grid) >= placed
    return 0 < grid < len(targets) and tuple(targets[-grid:]) == tuple(shape[-grid:])
