"""The wheel alone does the main job, from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


def called(*words: str, folder: Path, **environment: str) -> str:
    answer = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    called("-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT), folder=folder)
    (wheel,) = folder.glob("*.whl")
    ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_it_holds_licence_types_and_data(unpacked: Path) -> None:
    names = {path.name for path in unpacked.rglob("*")}
    assert {"LICENSE", "NOTICE", "py.typed", "train.flac", "concat.safetensors", "report.html.j2", "trust.md"} <= names
    assert {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")} == {
        "attacks",
        "defenses",
        "harness",
        "app",
    }


def test_it_runs_the_main_job_from_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    code = "import harness, attacks; print(harness.__file__, attacks.__file__)"
    assert all(
        place.startswith(str(unpacked))
        for place in called("-c", code, folder=tmp_path, PYTHONPATH=str(unpacked)).split()
    )
    words = ["-m", "harness", "evaluate", "--samples", "4", "--search", "fast", "--model", "concat", "--out", "run"]
    printed = called(*words, folder=tmp_path, PYTHONPATH=str(unpacked))
    assert "robust score, strength 1" in printed and (tmp_path / "run" / "run.json").exists()
    called("-m", "harness", "report", "run", folder=tmp_path, PYTHONPATH=str(unpacked))
    assert "<h2>Some samples" in (tmp_path / "run" / "report.html").read_text()
