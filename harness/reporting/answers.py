"""Answers that are maps, images or sounds, drawn: the target, the untouched and the attacked
answer, and what changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from harness.engine.answers import ATTACKED, TARGET, UNTOUCHED
from harness.reporting import images
from harness.reporting.figures import figured
from harness.run.description import MOST_CLASSES, AnswerForm

Answers = Mapping[str, Tensor]
"""Stored answers by `TARGET`, `UNTOUCHED` and `ATTACKED`; some may be missing."""

TITLES = {TARGET: "target", UNTOUCHED: "answer untouched", ATTACKED: "answer attacked"}
BASES = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#332288")
"""Okabe and Ito's colours, which colour-blind readers tell apart, and an indigo."""
SHADES = (0.0, 0.6, -0.5, 0.35, -0.25, 0.8, -0.7)  # mixed with white, or below 0 with black
IGNORED, SAME, CHANGED = "#BDBDBD", "#F2F2F2", "#A50F15"
IN_LINE, LINE = 6, 20  # entries in a line of the legend, and its height in pixels
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
AXES = {"map": 2, "image": 3, "sound": 1}


def shown_as(form: AnswerForm | None, answers: Answers) -> str:
    """Map, image or sound; empty if the stored tensors do not fit the form."""
    if form is None or UNTOUCHED not in answers or len({x.shape for x in answers.values()}) != 1:
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


def figure_of(form: AnswerForm, answers: Answers) -> go.Figure:
    """The answers side by side, and the change between the last two; `shown_as` has to allow it."""
    there = {TITLES[name]: answers[name] for name in TITLES if name in answers}
    if form.kind == "map":
        return _maps(form, there, answers)
    if ATTACKED in answers:
        there[images.TITLES[2]] = answers[ATTACKED] - answers[UNTOUCHED]
    if form.kind == "sound":
        return images.waves(form.sample_rate, [x.float() for x in there.values()], list(there))
    span = _span(form, answers)
    pictures = [images.picture(x, span, title not in TITLES.values()) for title, x in there.items()]
    return images.side_by_side(pictures, list(there), square=True)


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
    entries = [(_class_name(form, value), colours[value]) for value in present]
    entries += [("ignored", IGNORED)] if bool(_ignored(form, answers).any()) else []
    for name, colour in entries:
        figure.add_trace(_entry(name, colour))
    height = images.SIZE + LINE * -(-len(entries) // IN_LINE)
    bottom = {"orientation": "h", "x": 0, "y": -0.02, "yanchor": "top"}
    return figure.update_layout(height=height, legend=bottom, margin={"l": 10, "r": 10, "b": 10, "t": 40})


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


def _entry(name: str, colour: str) -> go.Scatter:
    marker = {"symbol": "square", "size": 12, "color": colour}
    return go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")


def _class_name(form: AnswerForm, value: int) -> str:
    """A class as the legend names it, with its number in the map."""
    name = form.classes[value] if value < len(form.classes) else str(value)
    return figured(name if name == str(value) else f"{value} {name}")


def class_colour(place: int) -> str:
    """The colour of a class, the same on every page; of 56 classes none has another's."""
    base, shade = BASES[place % len(BASES)], SHADES[place // len(BASES) % len(SHADES)]
    channels = [int(base[at : at + 2], 16) for at in (1, 3, 5)]
    mixed = [round(x + (255 - x) * shade if shade >= 0 else x * (1 + shade)) for x in channels]
    return "#" + "".join(f"{x:02X}" for x in mixed)
