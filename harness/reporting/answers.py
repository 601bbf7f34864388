"""Answers that are maps, images, sounds or boxes, drawn: the target, the untouched and the attacked
answer, and what changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from harness.engine.answers import ATTACKED, TARGET, UNTOUCHED
from harness.reporting import boxes, images
from harness.reporting.legend import class_colour, class_name, with_legend
from harness.run.description import MOST_CLASSES, AnswerForm

Answers = Mapping[str, Tensor]
"""Stored answers by `TARGET`, `UNTOUCHED` and `ATTACKED`; some may be missing."""

TITLES = {TARGET: "target", UNTOUCHED: "answer untouched", ATTACKED: "answer attacked"}
IGNORED, SAME, CHANGED = "#BDBDBD", "#F2F2F2", "#A50F15"
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
AXES = {"map": 2, "image": 3, "sound": 1}


def shown_as(form: AnswerForm | None, answers: Answers) -> str:
    """Map, image, sound or boxes; empty if the stored tensors do not fit the form."""
    if form is None or UNTOUCHED not in answers:
        return ""
    if form.kind == "boxes":
        return form.kind if all(map(boxes.can_be_boxes, answers.values())) else ""
    if len({x.shape for x in answers.values()}) != 1:
        return ""
    first = answers[UNTOUCHED]
    if first.ndim != AXES.get(form.kind) or not first.numel() or (form.kind == "image" and len(first) not in (1, 3)):
        return ""
    fits = _classes if form.kind == "map" else _real
    return form.kind if all(fits(x, form.ignore) is not None for x in answers.values()) else ""


def _real(x: Tensor, _: int | None) -> Tensor | None:
    return x if x.dtype in REAL and bool(x.isfinite().all()) else None


def _classes(x: Tensor, ignore: int | None) -> list[int] | None:
    """The classes of a map; None where it holds something else."""
    if x.dtype not in WHOLE:
        return None
    found = [value for value in x.unique().tolist() if value != ignore]
    return found if all(0 <= value < MOST_CLASSES for value in found) else None


def figure_of(form: AnswerForm, answers: Answers, pictures: Mapping[str, boxes.ImageTrace] | None = None) -> go.Figure:
    """The answers side by side, and the change between the last two. Check with `shown_as` first.

    Args:
        pictures: what lies under boxes, see `boxes.images_under`.
    """
    there = {TITLES[name]: answers[name] for name in TITLES if name in answers}
    if form.kind == "boxes":
        return boxes.figure_of(form, there, [(pictures or {}).get(name) for name in TITLES if name in answers])
    if form.kind == "map":
        return _maps(form, there, answers)
    if ATTACKED in answers:
        there[images.TITLES[2]] = answers[ATTACKED] - answers[UNTOUCHED]
    if form.kind == "sound":
        return images.waves(form.sample_rate, [x.float() for x in there.values()], list(there))
    span = _span(form, answers)
    panels = [images.picture(x, span, title not in TITLES.values()) for title, x in there.items()]
    return images.side_by_side(panels, list(there), square=True)


def _span(form: AnswerForm, answers: Answers) -> tuple[float, float]:
    """The range of an image's values; where it has no end, that of all answers."""
    low = min(float(x.min()) for x in answers.values()) if form.low is None else form.low
    high = max(float(x.max()) for x in answers.values()) if form.high is None else form.high
    return low, high if high > low else low + 1.0


def sounds_of(form: AnswerForm, answers: Answers) -> dict[str, bytes]:
    """WAV files by title, equally loud; empty where answers are no sounds."""
    if form.kind != "sound":
        return {}
    full = max(1e-12, *(float(x.abs().max()) for x in answers.values()))
    return {
        TITLES[name]: images.wav(answers[name].float(), full, form.sample_rate) for name in TITLES if name in answers
    }


def _maps(form: AnswerForm, there: Mapping[str, Tensor], answers: Answers) -> go.Figure:
    present = sorted({value for x in answers.values() for value in _classes(x, form.ignore) or ()})
    count = max([len(form.classes), *(value + 1 for value in present)])
    colours = [*map(class_colour, range(count)), IGNORED]
    traces = [_coloured(_known(x, count), colours, "class %{z}") for x in there.values()]
    titles = list(there)
    if ATTACKED in answers:
        changed, share = difference(form, answers)
        traces.append(_coloured(changed, (SAME, CHANGED, IGNORED), ""))
        titles.append(f"changed: {100 * share:.0f} % of pixels")
    figure = images.side_by_side(traces, titles, square=True)
    entries = [(class_name(form, value), colours[value]) for value in present]
    entries += [("ignored", IGNORED)] if bool(_ignored(form, answers).any()) else []
    return with_legend(figure, entries)


def difference(form: AnswerForm, answers: Answers) -> tuple[np.ndarray, float]:
    """Pixels that the attack changed, (H, W): 0 as before, 1 changed, 2 ignored; and the changed
    share of those that count.
    """
    changed = (answers[UNTOUCHED].long() != answers[ATTACKED].long()).to(torch.uint8)
    ignored = _ignored(form, answers)
    counted = changed[~ignored]
    return changed.masked_fill(ignored, 2).numpy(), float(counted.double().mean()) if len(counted) else 0.0


def _ignored(form: AnswerForm, answers: Answers) -> Tensor:
    """The pixels (H, W) that do not count, by their target."""
    if form.ignore is None or TARGET not in answers:
        return torch.zeros_like(answers[UNTOUCHED], dtype=torch.bool)
    return answers[TARGET].long().eq(form.ignore)


def _known(x: Tensor, count: int) -> np.ndarray:
    """A map's classes; `count` where a pixel is ignored."""
    known = x.long()
    shown: np.ndarray = known.where((known >= 0) & (known < count), count).to(torch.int16).numpy()
    return shown


def _coloured(z: np.ndarray, colours: Sequence[str], hover: str) -> go.Heatmap:
    """Whole numbers from 0, each in its colour."""
    count = len(colours)
    scale = [[place / count, colour] for edge, colour in enumerate(colours) for place in (edge, edge + 1)]
    return go.Heatmap(
        z=z,
        zmin=-0.5,
        zmax=count - 0.5,
        colorscale=scale,
        showscale=False,
        hovertemplate=f"column %{{x}}, row %{{y}}: {hover}<extra></extra>" if hover else None,
        hoverinfo=None if hover else "skip",
    )
