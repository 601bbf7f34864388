"""Small folders of images and questions in the layouts of published data sets."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, seed: int, size: tuple[int, int] = (48, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)


def blood(folder: Path) -> None:
    """Eight images; number n shows n red cells, a white one, and a platelet if n is odd."""
    root = folder / "BCCD"
    for name in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for split, numbers in {"train": range(4), "val": (4, 5), "test": (6, 7)}.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"Image_{number}\n" for number in numbers))
        for number in numbers:
            picture(root / "JPEGImages" / f"Image_{number}.jpg", number, (480, 640))
            names = ["RBC"] * number + ["WBC"] + ["Platelets"] * (number % 2)
            box = "<bndbox><xmin>64</xmin><ymin>48</ymin><xmax>128</xmax><ymax>144</ymax></bndbox>"
            objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in names)
            (root / "Annotations" / f"Image_{number}.xml").write_text(f"<annotation>{objects}</annotation>")


def grid(folder: Path, name: str, seed: int) -> None:
    """Grid features (4, 3, 3) of an image."""
    path = (folder / "features" / name).with_suffix(".npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.random.default_rng(seed).normal(size=(4, 3, 3)).astype(np.float32))


def tally_entries(count: int, *, test: bool) -> list[dict[str, object]]:
    """Questions in the layout of TallyQA; every third was written for it, every fifth of the others
    is not simple in test.
    """
    return [
        {
            "answer": number % 16,
            "data_source": "imported_genome" if number % 3 else "amt",
            "image": f"VG_100K_2/{number // 2 + 1000 * test}.jpg",
            "image_id": 92_000_000 + number,
            "question": f"How many things, of kind {number % 4}, are there?",
            "question_id": 30_000_000 + number + 1_000 * test,
            **({"issimple": number % 5 != 0} if test else {}),
        }
        for number in range(count)
    ]


def tally(folder: Path, *, grids: bool = False) -> None:
    """Eighty training questions about forty images, thirty of test about fifteen."""
    folder.mkdir(parents=True, exist_ok=True)
    for half, count in {"train": 80, "test": 30}.items():
        entries = tally_entries(count, test=half == "test")
        (folder / f"{half}.json").write_text(json.dumps(entries))
        for seed, name in enumerate(sorted({str(each["image"]) for each in entries})):
            (grid if grids else _photograph)(folder, name, seed)


def _photograph(folder: Path, name: str, seed: int) -> None:
    picture(folder / name, seed)


def howmany(folder: Path) -> None:
    """Six questions of train, three of dev and three of test, in VQA's files; the last of each has
    no count for an answer.
    """
    ids = {"train": {"vqa": list(range(6)), "visual_genome": [99]}, "dev": [10, 11, 12], "test": [20, 21, 22]}
    (folder / "HowMany-QA").mkdir(parents=True)
    (folder / "HowMany-QA" / "question_ids.json").write_text(json.dumps(ids))
    for part, numbers in {"train2014": range(7), "val2014": [10, 11, 12, 20, 21, 22, 23]}.items():
        questions, annotations = [], []
        for number in numbers:
            last = number in (5, 12, 22)
            answers = ["many"] * 10 if last else [str(number % 4)] * 6 + ["two"] * 2 + ["99"] + ["yes"]
            questions.append(
                {"question_id": number, "image_id": number, "question": f"How many dogs in picture {number}?"}
            )
            annotations.append(
                {
                    "question_id": number,
                    "image_id": number,
                    "answer_type": "number",
                    "answers": [{"answer": each} for each in answers],
                }
            )
            picture(folder / part / f"COCO_{part}_{number:012d}.jpg", number)
        (folder / f"v2_OpenEnded_mscoco_{part}_questions.json").write_text(json.dumps({"questions": questions}))
        (folder / f"v2_mscoco_{part}_annotations.json").write_text(json.dumps({"annotations": annotations}))


def vqav2(folder: Path) -> None:
    """Nine questions about three images in VQA's files; seven of ten people agree on an answer."""
    kinds = {"yes/no": ("no", "yes"), "number": ("2", "3"), "other": ("red", "dark blue")}
    questions, annotations = [], []
    for number in range(9):
        kind, image = list(kinds)[number % 3], 500 + number // 3
        answers = [kinds[kind][1]] * 3 + [kinds[kind][0]] * 7
        questions.append({"question_id": 10 + number, "image_id": image, "question": f"What is thing {number}?"})
        kind_of = {"question_type": "what is", "multiple_choice_answer": answers[-1], "answer_type": kind}
        people = [{"answer": each, "answer_confidence": "yes", "answer_id": 1} for each in answers]
        annotations.append({"question_id": 10 + number, "image_id": image, "answers": people, **kind_of})
        picture(folder / "val2014" / f"COCO_val2014_{image:012d}.jpg", image)
    (folder / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps({"questions": questions}))
    (folder / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": annotations}))


def pope(folder: Path) -> None:
    """Four questions in each file about two images, half of them with the answer yes."""
    for name, thing in {"random": "dog", "popular": "person", "adversarial": "fork"}.items():
        lines = []
        for number in range(4):
            image = f"COCO_val2014_{700 + number // 2:012d}.jpg"
            text = f"Is there a {thing if number % 2 else 'table'} in the image?"
            label = "no" if number % 2 else "yes"
            lines.append(json.dumps({"question_id": 1 + number, "image": image, "text": text, "label": label}))
            picture(folder / "val2014" / image, number // 2)
        (folder / f"coco_pope_{name}.json").write_text("\n".join(lines) + "\n")


def textvqa(folder: Path) -> None:
    """Five questions about the text in as many images."""
    entries = []
    for number in range(5):
        image = f"{number:016x}"
        words = {"question": f"what is on sign {number}?", "answers": ["stop"] * 6 + [f"Café {number}"] * 4}
        entries.append({"question_id": 34602 + number, "image_id": image, **words, "set_name": "val"})
        picture(folder / "train_images" / f"{image}.jpg", number)
    content = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1", "data": entries}
    (folder / "TextVQA_0.5.1_val.json").write_text(json.dumps(content))


def numbers(path: Path, values: np.ndarray) -> None:
    """Whole numbers of 8 or 16 bits as a grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def rgbd(folder: Path, classes: int = 40, count: int = 30, size: tuple[int, int] = (48, 64)) -> None:
    """Photographs with classes and depths: two thirds of them are training's."""
    lines = []
    for number in range(count):
        rng, names = np.random.default_rng(number), [f"{part}/{number:05d}.png" for part in ("rgb", "masks", "depth")]
        picture(folder / names[0], number, size)
        mask = rng.integers(0, classes, size, np.uint8)
        mask[0] = 255
        numbers(folder / names[1], mask)
        numbers(folder / names[2], rng.integers(0, 2**16, size, np.uint16))
        lines.append("\t".join(names))
    (folder / "train.txt").write_text("\n".join(lines[: 2 * count // 3]) + "\n")
    (folder / "val.txt").write_text("\n".join(lines[2 * count // 3 :]) + "\n")


def nyu(folder: Path) -> None:
    """NYUDv2, whose photographs are as large as their classes here."""
    rgbd(folder)


def sun(folder: Path) -> None:
    """SUN RGB-D."""
    rgbd(folder, 37)


DEEP = ("depth_euclidean", "depth_zbuffer", "edge_texture", "edge_occlusion")
COLOURED = ("rgb", "normal", "principal_curvature", "segment_unsup2d", "segment_unsup25d")


def views(folder: Path, points: int = 30) -> None:
    """Taskonomy: two views of every point in all domains, 20 points of them in the list of
    training.
    """
    names = [f"point_{point}_view_{view}" for point in range(points) for view in (0, 3)]
    for seed, name in enumerate(names):
        for domain in COLOURED:
            picture(folder / domain / f"{name}_domain_{domain}.png", seed, (32, 32))
        for domain in DEEP:
            values = np.random.default_rng(seed).integers(0, 11_000, (32, 32), np.uint16)
            numbers(folder / domain / f"{name}_domain_{domain}.png", values)
        grey = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
        numbers(folder / "reshading" / f"{name}_domain_reshading.png", grey)
    for half, chosen in {"train": names[:40], "val": names[40:]}.items():
        (folder / f"{half}_domain.txt").write_text(
            "".join(f"{{domain}}/{name}_domain_{{domain}}.png\n" for name in chosen)
        )


WRITERS: dict[str, Callable[[Path], None]] = {
    "tallyqa": tally,
    "howmany-qa": howmany,
    "nyudv2": nyu,
    "sun-rgbd": sun,
    "taskonomy": views,
    "vqav2": vqav2,
    "pope": pope,
    "textvqa": textvqa,
}
