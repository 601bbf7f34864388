"""The wheel, installed alone, does the main job from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def called(python: Path | str, *words: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.run(
        [str(python), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel and, beside it, the dependencies that are
    installed here. A `.pth` file is not followed to another one, so this checkout is not seen.
    """
    folder = tmp_path_factory.mktemp("wheel")
    called(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT), folder=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "environment", with_pip=False, symlinks=True)
    (found,) = [*(folder / "environment").glob("bin/python"), *(folder / "environment").glob("Scripts/python.exe")]
    install = ("-m", "pip", "--python", str(found), "install", "-q", "--no-deps", "--no-index", str(wheel))
    called(sys.executable, *install, folder=folder)
    (site_of(found, folder) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return found


def site_of(python: Path, folder: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(called(python, "-c", code, folder=folder).strip())


def test_it_holds_licence_types_and_data(python: Path, tmp_path: Path) -> None:
    site = site_of(python, tmp_path)
    names = {path.name for path in site.rglob("*")}
    data = {"train.flac", "concat.safetensors", "report.html.j2", "trust.md"}
    assert {"LICENSE", "NOTICE", "py.typed"} | data <= names
    assert {path.name for path in site.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")} == {
        "attacks",
        "defenses",
        "harness",
        "app",
    }


def test_it_runs_the_main_job_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    site = str(site_of(python, tmp_path))
    code = "import harness, attacks; print(harness.__file__, attacks.__file__)"
    assert all(place.startswith(site) for place in called(python, "-c", code, folder=tmp_path).split())
    words = ["-m", "harness", "evaluate", "--samples", "4", "--search", "fast", "--model", "concat", "--out", "run"]
    printed = called(python, *words, folder=tmp_path)
    assert "robust score, strength 1" in printed and (tmp_path / "run" / "run.json").exists()
    called(python, "-m", "harness", "report", "run", folder=tmp_path)
    assert "<h2>Some samples" in (tmp_path / "run" / "report.html").read_text()


def test_it_explains_every_check(python: Path, tmp_path: Path) -> None:
    code = "from harness.trust.explained import explanations; print(*explanations())"
    assert {"batch", "budget", "unused"} <= set(called(python, "-c", code, folder=tmp_path).split())
