"""Reports show the stored answers: what is drawn and heard is what is stored."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import soundfile
import torch
from torch import Tensor

from harness.engine.answers import ATTACKED, TARGET, UNTOUCHED
from harness.reporting.answers import CHANGED, IGNORED, class_colour, difference, figure_of, shown_as
from harness.reporting.report import render
from harness.reporting.sample_gallery import drawings, shown_samples
from harness.run.description import AnswerForm
from harness.run.directory import RunDirectory
from harness.storage.tensorfile import from_bytes, to_bytes
from tests.harness.tasks.problems.drawn_runs import KINDS, kept

FORM = AnswerForm(kind="map", classes=["sky", "<b>road</b>", "car"], ignore=255)


def small() -> dict[str, Tensor]:
    """Two pixels of six change, one of them is ignored."""
    target = torch.tensor([[0, 1, 2], [255, 1, 0]], dtype=torch.uint8)
    untouched = torch.tensor([[0, 1, 2], [2, 1, 1]], dtype=torch.uint8)
    attacked = torch.tensor([[0, 2, 2], [1, 1, 1]], dtype=torch.uint8)
    return {TARGET: target, UNTOUCHED: untouched, ATTACKED: attacked}


def colours(trace: go.Heatmap) -> list[list[str]]:
    """The colour of each place of a map."""
    scale = [colour for _, colour in trace.colorscale[::2]]
    assert (trace.zmin, trace.zmax) == (-0.5, len(scale) - 0.5), "each number in the middle of its colour"
    return [[scale[value] for value in row] for row in trace.z.tolist()]


def test_a_map_has_the_colours_of_its_classes_and_grey_where_it_is_ignored() -> None:
    figure = figure_of(FORM, small())
    maps = [trace for trace in figure.data if isinstance(trace, go.Heatmap)]
    for trace, x in zip(maps, small().values(), strict=False):
        assert colours(trace) == [[IGNORED if v == 255 else class_colour(v) for v in row] for row in x.tolist()]
    legend = {trace.name: trace.marker.color for trace in figure.data if isinstance(trace, go.Scatter)}
    names = ["0 sky", "1 &lt;b&gt;road&lt;/b&gt;", "2 car"]
    assert legend == {**{name: class_colour(at) for at, name in enumerate(names)}, "ignored": IGNORED}
    assert [each.text for each in figure.layout.annotations][3] == "changed: 20 % of pixels"


def test_the_difference_counts_no_ignored_pixel() -> None:
    changed, share = difference(FORM, small())
    assert changed.tolist() == [[0, 1, 0], [2, 0, 0]] and share == 1 / 5
    last = [trace for trace in figure_of(FORM, small()).data if isinstance(trace, go.Heatmap)][-1]
    assert colours(last)[0][1] == CHANGED and colours(last)[1][0] == IGNORED


def test_without_a_successful_attack_there_is_no_difference() -> None:
    answers = {name: x for name, x in small().items() if name != ATTACKED}
    assert [each.text for each in figure_of(FORM, answers).layout.annotations] == ["target", "answer untouched"]


def test_colours_stand_apart() -> None:
    assert len({class_colour(place) for place in range(56)} | {IGNORED}) == 57


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_draws_what_is_stored(kind: str) -> None:
    """Without running the code that the run names."""
    directory = RunDirectory(str(kept(kind)))
    (first,) = shown_samples(directory)
    drawn = list(drawings(directory))
    (figure,) = [each.figure for each in drawn if each.figure]
    for trace, name in zip(figure.data[:: 2 if kind == "sounds" else 1], (TARGET, UNTOUCHED, ATTACKED), strict=False):
        x = first.answers[name]
        held = np.asarray(trace.y if kind == "sounds" else trace.z).reshape(x.shape)
        assert np.array_equal(np.where(held == 5, 255, held) if kind == "maps" else held, x.numpy()), name
    assert any("code that this run names" in each.note for each in drawn)
    assert first.row["threshold"] == directory.describe().threshold and "at threshold" in render(directory)


def test_a_sound_is_heard_as_it_is_stored() -> None:
    directory = RunDirectory(str(kept("sounds")))
    (first,) = shown_samples(directory)
    waves = re.findall(r"data:audio/wav;base64,([^\"]+)\"></audio><figcaption>([^<]+)", render(directory))
    assert [title for _, title in waves] == ["target", "answer untouched", "answer attacked"]
    full = max(float(x.abs().max()) for x in first.answers.values())
    for (wave, _), name in zip(waves, (TARGET, UNTOUCHED, ATTACKED), strict=True):
        heard, rate = soundfile.read(io.BytesIO(base64.b64decode(wave)), dtype="float32")
        assert rate == 8000 and np.abs(heard * full - first.answers[name].numpy()).max() < 1e-4


def test_the_table_of_classes_is_in_the_report() -> None:
    page, metrics = render(RunDirectory(str(kept("maps")))), RunDirectory(str(kept("maps"))).notes.metrics()
    value = next(m.value for m in metrics if m.metric == "iou car" and m.kind == "attacked" and m.level == 1)
    line = re.search(r"<tr><td>car</td>(.*?)</tr>", page)
    assert line and f"<td>{value:.3f}</td>" in line[1] and "<td>miou</td>" in page


OTHERWISE = {
    "gone": lambda _: None,
    "another axis": lambda x: x[None],
    "nothing": lambda x: x.flatten()[:0],
    "longer": lambda x: torch.cat([x, x]),
    "real": lambda x: x.float() + 0.5,
    "negative": lambda x: x.to(torch.int16) - 1000,
    "far beyond": lambda x: x.long() + 2**40,
    "yes or no": lambda x: x > 0,
    "complex": lambda x: x.to(torch.complex64),
    "not a number": lambda x: x * torch.nan,
}


@pytest.mark.parametrize("which", [UNTOUCHED, "answer"])
@pytest.mark.parametrize("change", OTHERWISE)
def test_answers_that_are_none_are_not_drawn(change: str, which: str, tmp_path: Path) -> None:
    """Whoever made the run may have made them, and earlier versions stored none."""
    run = Path(shutil.copytree(kept("maps"), tmp_path / "run"))
    for file in (run / "witnesses").iterdir():
        held = from_bytes(file.read_bytes())
        made = {key: OTHERWISE[change](x) if key.startswith(f"{which}|") else x for key, x in held.items()}
        file.write_bytes(to_bytes({key: x.clone() for key, x in made.items() if x is not None}))
    drawn = [each for each in drawings(RunDirectory(str(run))) if each.figure]
    assert bool(drawn) == (change == "gone" and which != UNTOUCHED)


@pytest.mark.parametrize("kind", ["map", "image", "sound", "of a later version"])
def test_tensors_of_another_kind_than_the_form_are_not_drawn(kind: str) -> None:
    sound, image = torch.randn(50), torch.rand(3, 4, 5)
    for x, fits in ((torch.zeros(4, 5).long(), "map"), (image, "image"), (sound, "sound"), (torch.rand(4, 5), "")):
        assert shown_as(AnswerForm(kind=kind), {UNTOUCHED: x}) == (kind if kind == fits else "")
    assert shown_as(None, {UNTOUCHED: sound}) == ""
