"""Configurations and gates files: whatever a file or a flag holds, it is one, or is refused in one
sentence.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from harness.gates.file import Gate, GatesFile, parse_gates
from harness.run.config import Evaluation, dump, resolve
from tests.fuzz.cases import fuzzed, result_or_refusal

FILE = Path(tempfile.mkdtemp()) / "c.yaml"
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.sampled_from(["image@linf:1", "mcar", "area", "score", "all", "none", "5m", "²", 0.5, 1, 0, -1, 10**30]),
)
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=5), st.integers(), max_size=2)
)
SIGNS = "gates:[]{}!&*'\"\n -?|>%@`0.5,#~mindropx_"
TEXTS = st.one_of(st.binary(max_size=100), st.text(alphabet=SIGNS, max_size=80).map(str.encode))
HUGE = b"0x" + b"f" * 5000
TRICKS = [
    b"seed: !!int ''",
    b"seed: " + HUGE,
    b"a: &a [*a]",
    b"seed: " + b"[" * 60_000,
    b"seed: \xff",
    b"? {a: b}\n: c",
    b"<<: 1",
    b"seed: " + b"9" * 5000,
    b"!!python/name:os.system",
    b'task: "\\ud800"',
    b"limit: 1e400",
    b"x" * 70_000,
    b"seed: 1:2:3",
    b"? " + HUGE + b"\n: 1",
    b"gates: [{? " + HUGE + b": 1}]",
    b"k" * 60_000 + b": 1",
]
FIELDS = st.one_of(st.sampled_from(list(Evaluation.model_fields)), st.text(max_size=8))


def resolved(content: bytes) -> Evaluation | None:
    """The values of a file with this content."""
    FILE.write_bytes(content)
    found: Evaluation | None = result_or_refusal(resolve, FILE, {})
    return found


@fuzzed(
    "configuration values", content=st.one_of(st.dictionaries(st.one_of(FIELDS, SCALARS), VALUES, max_size=4), VALUES)
)
def test_any_values_are_a_configuration_or_refused(content: Any) -> None:
    resolved(yaml.safe_dump(content, allow_unicode=True).encode())


@fuzzed("configuration bytes", content=st.one_of(TEXTS, st.sampled_from(TRICKS)), key=FIELDS)
def test_any_bytes_are_a_configuration_or_refused(content: bytes, key: str) -> None:
    resolved(content)
    resolved(key.encode(errors="replace") + b": " + content)


@fuzzed("flags", flags=st.dictionaries(FIELDS, VALUES, max_size=4))
def test_any_flags_are_a_configuration_or_refused(flags: dict[str, Any]) -> None:
    found = result_or_refusal(resolve, None, flags)
    assert found is None or isinstance(found, Evaluation)


EVALUATIONS = {
    "task": st.text(max_size=9),
    "model": st.lists(st.text(max_size=9), min_size=1, max_size=3, unique=True),
    "trust": st.booleans(),
    "scenario": st.lists(st.text(max_size=9), max_size=3, unique=True),
    "schedule": st.lists(st.text(max_size=9), max_size=3),
    "limit": st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False),
    "seed": st.integers(0, 2**63 - 1),
    "samples": st.one_of(st.just("all"), st.integers(1, 10**12)),
    "budget": st.one_of(st.none(), st.floats(1e-3, 1e9)),
    "witnesses": st.one_of(st.sampled_from(["none", "all"]), st.integers(0, 10**9)),
}


@fuzzed("configurations written and read", values=st.fixed_dictionaries({}, optional=EVALUATIONS))
def test_a_configuration_that_is_written_reads_back(values: dict[str, Any]) -> None:
    config = Evaluation.model_validate(values)
    assert resolved(dump(config).encode(errors="surrogatepass")) == config


KEYS = st.one_of(
    st.sampled_from([*Gate.model_fields, "gates", "inconclusive"]), st.text(max_size=8), st.integers(), st.none()
)
ENTRIES = st.one_of(VALUES, st.dictionaries(KEYS, VALUES, max_size=6))
HOLDERS = st.one_of(
    st.dictionaries(KEYS, VALUES), st.fixed_dictionaries({"gates": st.lists(ENTRIES, max_size=4)}), ENTRIES
)


def read(content: bytes) -> None:
    """Read a text as a gates file."""
    file: GatesFile | None = result_or_refusal(parse_gates, content, "gates file g")
    if file is not None:
        assert len(file.lines) == len(file.gates) and all(str(gate).isprintable() for gate in file.gates)


@fuzzed("gates values", content=HOLDERS)
def test_any_values_are_gates_or_refused(content: Any) -> None:
    read(yaml.safe_dump(content, allow_unicode=True).encode())


@fuzzed("gates bytes", content=st.one_of(TEXTS, st.sampled_from(TRICKS)))
def test_any_bytes_are_gates_or_refused(content: bytes) -> None:
    read(content)
    read(b"gates: [{model: m, min: " + content + b"}]")
    read(b"gates:\n- model: m\n  min: " + content.removeprefix(b"seed: "))
