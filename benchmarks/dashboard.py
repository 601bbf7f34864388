"""How long the dashboard takes to open a large run, and to answer a filter: every page, in seconds.

    python benchmarks/dashboard.py --rows 100000 --rows 5000000 --json dashboard.json

A made-up run of four models and ten scenarios, its samples as many as the rows of the ledger ask
for, with a sweep of five levels and every set of three modalities, in files as `evaluate` writes
them: a cell holds 64 samples of one model, or 1,024 in a run of more than a million rows. Opening:
nothing is remembered, the page's script runs from start to end, until all that it shows is made
(drawing in the browser comes on top, and, once per server, loading the data of the run's task for
the page of samples, which is told apart). Filtering: one control is moved to a value not asked for
before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import streamlit as st
from streamlit.testing.v1 import AppTest

import app
from app.queries import opened
from attacks.scenario import closure, parse
from harness.engine.frontier import RATIOS
from harness.engine.loading import load_task
from harness.run.directory import RunDirectory
from harness.run.schema import SCHEMAS

MAIN = Path(app.__file__).with_name("main.py")
MODELS = ("early", "concat", "mean", "late")
NAMES = ("image", "audio", "text")
RAYS = [parse(f"audio@linf:{0.005 * min(1, 1 / ratio):g} + image@linf:{1.6 * min(1, ratio):g}") for ratio in RATIOS]
SCENARIOS = [*RAYS, *(each for each in closure(RAYS) if len(each.attacked) == 1)][:10]
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8)
SETS = ("image", "audio", "text", "image+audio", "image+text", "audio+text", "image+audio+text")
LARGE, CELLS = 1_000_000, (64, 1_024)
OPENED, ANSWERED = 2.0, 0.5  # seconds that are wanted for 100,000 rows


def make(folder: Path, rows: int) -> int:
    """Write a run of so many rows of the ledger; how many it has."""
    samples = rows // (len(MODELS) * len(SCENARIOS))
    size = CELLS[rows > LARGE]
    random = np.random.RandomState(0)
    directory = RunDirectory(str(folder))
    config = {
        "task": "digits",
        "model": list(MODELS),
        "search": "standard",
        "attack": [],
        "seed": 0,
        "schedule": ["mcar:0,0.2,0.4,0.6,0.8"],
    }
    identity = {"config": config, "scenarios": [str(each) for each in SCENARIOS]}
    directory.note(
        {"run": "made-up", "status": "complete", "identity": identity, "config": config, "modalities": list(NAMES)}
    )
    for model in MODELS:
        for start in range(0, samples, size):
            _cell(
                folder,
                f"{model}-{start:07d}",
                model,
                [f"test-{number:06d}" for number in range(start, min(start + size, samples))],
                random,
            )
    return samples * len(MODELS) * len(SCENARIOS)


def _cell(folder: Path, key: str, model: str, names: list[str], random: np.random.RandomState) -> None:
    count = len(names)
    shared = {"run": "made-up", "task": "digits", "model": model, "status": "ok", "seed": 0, "limit": 8.0}
    target = random.randint(10, size=count).astype(float)
    clean = (random.random_sample(count) < 0.9).astype(float)
    samples = {
        "sample": names,
        "hash": names,
        "target": target,
        "group": ["g"] * count,
        "prediction": target,
        "score": clean,
    }
    _write(folder, "samples", key, shared, samples)
    strengths = [clean * random.lognormal(0.3, 0.8, count) for _ in SCENARIOS]
    _write(
        folder,
        "ledger",
        key,
        shared,
        {
            "sample": names * len(SCENARIOS),
            "scenario": np.repeat([str(each) for each in SCENARIOS], count),
            "attacked": np.repeat(["+".join(each.attacked_names) for each in SCENARIOS], count),
            "missing": [""] * count * len(SCENARIOS),
            "strength": np.concatenate([np.where(each > 8, np.inf, each) for each in strengths]),
            "clean_score": np.tile(clean, len(SCENARIOS)),
            "prediction": np.tile(target, len(SCENARIOS)),
            "finder": ["apgd"] * count * len(SCENARIOS),
            "gradients": [100] * count * len(SCENARIOS),
            "witness": [""] * count * len(SCENARIOS),
        },
    )
    conditions = [("mcar", level) for level in LEVELS] + [(f"fixed({each})", 1.0) for each in SETS]
    present = [
        random.choice(["111", "110", "101", "011"], count)
        if schedule == "mcar" and level
        else np.repeat(_bits(schedule), count)
        for schedule, level in conditions
    ]
    _write(
        folder,
        "sweep",
        key,
        shared,
        {
            "sample": names * len(conditions),
            "schedule": np.repeat([schedule for schedule, _ in conditions], count),
            "level": np.repeat([level for _, level in conditions], count),
            "repeat": [0] * count * len(conditions),
            "present": np.concatenate(present),
            "prediction": np.tile(target, len(conditions)),
            "score": np.concatenate([clean * (random.random_sample(count) > level / 2) for _, level in conditions]),
        },
    )


def _bits(schedule: str) -> str:
    absent = schedule.removeprefix("fixed(").removesuffix(")").split("+")
    return "".join("0" if name in absent else "1" for name in NAMES)


def _write(folder: Path, table: str, key: str, shared: dict[str, object], columns: dict[str, object]) -> None:
    schema, count = SCHEMAS[table], len(columns["sample"])  # type: ignore[arg-type]
    full = {name: columns[name] if name in columns else [shared[name]] * count for name in schema.names}
    (folder / table).mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({name: pa.array(values) for name, values in full.items()}).cast(schema),
        folder / table / f"{key}.parquet",
    )


def timed(action: Callable[[], AppTest]) -> float:
    """Seconds until a page is made.

    Raises:
        RuntimeError: it shows an error.
    """
    start = time.perf_counter()
    test = action()
    seconds = time.perf_counter() - start
    if test.exception or test.error:
        raise RuntimeError([each.value for each in (*test.exception, *test.error)])
    return seconds


FILTERS: dict[str, Callable[[AppTest], AppTest]] = {
    "overview": lambda test: test.text_input(key="find").set_value("late"),
    "worst": lambda test: test.selectbox(key="scenario").select_index(3),
    "average": lambda test: test.multiselect(key="models").set_value(["late"]),
    "samples": lambda test: test.selectbox(key="scenario").select_index(3),
    "compare": lambda test: test.slider(key="strength").set_value(0.5),
    "trust": lambda test: test,
}


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Seconds to open every page, and to filter it."""
    sys.argv = [str(MAIN), str(folder)]
    found = {}
    for page, moved in FILTERS.items():
        test = AppTest.from_file(MAIN, default_timeout=300)
        if page != "overview":
            test.run()
            test.switch_page(f"screens/{page}.py")
        st.cache_data.clear()
        opened.clear()
        found[page] = {"open": timed(test.run), "filter": timed(lambda moved=moved, test=test: moved(test).run())}  # type: ignore[misc]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append", help="of the ledger; may be repeated [100000, 5000000]")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results, start = {}, time.perf_counter()
    load_task("digits")
    print(f"loading the task's data {time.perf_counter() - start:.2f} s")
    for rows in arguments.rows or [100_000, 5_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            count = make(Path(folder) / "run", rows)
            measure(Path(folder))  # imports, and the files once through the system's cache
            results[count] = measure(Path(folder))
        for page, seconds in results[count].items():
            print(
                f"{count:>9,} rows, {page:<9} open {seconds['open']:.2f} s, filter {seconds['filter']:.2f} s",
                flush=True,
            )
        worst = {kind: max(seconds[kind] for seconds in results[count].values()) for kind in ("open", "filter")}
        ratios = {"open": worst["open"] / OPENED, "filter": worst["filter"] / ANSWERED}
        print(f"{count:>9,} rows, slowest over wanted: open {ratios['open']:.2f}, filter {ratios['filter']:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
