"""Changes that a run may suffer: by a hostile person, a failing disk, another version."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.storage.parquet import decoded, encoded
from tests.fuzz.tensor_mutations import tensors

Mutation = Callable[[random.Random, Path], None]


TEXTS = [
    "",
    "x",
    "a|b",
    "a/b",
    "../x",
    "'",
    '"',
    "a\nb",
    "\0",
    "\ud800",
    "💥",
    "x" * 5000,
    "mine.py:other",
    "os:system",
    "nan",
    "a@linf:0.5",
    "clean",
    "[/]",
    "-",
]


NUMBERS = [0, 1, -1, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 5e-324, math.nan, math.inf, -math.inf, True, False]


DEEP = 1500


MARK = "here a value stands that JSON can hold and Python's writer cannot"


def anything(draw: random.Random, depth: int = 0) -> Any:
    """A JSON value of any type."""
    kind = draw.randrange(8)
    if kind == 0 or depth > 3:
        return None
    if kind < 3:
        return draw.choice(TEXTS)
    if kind < 5:
        return draw.choice(NUMBERS)
    if kind == 5:
        return [anything(draw, depth + 1) for _ in range(draw.randrange(3))]
    if kind == 6:
        return {draw.choice(TEXTS): anything(draw, depth + 1) for _ in range(draw.randrange(3))}
    return MARK


def changed(draw: random.Random, value: Any) -> Any:
    """The same with one thing in it removed, renamed, doubled or replaced."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.1:
        return anything(draw)
    if isinstance(value, list):
        at = draw.randrange(len(value))
        return [*value[:at], *draw.choice([[], [value[at]] * 2, [changed(draw, value[at])]]), *value[at + 1 :]]
    key = draw.choice(list(value))
    other = draw.choice([*value, *TEXTS])
    made = [
        {k: v for k, v in value.items() if k != key},
        {**value, other: value[key]},
        *[{**value, key: changed(draw, value[key])}] * 4,
    ]
    return draw.choice(made)


def json_file(draw: random.Random, run: Path) -> None:
    file = run / draw.choice(["run.json", "run.json", "trust.json", "gates.json"])
    text = json.dumps(changed(draw, json.loads(file.read_text())), ensure_ascii=draw.random() < 0.5)
    odd = draw.choice(
        [
            "[" * 100_000,
            "{" * 3000,
            "9" * 5000,
            "[" * 300 + "]" * 300,
            '{"a": ' * 500 + "1" + "}" * 500,
            '{"a": 1, "a": 2}',
            "-",
        ]
    )
    file.write_bytes(text.replace(f'"{MARK}"', odd).encode(errors="surrogatepass"))


def settings(draw: random.Random, run: Path) -> None:
    """Something else in the configuration, in both places that hold it, or in one."""
    described = json.loads((run / "run.json").read_text())
    key = draw.choice(list(described["config"]))
    value = draw.choice(
        [
            anything(draw),
            draw.choice(TEXTS),
            draw.choice(NUMBERS),
            [draw.choice(TEXTS)],
            "mine.py:learns",
            "/",
            "http://127.0.0.1:1/x",
        ]
    )
    for place in draw.choice(
        [
            [described["config"]],
            [described["config"], described["identity"]["config"]],
            [described["identity"]["config"]],
        ]
    ):
        place[key] = value
    (run / "run.json").write_bytes(json.dumps(described).encode(errors="surrogatepass"))


def files_of(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.is_file() and not path.is_symlink())


def content(draw: random.Random, run: Path) -> None:
    """A file is cut off, emptied, overwritten, or gets the contents of another."""
    one, other = draw.choice(files_of(run)), draw.choice(files_of(run))
    held, at = one.read_bytes(), draw.random()
    cut = int(len(held) * at)
    noise = bytes(draw.randrange(256) for _ in range(20))
    one.write_bytes(
        draw.choice(
            [
                b"",
                held[:cut],
                held[cut:],
                held[:cut] + noise + held[cut + 20 :],
                held + noise,
                noise,
                other.read_bytes(),
            ]
        )
    )


def place(draw: random.Random, run: Path) -> None:
    """A file is gone, lies elsewhere, twice, or a folder, a link or a pipe stands in its place."""
    one = draw.choice(files_of(run))
    name = draw.choice(
        ["copy", "a|b", "é\n", "x.partial", "-failed.parquet", one.name, f"x-failed{one.suffix}", f"{one.stem}.PARQUET"]
    )
    other = (
        draw.choice([one.parent, run, run / "ledger", run / "witnesses", run / draw.choice(["errors", "new"])]) / name
    )
    other.parent.mkdir(exist_ok=True)
    held = one.read_bytes()
    what = draw.randrange(7)
    if what != 1:
        one.unlink(missing_ok=True)
    if what in (1, 2) and not other.is_dir():
        other.write_bytes(held)
    if what == 3:
        one.mkdir()
        (one / "below").write_bytes(held)
    if what == 4:
        one.symlink_to(draw.choice(["/etc/hostname", "run.json", one.name, "/", "../../run.json"]))
    if what == 5:
        os.mkfifo(one)


def folders(draw: random.Random, run: Path) -> None:
    """A folder that is a file, is gone, or is deeper than any path."""
    one = draw.choice([path for path in run.iterdir() if path.is_dir()])
    what = draw.randrange(4)
    if what < 2:
        subprocess.run(["rm", "-rf", one], check=True)
        if what:
            one.write_text("x")
    elif what == 2:
        one.rename(run / draw.choice(["x", "ledger.parquet", "a|b"]))
    else:
        deep("d" if draw.random() < 0.5 else "d" * 200, draw.choice([run, one]))


def deep(name: str, place: Path) -> None:
    """Folders in folders, until a path to the last is longer than the system takes."""
    at = os.open(place, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


ODD = [None, math.nan, math.inf, -math.inf, -1.0, 2.0, 1e308, 0.0, -1, 2**62, *TEXTS]


def parts_of(run: Path) -> list[Path]:
    return [
        file
        for name in ("samples", "sweep", "ledger", "attributions")
        for file in sorted((run / name).glob("*.parquet"))
    ]


def cells(draw: random.Random, run: Path) -> None:
    """Values of one column of a table are others, of its type where they fit; the checksum is
    right.
    """
    file = draw.choice(parts_of(run))
    table = decoded(file.read_bytes())
    name, value, every = draw.choice(table.column_names), draw.choice(ODD), draw.random() < 0.3
    values = [value if every or draw.random() < 0.3 else old for old in table.column(name).to_pylist()]
    field = table.schema.field(name)
    try:
        made = pa.array(values, field.type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        made = pa.nulls(len(table), field.type)
    file.write_bytes(encoded(table.set_column(table.column_names.index(name), field, made)))


def rows(draw: random.Random, run: Path) -> None:
    """Rows of a table are fewer, doubled or in another order, or its columns are others."""
    file = draw.choice(parts_of(run))
    table = decoded(file.read_bytes())
    column = draw.choice(table.column_names)
    choices = [
        lambda: table.slice(0, 0),
        lambda: table.slice(len(table) // 2),
        lambda: pa.concat_tables([table, table]),
        lambda: table.take(pa.array(draw.sample(range(len(table)), len(table)))),
        lambda: table.drop_columns([column]),
        lambda: table.append_column("more", pa.nulls(len(table))),
        lambda: table.set_column(0, column, pa.array([[1]] * len(table))),
        lambda: table.replace_schema_metadata({"x": "y"}),
        lambda: table.rename_columns([f"{name}x" if name == column else name for name in table.column_names]),
        lambda: decoded(draw.choice(parts_of(run)).read_bytes()),
    ]
    file.write_bytes(encoded(draw.choice(choices)()))


def named(draw: random.Random, run: Path) -> None:
    """A sample, model, task or scenario is called something else in every table."""
    column, value, old = (
        draw.choice(["sample", "model", "task", "scenario", "run", "modality"]),
        draw.choice(TEXTS[:-1]).replace("\ud800", "é"),
        None,
    )
    for file in parts_of(run):
        table = decoded(file.read_bytes())
        if column in table.column_names and len(table):
            old = old or table.column(column)[0].as_py()
            values = pa.array(
                [value if each == old else each for each in table.column(column).to_pylist()], pa.string()
            )
            file.write_bytes(encoded(table.set_column(table.column_names.index(column), column, values)))


MUTATIONS: tuple[Mutation, ...] = (
    json_file,
    json_file,
    settings,
    content,
    place,
    folders,
    cells,
    cells,
    rows,
    named,
    tensors,
    tensors,
)


def mutate(draw: random.Random, run: Path) -> str:
    """Make one or two changes to a run, and return their names."""
    done = []
    for _ in range(draw.choice([1, 1, 1, 2])):
        mutation = draw.choice(MUTATIONS)
        try:
            mutation(draw, run)
        except (
            OSError,
            ValueError,
            LookupError,
            RecursionError,
            pa.ArrowException,
            TypeError,
        ):  # the first has left nothing that the second could change
            if not done:
                raise
        done.append(mutation.__name__)
    return " and ".join(done)
