"""Drawings of inputs of each kind: untouched, attacked, and the change, enlarged."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
import plotly.graph_objects as go
import soundfile
import torch
from markupsafe import Markup, escape
from plotly.colors import sequential
from plotly.subplots import make_subplots
from torch import Tensor

from harness.tasks.modality import Modality

TITLES = ("untouched", "attacked", "change")
SIZE = 330  # height of an image, in pixels
WINDOW = 256  # samples of a spectrogram's window
QUIET = 80.0  # decibels below the loudest that are drawn
COLUMNS = 3  # frames of a video side by side
BARS = 64  # features that are drawn as bars; more are a line
DIVERGING = "RdBu_r"
NIGHT = [
    "#010106",
    *sequential.Magma[1:],
]  # Magma begins with #000004, in whose place Streamlit puts a colour of its theme


def is_picture(modality: Modality) -> bool:
    return modality.kind in ("image", "video")


def is_wave(modality: Modality) -> bool:
    return modality.kind == "audio"


def frames(x: Tensor) -> Tensor:
    """Some frames of a video (C, T, H, W), evenly spaced, as one image: two rows, from left to
    right.
    """
    columns = min(COLUMNS, -(-x.shape[1] // 2))
    chosen = torch.linspace(0, x.shape[1] - 1, 2 * columns).round().long()
    rows = [torch.cat(list(x[:, some].unbind(1)), -1) for some in chosen.split(columns)]
    return torch.cat(rows, -2)


def is_tokens(modality: Modality, x: Tensor) -> bool:
    """Whether it is one-hot text: rows that are tokens, or were before an attack mixed them."""
    return modality.kind == "text" and x.ndim == 2 and bool((x >= 0).all()) and bool((x.sum(1) - 1).abs().max() < 1e-3)


def combine_single_modality(modality: Modality, clean: Tensor, moved: Tensor | None, times: float) -> go.Figure:
    """An input beside its changed version and the change, enlarged by this factor; the input alone,
    if nothing changed.
    """
    panels = [clean] if moved is None else [clean, moved, (moved - clean) * times]
    titles = [TITLES[0]] if moved is None else [*TITLES[:2], f"{TITLES[2]} × {times:g}"]
    if is_picture(modality):
        pictures = [picture(x, ends(modality, x), at == 2) for at, x in enumerate(panels)]
        return side_by_side(pictures, titles, square=True)
    if is_wave(modality):
        return waves(modality.sample_rate, panels, titles)
    if clean.ndim == 1:
        return _bars(panels[:2], titles[:2])
    low, high = float(clean.min()), float(clean.max())
    flat = [x.reshape(len(x), -1) for x in panels]
    return side_by_side([_table(x, low, high, at == 2) for at, x in enumerate(flat)], titles)


def side_by_side(traces: Sequence[go.Heatmap | go.Image], titles: Sequence[str], square: bool = False) -> go.Figure:
    """Panels without axes, the first row on top."""
    figure = make_subplots(cols=len(traces), subplot_titles=titles, horizontal_spacing=0.03)
    for number, trace in enumerate(traces, 1):
        figure.add_trace(trace, 1, number)
        if square:
            figure.update_yaxes(scaleanchor=f"x{number if number > 1 else ''}", col=number)
            figure.update_xaxes(constrain="domain", col=number)
    figure.update_yaxes(autorange="reversed", showticklabels=False, showgrid=False, zeroline=False, constrain="domain")
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    return figure.update_layout(height=SIZE, margin={"l": 10, "r": 10, "b": 10, "t": 40})


def picture(x: Tensor, span: tuple[float, float], change: bool) -> go.Heatmap | go.Image:
    """Grey, in this range, or in colour, of a video some frames; a change is drawn around the
    middle.
    """
    channels = frames(x) if x.ndim == 4 else x if x.ndim == 3 else x[None]
    low, high = span
    if len(channels) == 3:
        shown = channels / (high - low) + 0.5 if change else (channels - low) / (high - low)
        return go.Image(z=(shown.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
    grey, middle = channels.float().mean(0), (high - low) / 2
    scale = (
        {"colorscale": DIVERGING, "zmin": -middle, "zmax": middle}
        if change
        else {"colorscale": "gray", "zmin": low, "zmax": high}
    )
    return go.Heatmap(z=_plain(grey), showscale=False, **scale)


def ends(modality: Modality, x: Tensor) -> tuple[float, float]:
    """The valid range; where it has no end, that of the values."""
    low, high = float(torch.as_tensor(modality.low).min()), float(torch.as_tensor(modality.high).max())
    low, high = (low if math.isfinite(low) else float(x.min())), (high if math.isfinite(high) else float(x.max()))
    return low, high if high > low else low + 1.0


def _table(x: Tensor, low: float, high: float, change: bool) -> go.Heatmap:
    most = max(float(x.abs().max()), 1e-12)
    scale = (
        {"colorscale": DIVERGING, "zmin": -most, "zmax": most}
        if change
        else {"colorscale": "Viridis", "zmin": low, "zmax": high}
    )
    return go.Heatmap(z=_plain(x), showscale=False, **scale)


def _bars(panels: Sequence[Tensor], titles: Sequence[str]) -> go.Figure:
    figure = go.Figure()
    for x, title in zip(panels, titles, strict=True):
        values = _plain(x)
        figure.add_trace(
            go.Bar(y=values, name=title) if len(values) <= BARS else go.Scatter(y=values, name=title, mode="lines")
        )
    return figure.update_layout(height=SIZE, barmode="group", xaxis={"title": "feature"}, template="plotly_white")


def waves(sample_rate: int | None, panels: Sequence[Tensor], titles: Sequence[str]) -> go.Figure:
    """Waveforms above their spectrograms, in decibels below the loudest; a change, which is
    quieter, below its own. Channels are averaged.
    """
    panels = [x.reshape(-1, x.shape[-1]).mean(0) for x in panels]
    rate = sample_rate or 1
    unit = "seconds" if sample_rate else "samples"
    figure = make_subplots(
        rows=2,
        cols=len(panels),
        subplot_titles=titles,
        row_heights=[0.35, 0.65],
        horizontal_spacing=0.05,
        vertical_spacing=0.08,
        shared_xaxes=True,
    )
    for number, (x, title) in enumerate(zip(panels, titles, strict=True), 1):
        seconds, hop, spectrum = np.arange(len(x)) / rate, WINDOW // 4, spectrogram(x)
        loudest = float((spectrum if title.startswith(TITLES[2]) else spectrogram(panels[0])).max())
        figure.add_scatter(
            x=seconds,
            y=_plain(x),
            mode="lines",
            line={"width": 1, "color": "#1f77b4"},
            showlegend=False,
            row=1,
            col=number,
        )
        figure.add_heatmap(
            z=_plain(spectrum),
            x=np.arange(spectrum.shape[1]) * hop / rate,
            y=np.linspace(0, rate / 2, len(spectrum)),
            showscale=False,
            zmin=loudest - QUIET,
            zmax=loudest,
            colorscale=NIGHT,
            row=2,
            col=number,
        )
    figure.update_yaxes(title_text="Hz" if sample_rate else "cycles per sample", row=2, col=1)
    figure.update_xaxes(title_text=unit, row=2)
    return figure.update_layout(height=SIZE + 90, template="plotly_white", margin={"l": 10, "r": 10, "b": 10, "t": 40})


def spectrogram(x: Tensor) -> Tensor:
    """Power in decibels of a wave (T,), (bins, frames): Hann window, a quarter's hop."""
    wave = torch.nn.functional.pad(x.float(), (0, max(0, WINDOW - len(x))))
    power = torch.stft(wave, WINDOW, WINDOW // 4, window=torch.hann_window(WINDOW), return_complex=True).abs().square()
    return 10 * (power + 1e-10).log10()


def playable(modality: Modality, x: Tensor) -> bytes:
    """A wave as `wav`; values at the ends of its range are full scale, so that loudness stays
    comparable.
    """
    return wav(x, max(map(abs, ends(modality, x))), modality.sample_rate)


def wav(x: Tensor, full: float, sample_rate: int | None) -> bytes:
    """A WAV file of 16 bits of a sound (T,) or (C, T), in which `full` is full scale."""
    buffer = io.BytesIO()
    soundfile.write(buffer, (x / full).clamp(-1, 1).numpy().T, sample_rate or 8_000, "PCM_16", format="WAV")
    return buffer.getvalue()


def text(modality: Modality, before: Sequence[str | None], now: Sequence[str | None]) -> Markup:
    """Text as HTML, the changed tokens marked."""
    return coloured(
        modality, now, ["rgba(214, 39, 40, 0.35)" if new != old else "" for new, old in zip(now, before, strict=True)]
    )


def changed_words(before: str, after: str) -> Markup:
    """The words of a text as HTML, those marked that another text does not have in their place."""
    old, new = before.split(), after.split()
    same = {
        at
        for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
        for at in range(block.b, block.b + block.size)
    }
    marked = Markup('<span style="background:rgba(214, 39, 40, 0.35); border-radius:.2em;">{}</span>')
    return Markup(" ").join(escape(word) if at in same else marked.format(word) for at, word in enumerate(new))


def coloured(modality: Modality, words: Sequence[str | None], colours: Sequence[str]) -> Markup:
    """Tokens as HTML, each before its colour; letters stand close, a blank is a dot, None is left
    out.
    """
    letters = bool(modality.tokens) and all(len(token) <= 1 for token in modality.tokens)
    span = Markup('<span style="padding:.15em .1em; border-radius:.2em;{}">{}</span>')  # escapes what it takes
    spans = [
        span.format(f" background:{colour};" if colour else "", word.strip() or "·")
        for word, colour in zip(words, colours, strict=True)
        if word is not None
    ]
    line = Markup('<div style="font-size:1.35rem; font-family:monospace; line-height:2;">{}</div>')
    return line.format(Markup("" if letters else " ").join(spans))


def weight_colours(weights: Tensor) -> list[str]:
    """Red for values that count against failing, blue for the opposite, scaled by the largest
    weight.
    """
    most = max(float(weights.abs().max()), 1e-12)
    return [f"rgba({'178, 24, 43' if w > 0 else '33, 102, 172'}, {abs(w) / most * 0.7:.2f})" for w in weights.tolist()]


def _plain(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.detach().float().numpy()
    return array
