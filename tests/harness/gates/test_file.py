"""Gates files: every slip is one sentence that names it, and nothing a file can hold ends in a
traceback.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from attacks.errors import BadInput
from harness.gates.file import gate_of, read_gates
from harness.gates.needs import evaluation_for
from harness.storage.yamlfile import MAX_BYTES

SLIPS = {
    "gates: [{model: m, mn: 0.5}]": "gate 1: unknown key 'mn': did you mean min",
    "gates: [{model: m, min: 0.5}, {model: m}]": "gate 2: a gate has exactly one of min, max, max_drop and max_rise",
    "gates: [{model: m, min: 0.5, max: 0.6}]": "one of min, max, max_drop and max_rise, not min and max",
    "gates: [{min: 0.5}]": "gate 1, model: Field required",
    "gates: [{model: m, min: 60}]": "min = 60: score lies between 0 and 1",
    "gates: [{model: m, min: yes}]": "gate 1, min = True: Input should be a valid number",
    "gates: [{model: m, min: '0.5'}]": "gate 1, min = '0.5': Input should be a valid number",
    "gates: [{model: m, min: .nan}]": "finite",
    "gates: [{model: m, max_drop: -0.1}]": "greater than or equal to 0",
    "gates: [{model: m, max_drop: 0.1, min_effect: 0}]": "greater than 0",
    "gates: [{model: m, max_drop: 0.9, min_effect: 0.2}]": (
        "max_drop + min_effect = 1.1: score cannot drop by more than 1"
    ),
    "gates: [{model: m, min: 0.1, min_effect: 0.2}]": "min_effect needs max_drop or max_rise, not min",
    "gates: [{model: m, min: 0.5, scenario: 'image@l3:1'}]": "did you mean l2",
    "gates: [{model: m, min: 0.5, scenario: 'image@linf:1', schedule: mcar}]": "'robust score' takes scenario and",
    "gates: [{model: m, min: 0.5, schedule: mcar}]": (
        "measure 'score' takes nothing (the untouched input), schedule and rate"
    ),
    "gates: [{model: m, min: 0.5, schedule: mcar, rate: 1.5}]": "less than or equal to 1",
    "gates: [{model: m, min: 0.5, corruption: image@noise, severity: 2.5}]": "severity = 2.5",
    "gates: [{model: m, min: 0.5, measure: accuracy}]": "'score', 'robust score', 'median critical strength', 'area'",
    "gates: [{model: m, min: 0.5, measure: area}]": "measure 'area' takes schedule, without rate, not nothing",
    "gates: [m]": "gate 1: Input should be a valid dictionary",
    "gates: []": "at least 1 item",
    "gates: 5": "must hold a list",
    "": "must hold a list",
    "gates: [{model: m, min: 0.5}]\ninconclusive: maybe": "inconclusive = 'maybe'",
    "gates: [{model: m, min: 0.5}]\nbaseline: b": "unknown key 'baseline'",
    "gates: [": "is not YAML",
    "gates: [!!python/object/apply:os.system [ls]]": "is not YAML",
    "a: &a [1]\ngates: [*a]": "has an alias (*name): write it out",
    "gates: [{model: m, min: 0.9, min: 0.1}]": "key 'min' appears twice, again in line 1: write it once",
    "gates: [{model: m, min: !!int ''}]": "is not YAML",
    "gates: " + "[" * 50_000: "nested more than 8 deep",
    "gates: [{model: m, min: 0.5}] #" + "x" * MAX_BYTES: f"larger than {MAX_BYTES} bytes",
}


@pytest.mark.parametrize("text", SLIPS, ids=lambda text: text[:60])
def test_a_slip_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "gates.yaml").write_text(text)
    with pytest.raises(BadInput) as error:
        read_gates(str(tmp_path / "gates.yaml"))
    assert SLIPS[text] in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 1000


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for place in ("nowhere", "bytes", "."):
        with pytest.raises(BadInput, match=r"cannot be read|is not YAML"):
            read_gates(str(tmp_path / place))
    with pytest.raises(BadInput, match="cannot be read"):
        read_gates("nowhere://gates.yaml")


def test_lines_and_texts(tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text(
        "# limits\ngates:\n  - {model: m, min: 0.5}\n\n  - model: m\n    scenario: text@missing + image@linf:8/255\n   "
        " max_drop: 0.02\n"
    )
    file = read_gates(str(tmp_path / "gates.yaml"))
    assert file.lines == (3, 5) and file.inconclusive == 4
    assert [str(gate) for gate in file.gates] == [
        "m: score ≥ 0.5",
        "m, image@linf:8/255 + text@missing: robust score at strength 1 drops by ≤ 0.02",
    ]
    assert str(gate_of(model="m\n\x1b[31m", min=0.5)) == "m �[31m: score ≥ 0.5"


def test_what_some_gates_need() -> None:
    gates = [
        gate_of(model="late", task="digits", scenario="image@linf:1", measure="gap to the oracle", max=0.2),
        gate_of(model="late", schedule="mcar", rate=0.3, min=0.2),
        gate_of(model="late", schedule="mcar", measure="area", min=0.2),
        gate_of(model="concat", corruption="image@noise", severity=3, min=0.2),
        gate_of(model="concat", corruption="image@noise", severity=1, min=0.2),
    ]
    found = evaluation_for(gates, "20")
    assert found.model == ("late", "concat", "without-image") and found.samples == 20 and found.search == "standard"
    assert found.schedule == ("mcar:0.3", "mcar:0,0.2,0.4,0.6,0.8") and found.corruption == ("image@noise:1,3",)
    assert evaluation_for([gate_of(model="m", min=0.5)], "20").search == "none", "nothing asks for an attack"
    with pytest.raises(BadInput, match="several tasks"):
        evaluation_for([gate_of(model="m", task=task, min=0.5) for task in ("a", "b")], "20")
