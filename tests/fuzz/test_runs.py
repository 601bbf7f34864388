"""Runs from anywhere: whatever their files hold, readers show it or refuse it in one sentence."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from app.runs import looked_at
from app.tensors import read
from harness.analysis.curves import Point, corruption_curves, missing_curves, robust_curves, strength_grid
from harness.analysis.summary import measures_of, summarise
from harness.commands.verify import recheck
from harness.gates.baseline import evidence_at, frozen
from harness.gates.compare import compare
from harness.gates.decide import decide
from harness.gates.evidence import Evidence
from harness.gates.file import gate_of
from harness.reporting.report import as_markdown, render
from harness.run.description import described
from harness.run.schema import SCHEMAS
from harness.storage.parquet import encoded
from tests.fuzz.cases import fuzzed, result_or_refusal
from tests.rows import BOTH, IMAGE, Outcomes, description, held, make_run

HERE = Path(tempfile.mkdtemp())
SMALL = make_run(
    HERE / "small",
    {
        "m": Outcomes(
            [1.0, 0.5, 0.0],
            {IMAGE: [1.0, math.inf, 0.0]},
            {("mcar", 0.0): [1.0, 0.5, 0.0], ("mcar", 1.0): [0.0, 0.5, 0.0]},
        )
    },
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda each: st.one_of(st.lists(each, max_size=3), st.dictionaries(st.text(max_size=5), each, max_size=3)),
    max_leaves=6,
)
FLAGS = st.fixed_dictionaries(
    {"raised": st.booleans(), "value": st.floats(), "why": st.text(max_size=5)}, optional={"more": JSON}
)
ALMOST = st.fixed_dictionaries(
    {"m": st.fixed_dictionaries({IMAGE: st.one_of(JSON, st.fixed_dictionaries({"random": FLAGS}))})}
)
TRUST = st.one_of(JSON, ALMOST).map(lambda value: json.dumps(value).encode())
WHOLE = description(["m"])
PATHS = (
    [(key,) for key in WHOLE]
    + [("identity", key) for key in WHOLE["identity"]]
    + [("config", key) for key in WHOLE["config"]]
)
PATHS += [("identity", "config", key) for key in WHOLE["identity"]["config"]]


def changed(content: dict[str, Any], path: tuple[str, ...], value: Any, gone: bool) -> dict[str, Any]:
    """A description with something else, or nothing, in one place."""
    first, *rest = path
    if rest:
        return {**content, first: changed(content[first], tuple(rest), value, gone)}
    return {key: each for key, each in content.items() if key != first or not gone} | ({} if gone else {first: value})


@fuzzed(
    "descriptions of runs",
    path=st.sampled_from(PATHS),
    value=JSON,
    gone=st.booleans(),
    format_=st.sampled_from([1, 1, 1, 2, None]),
)
def test_any_description_is_read_or_refused(path: tuple[str, ...], value: Any, gone: bool, format_: Any) -> None:
    content = {"format": format_, **changed(WHOLE, path, value, gone)}
    (HERE / "small" / "run.json").write_text(json.dumps(content))
    run = looked_at(str(HERE / "small"), "small")
    described = result_or_refusal(SMALL.describe)
    assert (described is None) <= bool(run.problem)
    if described is not None:
        result_or_refusal(decide, [gate_of(model="m", min=0.5)], Evidence.of_run(SMALL))
    result_or_refusal(lambda: list(recheck(SMALL)))


@fuzzed("trust files", content=st.one_of(TRUST, st.binary(max_size=9), st.just(b"[" * 50_000)))
def test_any_trust_is_read_or_refused(content: bytes) -> None:
    (HERE / "small" / "trust.json").write_bytes(content)
    SMALL.note(described(WHOLE))
    evidence = result_or_refusal(Evidence.of_run, SMALL)
    if evidence is not None:
        result_or_refusal(decide, [gate_of(model="m", scenario=IMAGE, min=0.5)], evidence)


PART = next((HERE / "small" / "ledger").glob("*.parquet"))
SOUND = PART.read_bytes()


@fuzzed(
    "bytes of a table",
    cut=st.integers(0, len(SOUND)),
    put=st.one_of(st.binary(max_size=20), st.just(SOUND)),
    resumed=st.integers(0, len(SOUND)),
)
def test_any_bytes_are_a_table_or_refused(cut: int, put: bytes, resumed: int) -> None:
    PART.write_bytes(SOUND[:cut] + put + SOUND[resumed:])
    result_or_refusal(SMALL.table, "ledger")
    (HERE / "baseline").write_bytes(SOUND[:cut] + put + SOUND[resumed:])
    result_or_refusal(evidence_at, str(HERE / "baseline"))
    PART.write_bytes(SOUND)


HEADERS = st.dictionaries(
    st.text(max_size=4),
    st.one_of(
        JSON,
        st.fixed_dictionaries({"dtype": st.sampled_from(["F32", "I64", "X"]), "shape": JSON, "data_offsets": JSON}),
    ),
    max_size=3,
)


@fuzzed(
    "tensors of a file",
    header=st.one_of(HEADERS.map(json.dumps), st.text(max_size=20)),
    length=st.one_of(st.none(), st.integers(0, 2**63)),
)
def test_any_bytes_are_tensors_or_refused(header: str, length: int | None) -> None:
    content = header.encode(errors="replace")
    size = len(content) if length is None else length
    (HERE / "x.safetensors").write_bytes(size.to_bytes(8, "little") + content + bytes(64))
    result_or_refusal(read, SMALL.files, str(HERE / "x.safetensors"), lambda key: True)


SCORES = st.floats(0, 1)
STRENGTHS = st.one_of(st.floats(0, 8), st.just(math.inf), st.just(0.0))
ODD = st.one_of(st.none(), st.floats(), st.sampled_from([math.nan, -1.0, 2.0, math.inf]))
ODD_TEXTS = st.one_of(st.none(), st.text(max_size=6))
NUMBERS = {
    "samples": ("score",),
    "sweep": ("score", "level"),
    "ledger": ("strength", "limit", "clean_score", "score", "threshold"),
}
TEXTS = {
    "samples": ("model", "sample", "hash", "group"),
    "sweep": ("kind", "name", "present", "status", "model"),
    "ledger": ("scenario", "status", "model", "witness", "attacked"),
}
ODDITIES = st.one_of(
    *(st.tuples(st.just(table), st.sampled_from(names), ODD) for table, names in NUMBERS.items()),
    *(st.tuples(st.just(table), st.sampled_from(names), ODD_TEXTS) for table, names in TEXTS.items()),
)


@st.composite
def outcomes(draw: st.DrawFn, samples: int) -> Outcomes:
    """The outcomes of one model on this many samples."""
    many = st.lists(SCORES, min_size=samples, max_size=samples)
    strengths = st.lists(STRENGTHS, min_size=samples, max_size=samples)
    swept = {(name, level): draw(many) for name in ("mcar", "fixed(image)") for level in draw(LEVELS)}
    swept |= {("image@noise", level): draw(many) for level in draw(SEVERITIES)}
    return Outcomes(
        draw(many), {scenario: draw(strengths) for scenario in (IMAGE, BOTH)}, swept, draw(st.integers(0, samples))
    )


LEVELS = st.sets(st.sampled_from([0.0, 0.5, 1.0]), max_size=3).map(sorted)
SEVERITIES = st.sets(st.sampled_from([0.0, 1.0, 5.0]), max_size=3).map(sorted)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Outcomes]:
    """The outcomes of one to three models on the same samples."""
    samples = draw(st.integers(1, 8))
    names = draw(st.sets(st.sampled_from(["m", "late", "without-image", "<b>|`", "é\x1b"]), min_size=1, max_size=3))
    return {name: draw(outcomes(samples)) for name in sorted(names)}


MEDIANS, WORST = {"measure": "median critical strength"}, {"measure": "worst modality"}
GATES = st.sampled_from(
    [
        {"min": 0.5},
        {"max_drop": 0.1},
        {"scenario": IMAGE, "min": 0.5},
        {"scenario": IMAGE, "strength": 0.0, "max": 0.5},
        {**MEDIANS, "scenario": IMAGE, "min": 1.0},
        {**MEDIANS, "scenario": BOTH, "max_drop": 0.5},
        {**WORST, "min": 0.1},
        {**WORST, "strength": 1.0, "min": 0.1},
        {**WORST, "max_drop": 0.1},
        {"schedule": "mcar", "rate": 0.5, "min": 0.5},
        {"schedule": "mcar", "measure": "area", "max_drop": 0.1},
        {"corruption": "image@noise", "severity": 1, "max": 0.9},
        {"scenario": IMAGE, "measure": "gap to the oracle", "max": 0.5},
    ]
)


@fuzzed("tables of runs", models=runs(), gates=st.lists(GATES, min_size=1, max_size=3))
def test_any_tables_are_shown_and_decided(models: dict[str, Outcomes], gates: list[dict[str, Any]]) -> None:
    """A view never refuses valid rows. A gate may need a part that the run lacks."""
    shutil.rmtree(HERE / "run", ignore_errors=True)
    directory = make_run(HERE / "run", models)
    with patch("harness.analysis.bca.RESAMPLES", 20):  # the number is not under test
        assert summarise(directory).models == list(models)
        shown = re.sub(r"`[^`]*`", "", as_markdown(directory))
        assert "<b>" not in shown and "\x1b" not in shown
        evidence = Evidence.of_run(directory)
        (HERE / "frozen.parquet").write_bytes(frozen(evidence))
        again = evidence_at(str(HERE / "frozen.parquet"))
        compare(again, evidence)
        for model in models:
            result_or_refusal(decide, [gate_of(model=model, **gate) for gate in gates], evidence, again)


@fuzzed("rows that cannot be", oddity=ODDITIES)
def test_odd_rows_are_shown_or_refused(oddity: tuple[str, str, Any]) -> None:
    table, column, value = oddity
    parts = list((HERE / "small" / table).glob("*.parquet"))
    before = parts[0].read_bytes()
    rows = [{**row, column: value} if at == 0 else row for at, row in enumerate(SMALL.table(table).to_pylist())]
    parts[0].write_bytes(encoded(pa.Table.from_pylist(rows, SCHEMAS[table])))
    SMALL.note(described(WHOLE))
    SMALL.notes.write_trust({})
    try:
        with patch("harness.analysis.bca.RESAMPLES", 20):
            result_or_refusal(measures_of, SMALL)
        result_or_refusal(render, SMALL)
        evidence = result_or_refusal(Evidence.of_run, SMALL)
        if evidence is not None:
            result_or_refusal(
                decide, [gate_of(model="m", scenario=IMAGE, min=0.5), gate_of(model="m", min=0.5)], evidence
            )
    finally:
        parts[0].write_bytes(before)


@fuzzed("curves", models=runs())
def test_robust_curves_fall_and_every_interval_holds_its_score(models: dict[str, Outcomes]) -> None:
    tables = [held(name, each).tables for name, each in models.items()]
    ledger, sweep = (pa.concat_tables([table[name] for table in tables]) for name in ("ledger", "sweep"))
    grid = strength_grid(ledger)
    assert grid == sorted(grid) and all(math.isfinite(at) for at in grid)
    curves = robust_curves(ledger, grid)
    for points in curves.values():
        values = [point.share.value for point in points]
        assert values == sorted(values, reverse=True)
    for points in (*curves.values(), *missing_curves(sweep).values(), *corruption_curves(sweep).values()):
        assert all(_holds(point) for point in points)


def _holds(point: Point) -> bool:
    low, high = point.share.interval
    return 0 <= low <= point.share.value + 1e-12 and point.share.value - 1e-12 <= high <= 1


@fuzzed("gates on rows", outcome=st.integers(1, 40).flatmap(outcomes), gate=GATES, seed=st.integers(0, 9))
def test_verdicts_do_not_depend_on_the_order_of_rows(outcome: Outcomes, gate: dict[str, Any], seed: int) -> None:
    evidence, asked = held("m", outcome), [gate_of(model="m", **gate)]
    order = {name: np.random.default_rng(seed).permutation(len(table)) for name, table in evidence.tables.items()}
    mixed = Evidence(
        "run",
        evidence.description,
        {name: table.take(order[name]) for name, table in evidence.tables.items()},
        evidence.trust,
    )
    found = [result_or_refusal(decide, asked, each, evidence) for each in (evidence, mixed)]
    assert found[0] == found[1]
