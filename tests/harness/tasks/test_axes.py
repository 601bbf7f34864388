"""The axes of each kind: shapes that do not fit are refused, and others are processed
along the right axis.
"""

import pytest
import torch
from torch import Tensor

from attacks.edits import EDITS
from attacks.errors import BadInput
from attacks.names import EDIT_EXAMPLES
from attacks.randomness import keyed_generator
from attacks.scenario import parse as parse_scenario
from harness.engine.plan import checked
from harness.models.encoders import channels_first, encoder, tokenizer
from harness.references.registry import names, resolve
from harness.schedules import parse
from harness.tasks import Modality, Task
from harness.tasks.axes import AXES, channels_last

KINDS = ("image", "video", "audio", "text", "features")
FITTING = {
    "image": [
        (3, 32, 32),
        (1, 28, 28),
        (12, 16),
        (3, 8, 3),
        (4, 4, 4),
        (1, 64, 100),
        (13, 64, 64),
        (200, 16, 24),
        (2, 40, 3),
        (64, 4, 4),
    ],
    "video": [(3, 6, 12, 12), (1, 2, 16, 8), (3, 3, 9, 9), (8, 6, 12, 12)],
    "audio": [(600,), (1,), (1, 600), (2, 600), (8, 600)],
    "text": [(5, 7), (1, 2)],
    "features": [(4,), (600, 1), (16, 16, 3), (2, 3, 4, 5)],
}
FOREIGN = {
    "image": [
        (12,),
        (32, 32, 3),
        (28, 28, 1),
        (48, 64, 4),
        (16, 24, 2),
        (64, 64, 13),
        (32, 32, 200),
        (8, 3, 32, 32),
        (),
    ],
    "video": [
        (6, 3, 12, 12),
        (4, 3, 12, 12),
        (16, 12, 12, 3),
        (3, 12, 12, 3),
        (4, 12, 12, 3),
        (6, 12, 12),
        (3, 6, 12),
        (2, 3, 6, 12, 12),
        (),
    ],
    "audio": [(600, 1), (600, 2), (1, 1, 600), ()],
    "text": [(5,), (2, 5, 7), ()],
}


def made(kind: str, *shape: int) -> Task:
    x = torch.rand(12, *shape, generator=torch.Generator().manual_seed(0))
    if kind == "text":
        x = torch.nn.functional.one_hot(x.argmax(-1), shape[-1]).float()
    return Task.from_arrays({"x": x}, torch.arange(12) % 2, kinds={"x": kind}, ranges={"x": (0, 1)})


@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind, shapes in FITTING.items() for shape in shapes])
def test_a_fitting_shape_is_taken(kind: str, shape: tuple[int, ...]) -> None:
    assert Modality("x", shape, kind).shape == shape  # type: ignore[arg-type]
    assert not (kind == "image" and channels_last(shape))


@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind, shapes in FOREIGN.items() for shape in shapes])
def test_another_shape_is_refused_with_the_mend(kind: str, shape: tuple[int, ...]) -> None:
    mends = r"x\.permute\(|give \(C, H, W\)|give \(C, T, H, W\)|give waveforms \(T,\)|give one-hot rows"
    with pytest.raises(BadInput, match=rf"'x' has shape \(.*({mends})"):
        Modality("x", shape, kind)  # type: ignore[arg-type]


def test_every_kind_has_its_layouts_tested() -> None:
    corrupted = {name.partition("/")[0] for name in names("corruption")}
    assert corrupted == set(KINDS) and set(FITTING) == set(KINDS) and set(FOREIGN) == set(AXES)


def corrupted(name: str, x: Tensor, severity: int = 3) -> Tensor:
    kind = name.partition("/")[0]
    modality = Modality("x", tuple(x.shape), kind, 0.0, 1.0, 0.5 if kind != "text" else torch.eye(x.shape[-1])[0])  # type: ignore[arg-type]
    result: Tensor = resolve("corruption", name).target(x.clone(), severity, modality, keyed_generator(0))  # type: ignore[operator]
    return result


IMAGE = [name for name in names("corruption") if name.startswith("image/")]
SPATIAL = ("image/blur", "image/occlusion", "image/contrast", "image/quantisation")


@pytest.mark.parametrize("name", IMAGE)
def test_grey_images_are_one_channel(name: str) -> None:
    x = torch.rand(12, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(corrupted(name, x), corrupted(name, x[None])[0])


@pytest.mark.parametrize("name", SPATIAL)
def test_no_colour_runs_into_another(name: str) -> None:
    plain = torch.tensor([200.0, 0.0, 20.0])[:, None, None].expand(3, 9, 16) / 255
    result = corrupted(name, plain)
    grey = (result == 0.5).all(0)  # the occluded part
    expected = corrupted("image/quantisation", plain) if name == "image/quantisation" else plain
    assert torch.allclose(result[:, ~grey], expected[:, ~grey], atol=1e-6)


AUDIO = [name for name in names("corruption") if name.startswith("audio/")]


@pytest.mark.parametrize("name", AUDIO)
def test_a_sound_is_changed_along_time(name: str) -> None:
    assert corrupted(name, torch.rand(600, generator=torch.Generator().manual_seed(0))).shape == (600,)


@pytest.mark.parametrize("name", AUDIO)
def test_channels_of_a_sound_are_changed_at_the_same_times(name: str) -> None:
    x = torch.rand(600, generator=torch.Generator().manual_seed(0)) - 0.5
    result = corrupted(name, torch.stack([x, x]))
    assert result.shape == (2, 600)
    if name != "audio/noise":
        assert torch.equal(result[0], result[1]) and torch.allclose(result[0], corrupted(name, x), atol=1e-6)
    late = corrupted(name, torch.stack([x, torch.zeros(600)]))
    assert name in ("audio/noise", "audio/dropout", "audio/shift") or not bool(late[1].any())


def test_a_gap_in_a_sound_is_one_time_in_every_channel() -> None:
    hole = holes("audio", 2, 600)
    assert torch.equal(hole[0], hole[1]) and int(hole[0].sum()) == 300
    assert int(hole[0].int().diff().abs().sum()) <= 2


def holes(kind: str, *shape: int) -> Tensor:
    task = made(kind, *shape)
    batch = task.splits["test"]
    gapped, _ = parse("gap:0.5", task.names).applied(task, batch, 0.5, 0, 0)  # type: ignore[union-attr]
    return gapped["x"][0] != batch.inputs["x"][0]


@pytest.mark.parametrize(("kind", "shape"), [("audio", (600,)), ("text", (8, 30)), ("features", (8, 3))])
def test_a_gap_is_a_run_along_the_first_axis(kind: str, shape: tuple[int, ...]) -> None:
    hole = holes(kind, *shape).reshape(shape[0], -1).any(1).int()
    changes = int(hole.diff().abs().sum())
    assert 0 < changes <= (2 if kind != "text" else 8)


@pytest.mark.parametrize("shape", [(3, 10, 12), (10, 12)])
def test_a_gap_in_an_image_is_a_block_in_every_channel(shape: tuple[int, ...]) -> None:
    hole = holes("image", *shape).reshape(-1, 10, 12)
    assert torch.equal(hole, hole[:1].expand_as(hole))
    rows, columns = hole[0].any(1), hole[0].any(0)
    box = rows[:, None] & columns
    assert not bool((hole[0] & ~box).any()) and int(hole[0].sum()) > 0.8 * int(box.sum()), (
        "a block, whose last row may be cut"
    )
    assert int(rows.int().diff().abs().sum()) <= 2 and int(columns.int().diff().abs().sum()) <= 2


FITS = {"patch": "image or video", "universal": "image or video", "dead": "image", "air": "audio", "shift": "audio"}
SAMPLE = {"image": (3, 8, 8), "video": (3, 4, 8, 8), "audio": (600,), "text": (5, 7), "features": (6, 4)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_refused_where_it_makes_no_sense(name: str, kind: str) -> None:
    task, scenario = made(kind, *SAMPLE[kind]), f"x@{name}:{EDIT_EXAMPLES[name]}"
    if kind in FITS.get(name, kind).split(" or ") or kind == "features":
        assert checked(scenario, task) == parse_scenario(scenario)
        return
    with pytest.raises(
        BadInput, match=f"modality 'x' is of kind {kind}, but '{name}' edits {FITS[name]}: attack it in a norm"
    ):
        checked(scenario, task)


def test_the_default_attack_is_refused_where_it_makes_no_sense() -> None:
    task = Task.from_arrays(
        {"x": torch.zeros(10, 5, 7)}, torch.arange(10) % 2, kinds={"x": "text"}, balls={"x": "patch:0.1"}
    )
    with pytest.raises(BadInput, match="is of kind text, but 'patch' edits image or video"):
        task.scenarios()


@pytest.mark.parametrize(
    ("kind", "shape"),
    [*SAMPLE.items(), ("image", (8, 8)), ("audio", (2, 600))],
)
def test_encoders_read_every_fitting_shape(kind: str, shape: tuple[int, ...]) -> None:
    modality = made(kind, *shape).modality("x")
    x = torch.rand(2, *shape)
    assert (
        encoder(modality, 5)(x).shape == (2, 5)
        and tokenizer(modality, 5)(x).shape[2] == 5
        and len(channels_first(modality)(x)) == 2
    )


LAST = [(32, 48, 13), (48, 64, 5), (4, 100, 3), (4, 4, 3), (64, 64, 13), (32, 48, 3), (2, 2, 1)]
FIRST = [(13, 32, 48), (5, 48, 64), (3, 4, 100), (3, 4, 4), (1, 8, 8), (3, 8, 3), (1, 1, 1), (32, 48)]


@pytest.mark.parametrize("shape", LAST)
def test_channels_behind_the_sides_are_refused_whatever_their_number(shape: tuple[int, ...]) -> None:
    x, y = torch.zeros(20, *shape), torch.arange(20) % 2
    with pytest.raises(
        BadInput,
        match=r"looks like .H, W, C.*move the channels first.*if this shape is right, declare its kind as features",
    ):
        Task.from_arrays({"x": x}, y, kinds={"x": "image"})
    Task.from_arrays({"x": x}, y)
    Task.from_arrays({"x": x.permute(0, 3, 1, 2)}, y, kinds={"x": "image"})


@pytest.mark.parametrize("shape", FIRST)
def test_channels_before_the_sides_are_taken(shape: tuple[int, ...]) -> None:
    task = Task.from_arrays({"x": torch.zeros(20, *shape)}, torch.arange(20) % 2, kinds={"x": "image"})
    assert (task.modality("x").kind, task.modality("x").shape) == ("image", shape)


@pytest.mark.parametrize("padded", [False, True])
def test_one_hot_text_has_its_vocabulary_last(padded: bool) -> None:
    text = torch.nn.functional.one_hot(torch.arange(200).reshape(20, 10) % 7, 30).float()
    if padded:
        text[:, 8:] = 0
    y = torch.arange(20) % 2
    with pytest.raises(
        BadInput, match=r"'t' is one-hot along its first axis, \(30, 10\) per sample.*x.transpose\(1, 2\)"
    ):
        Task.from_arrays({"t": text.transpose(1, 2)}, y, kinds={"t": "text"})
    Task.from_arrays({"t": text}, y, kinds={"t": "text"})
