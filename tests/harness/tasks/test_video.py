"""Videos (C, T, H, W): every generic model reads them; a run attacks, drops and explains them."""

from pathlib import Path

import pytest
import torch

from attacks.errors import BadInput
from harness.models.contrastive.augmentations import augmentation
from harness.models.fusion import early, late, mbt, mmtm, perceiver
from harness.reporting import images
from harness.run.directory import RunDirectory
from harness.tasks import Modality
from tests.commandline import run
from tests.harness.tasks.clips import clips


@pytest.mark.parametrize("build", [early.early, late.late, mmtm.mmtm, mbt.mbt, perceiver.perceiver])
def test_generic_models_read_videos(build) -> None:  # type: ignore[no-untyped-def]
    task = clips()
    inputs = {name: x[:2].clone().requires_grad_() for name, x in task.splits["test"].inputs.items()}
    present = torch.ones(2, 2, dtype=torch.bool)
    outputs = build(task).eval()(inputs, present)
    assert outputs.shape == (2, 4)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), inputs["clip"])
    assert bool((gradient.flatten(3).abs().sum((1, 3)) > 0).all()), "every frame matters"


def test_a_view_crops_all_frames_alike() -> None:
    torch.manual_seed(0)
    task = clips()
    still = task.splits["test"].inputs["clip"][:4, :, :1].expand(-1, -1, 6, -1, -1)
    seen = augmentation(task.modality("clip"))(still)
    assert torch.allclose(seen, seen[:, :, :1].expand_as(seen), atol=1e-6) and not torch.equal(seen, still)


def test_a_video_is_drawn_as_frames_in_two_rows() -> None:
    task = clips()
    clip = task.splits["test"].inputs["clip"][0]
    drawn = images.frames(clip)
    assert drawn.shape == (3, 24, 36)
    assert torch.equal(drawn[:, :12, :12], clip[:, 0]) and torch.equal(drawn[:, 12:, 24:], clip[:, 5])
    figure = images.combine_single_modality(task.modality("clip"), clip, clip.flip(1), 4.0)
    assert [trace.type for trace in figure.data] == ["image"] * 3


def test_another_number_of_axes_is_refused() -> None:
    with pytest.raises(BadInput, match=r"video has 4 axes per sample, .* give \(C, T, H, W\)"):
        Modality("clip", (6, 12, 12), "video")


MODEL = """
from tests.harness.tasks.clips import clips
def build(task):
    import torch
    from harness.models.fusion.early import early
    torch.manual_seed(0)
    return early(task).eval()
"""


def test_a_run_attacks_drops_and_explains_a_video(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "my.py").write_text(MODEL)
    asked = ("--scenario", "clip@linf:0.1", "--schedule", "gap:0,0.5", "--samples", "4", "--attributions", "1")
    options = ("evaluate", "--task", "my.py:clips", "--model", "my.py:build", "--search", "fast", "--no-trust")
    assert run(monkeypatch, *options, *asked, "--witnesses", "all", "--out", "run") == 0
    assert run(monkeypatch, "verify", "run", "--code", "my.py") == 0
    assert run(monkeypatch, "report", "run", "--html", "report.html") == 0
    assert len(RunDirectory("run").table("attributions"))


def test_what_fits_images_alone_is_refused(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "my.py").write_text(MODEL)
    options = ("evaluate", "--task", "my.py:clips", "--model", "my.py:build", "--samples", "4", "--out", "run")
    for asked in (("--scenario", "clip@dead:1"), ("--corruption", "clip@blur:1")):
        assert run(monkeypatch, *options, *asked) == 2
        assert "clip" in capsys.readouterr().err
