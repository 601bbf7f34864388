"""MSR-Action3D in its published layout, made small; and films of skeletons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attacks.errors import BadInput
from harness.engine.loading import load_task
from harness.tasks.datasets.action.gestures import REST
from harness.tasks.datasets.action.msr_action3d import read_sequence
from harness.tasks.datasets.action.skeletons import NAMES, filmed, stretched
from harness.tasks.files.dataroot import NoData, use

THEIRS = (7, 4, 3, 20, 1, 8, 10, 12, 2, 9, 11, 13, 5, 14, 16, 18, 6, 15, 17, 19)


def write(path: Path, frames: int, *, empty: int = 0) -> None:
    """A standing person whose right hand rises; joints in the order of the data set."""
    rows = []
    for frame in range(frames):
        body = REST + np.array([0, 0, 2.5])
        body[NAMES.index("right hand"), 1] += 0.1 * frame
        theirs = np.zeros((20, 4))
        theirs[np.array(THEIRS) - 1] = np.concatenate([body, np.ones((20, 1))], 1)
        rows += [theirs]
    rows += [np.zeros((20, 4))] * empty
    path.write_text("\n".join(" ".join(f"{x:.6f}" for x in row) for frame in rows for row in frame) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "msr-action3d"
    folder.mkdir()
    for subject in range(1, 11):
        for action in (1, 20):
            write(folder / f"a{action:02d}_s{subject:02d}_e01_skeleton3D.txt", 5 + subject)
    use(str(tmp_path))
    return folder


def test_subjects_are_on_the_sides_of_the_protocol(root: Path) -> None:
    task = load_task("msr-action3d")
    sides = {split: sorted(set(batch.groups)) for split, batch in task.splits.items()}
    assert sides["val"] == ["subject 9"] and sides["train"] == [f"subject {each}" for each in (1, 3, 5, 7)]
    assert [len(task.splits[split]) for split in ("train", "val", "test")] == [8, 2, 10]
    assert task.splits["test"].targets.unique().tolist() == [0, 19]


def test_joints_are_in_our_order_and_frames_without_a_body_left_out(tmp_path: Path) -> None:
    write(tmp_path / "x.txt", 4, empty=3)
    body = read_sequence(tmp_path / "x.txt")
    assert body.shape == (4, 20, 3)
    np.testing.assert_allclose(body[0], REST + np.array([0, 0, 2.5]), atol=1e-6)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "has 0 lines"),
        ("1 2 3\n" * 20, "the first is '1 2 3'"),
        ("1 2 3 1\n" * 19, "has 19 lines"),
        ("1 2 x 1\n" * 20, "the first is '1 2 x 1'"),
        ("1 2 nan 1\n" * 20, "the first is '1 2 nan 1'"),
    ],
)
def test_a_damaged_sequence_is_refused(root: Path, content: str, why: str) -> None:
    (root / "a03_s01_e01_skeleton3D.txt").write_text(content)
    with pytest.raises(BadInput, match=rf"a03_s01_e01_skeleton3D\.txt.*{why}"):
        load_task("msr-action3d")


def test_a_sequence_without_a_skeleton_is_left_out_and_counted(root: Path) -> None:
    (root / "a03_s01_e01_skeleton3D.txt").write_text("0 0 0 0\n" * 20)
    task = load_task("msr-action3d")
    assert len(task.splits["train"]) == 8 and "1 sequences without a skeleton are left out" in task.notes


def test_a_folder_without_sequences_names_the_mend(tmp_path: Path) -> None:
    (tmp_path / "msr-action3d").mkdir()
    use(str(tmp_path))
    with pytest.raises(NoData, match=r"holds no file such as a01_s01_e01_skeleton3D\.txt.*download msr-action3d"):
        load_task("msr-action3d")


def test_a_sequence_is_stretched_between_its_ends() -> None:
    np.testing.assert_allclose(stretched(np.array([0.0, 1.0, 4.0]), 5), [0, 0.5, 1, 2.5, 4])
    np.testing.assert_allclose(stretched(np.array([3.0]), 3), [3, 3, 3])


def test_the_camera_beside_the_person_does_not_see_a_hand_move_sideways() -> None:
    still, moved = (np.broadcast_to(REST, (1, 1, 20, 3)).copy() for _ in range(2))
    moved[..., NAMES.index("right hand"), 0] -= 0.2
    nothing = np.zeros(1, bool)
    for turn, differs in ((0.0, True), (np.pi / 2, False)):
        films = [filmed(each, np.array([turn]), np.zeros(1), nothing) for each in (still, moved)]
        assert (np.abs(films[0] - films[1]).max() > 0.3) == differs


def test_only_the_film_shows_the_ball() -> None:
    body = np.broadcast_to(REST, (1, 1, 20, 3))
    with_ball, without = (filmed(body, np.zeros(1), np.zeros(1), np.array([held])) for held in (True, False))
    assert with_ball.max() == 1 and without.max() < 0.9
