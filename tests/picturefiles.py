"""Small folders of pictures and questions in the layouts of published data sets."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, seed: int, size: tuple[int, int] = (48, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)


def blood(folder: Path) -> None:
    """Eight photographs; number n shows n red cells, a white one, and a platelet if n is odd."""
    root = folder / "BCCD"
    for name in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for split, numbers in {"train": range(4), "val": (4, 5), "test": (6, 7)}.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"Image_{number}\n" for number in numbers))
        for number in numbers:
            picture(root / "JPEGImages" / f"Image_{number}.jpg", number)
            names = ["RBC"] * number + ["WBC"] + ["Platelets"] * (number % 2)
            objects = "".join(f"<object><name>{name}</name></object>" for name in names)
            (root / "Annotations" / f"Image_{number}.xml").write_text(f"<annotation>{objects}</annotation>")
