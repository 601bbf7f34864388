"""Every part of a run counts once. Every reader refuses rows that two parts have, or that another
run wrote, and `verify --files` finds them.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attacks.errors import BadInput
from harness.analysis.summary import measures_of, summarise
from harness.commands.filecheck import file_faults
from harness.gates.baseline import evidence_at
from harness.reporting.report import as_markdown, render
from harness.run.directory import RunDirectory
from harness.storage.parquet import decoded, encoded
from harness.storage.tensorfile import from_bytes
from tests.commandline import run
from tests.runfile import rewrite

TABLES = ("samples", "sweep", "ledger")
COMMAND = [
    "evaluate",
    "--model",
    "concat",
    "--samples",
    "8",
    "--batch-size",
    "4",
    "--search",
    "fast",
    "--schedule",
    "mcar:0,0.5",
]
COMMAND += ["--scenario", "image@linf:1.6", "--repeats", "1", "--attributions", "1", "--witnesses", "all"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that differ in the seed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, seed in (("one", "0"), ("other", "1")):
            assert run(patch, *COMMAND, "--seed", seed, "--out", name) == 0
    return folder


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> RunDirectory:
    shutil.copytree(made / "one", tmp_path / "one")
    return RunDirectory(str(tmp_path / "one"))


def parts(directory: RunDirectory, table: str) -> list[Path]:
    return sorted((Path(directory.url) / table).iterdir())


def copy(directory: RunDirectory, made: Path, table: str) -> str:
    first = parts(directory, table)[0]
    shutil.copy(first, first.with_name("copy.parquet"))
    return "copy.parquet"


def half_a_copy(directory: RunDirectory, made: Path, table: str) -> str:
    """Of other samples, too."""
    first, second = parts(directory, table)
    rows = [decoded(path.read_bytes()) for path in (first, second)]
    second.write_bytes(encoded(pa.concat_tables([rows[1], rows[0].slice(0, 1)])))
    return first.name


def twice_in_one(directory: RunDirectory, made: Path, table: str) -> str:
    first = parts(directory, table)[0]
    rows = decoded(first.read_bytes())
    first.write_bytes(encoded(pa.concat_tables([rows, rows.slice(0, 1)])))
    return first.name


def of_another_run(directory: RunDirectory, made: Path, table: str) -> str:
    foreign = next((made / "other" / table).iterdir())
    shutil.copy(foreign, Path(directory.url, table, foreign.name))
    return foreign.name


def of_another_model(directory: RunDirectory, made: Path, table: str) -> str:
    """One that the run does not have."""
    first = parts(directory, table)[0]
    rows = decoded(first.read_bytes())
    names = pa.array(["late", *rows.column("model").to_pylist()[1:]], pa.string())
    first.write_bytes(encoded(rows.set_column(rows.column_names.index("model"), "model", names)))
    return first.name


FAULTS = (copy, half_a_copy, twice_in_one, of_another_run, of_another_model)
READERS: dict[str, Callable[[RunDirectory], object]] = {
    "summary": summarise,
    "measures": measures_of,
    "markdown": as_markdown,
    "report": render,
    "gates": lambda directory: evidence_at(directory.url),
    "done": lambda directory: directory.done(),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_reader_refuses(directory: RunDirectory, made: Path, table: str, fault: Callable[..., str]) -> None:
    assert file_faults(directory) == []
    named = fault(directory, made, table)
    for name, read in READERS.items():
        if table == "ledger" or name != "done":
            with pytest.raises(BadInput, match=named):
                read(RunDirectory(directory.url))
    assert any(named in why for why in file_faults(RunDirectory(directory.url)))


def twin(folder: Path, name: str) -> None:
    shutil.copy(next(folder.iterdir()), folder / name)


def owned(file: Path, run: str) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "run id": {run: {}}}))


NUMBERS = dict.fromkeys(("limit", "value", "low", "high"), 0.5)
VERDICT = {"gate": "clean", **NUMBERS, "verdict": "pass", "why": "it is so"}
STRAYS: dict[str, Callable[[Path], object]] = {
    "samples/lonely.parquet has no ledger part": lambda run: shutil.copy(
        next((run / "samples").iterdir()), run / "samples" / "lonely.parquet"
    ),
    "is lost, but ledger/": lambda run: next((run / "sweep").iterdir()).unlink(),
    "has no table beside it": lambda run: next((run / "attributions").glob("*.parquet")).unlink(),
    "witnesses/x.safetensors has no ledger part": lambda run: shutil.copy(
        next((run / "witnesses").iterdir()), run / "witnesses" / "x.safetensors"
    ),
    "notes.txt is not part of a run": lambda run: (run / "notes.txt").write_text("mine"),
    "fingerprints.safetensors has changed": lambda run: (run / "fingerprints.safetensors").unlink(),
    "gates.json cannot be read": lambda run: (run / "gates.json").write_text("{"),
    "trust.json cannot be read": lambda run: (run / "trust.json").write_text("{"),
    "trust.json is of run 'other', this is run": lambda run: owned(run / "trust.json", "other"),
    "gates.json is of run 'other', this is run": lambda run: (run / "gates.json").write_text(
        json.dumps([{**VERDICT, "run id": "other"}])
    ),
    "gates.json cannot be read; run `gate` on it again": lambda run: (run / "gates.json").write_text(
        '[{"gate": ["clean"], "limit": "1"}]'
    ),
}


def changed(table: str, column: str, value: object) -> Callable[[Path], object]:
    """The first row of a table has another value in a column."""

    def change(run: Path) -> object:
        part = sorted((run / table).iterdir())[0]
        rows = decoded(part.read_bytes())
        values = [value, *rows.column(column).to_pylist()[1:]]
        kind = rows.schema.field(column).type
        return part.write_bytes(
            encoded(rows.set_column(rows.column_names.index(column), column, pa.array(values, kind)))
        )

    return change


def rewritten(part: Path) -> None:
    """As another program writes the same rows."""
    pq.write_table(decoded(part.read_bytes()), part)


def without_rows(table: str) -> Callable[[Path], object]:
    def change(run: Path) -> object:
        part = sorted((run / table).iterdir())[0]
        return part.write_bytes(encoded(decoded(part.read_bytes()).slice(1)))

    return change


STRAYS |= {
    "which samples/": changed("ledger", "sample", "another"),
    "holds sample 'stranger', which samples/": changed("sweep", "sample", "stranger"),
    "rows are missing": without_rows("ledger"),
    "has 35 rows for 4 samples": without_rows("sweep"),
    "a strength beyond its limit": changed("ledger", "strength", 99.0),
    "it holds rows of limit 2.0, this is limit 8.0": changed("ledger", "limit", 2.0),
    "it holds rows of seed 9, this is seed 0": changed("sweep", "seed", 9),
    "present '1111' of 3 modalities": changed("sweep", "present", "1111"),
    "rows are of several tasks: 'digits', 'other'": changed("samples", "task", "other"),
    "holds scenario 'image@linf:9', which the run does not name": changed("ledger", "scenario", "image@linf:9"),
    "holds schedule 'zzz', which the run does not name": changed("sweep", "name", "zzz"),
    "4 of 8 samples have no rows": lambda run: [
        sorted(folder.iterdir())[0].unlink() for folder in map(run.joinpath, (*TABLES, "fronts", "witnesses"))
    ],
    "8 of 8 samples have no rows": lambda run: [
        file.unlink() for folder in map(run.joinpath, (*TABLES, "fronts", "witnesses")) for file in folder.iterdir()
    ],
    "parquet has no checksum": lambda run: rewritten(sorted((run / "ledger").iterdir())[0]),
    "the clean score of sample": changed("ledger", "clean_score", 0.5),
    "lacks the witness of sample": lambda run: [file.unlink() for file in (run / "witnesses").iterdir()],
}


@pytest.mark.parametrize("table", TABLES)
def test_numbers_over_fewer_samples_are_noted(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    """A part is lost: every table gives the number of its samples, and what to do."""
    parts(directory, table)[0].unlink()
    notes = " ".join(summarise(directory).notes)
    assert "4 of 8 samples" in notes and "The run is lacking 4 of 8 samples: " in notes
    assert "lacking 4 of 8 samples" in as_markdown(directory) and "4 of 8 samples" in render(directory)
    assert run(monkeypatch, "bless", directory.url, "--out", f"{directory.url}.parquet") == 2
    assert "lacks 4 of 8 samples" in capsys.readouterr().err


def test_a_shard_is_merged_once_and_no_row_counts_twice(
    directory: RunDirectory, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path(directory.url)
    rewrite(place, lambda content: content["config"].update(shard="1/2"))
    shutil.copytree(place, place.with_name("again"))
    assert run(monkeypatch, "merge", f"{place}-whole", str(place), str(place.with_name("again"))) == 2
    assert f"{place} and {place.with_name('again')} are both shard 1/2" in capsys.readouterr().err
    copy(directory, made, "ledger")
    assert run(monkeypatch, "merge", f"{place}-whole", str(place)) == 2
    assert "copy.parquet and ledger/" in capsys.readouterr().err.replace(
        parts(directory, "ledger")[0].name + " and", "copy.parquet and"
    )


@pytest.mark.parametrize("said", STRAYS)
def test_verify_files_names_what_is_wrong(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    assert run(monkeypatch, "verify", directory.url, "--files") == 0
    assert "no faults found" in capsys.readouterr().out
    STRAYS[said](Path(directory.url))
    assert run(monkeypatch, "verify", directory.url, "--files") == 3
    assert said in capsys.readouterr().out


def content(directory: RunDirectory) -> str:
    """All numbers of a run."""
    tables = [directory.table(name).to_pylist() for name in (*TABLES, "attributions")]
    tensors = [sorted((key, x.tolist()) for key, x in held.items()) for held, _ in directory.witnesses()]
    maps = [
        sorted((key, x.tolist()) for key, x in from_bytes(path.read_bytes()).items()) for path in attributed(directory)
    ]
    return repr([tables, tensors, maps])


def attributed(directory: RunDirectory) -> list[Path]:
    return sorted(Path(directory.url, "attributions").glob("*.safetensors"))


@pytest.mark.parametrize("folder", [*TABLES, "witnesses", "attributions"])
def test_no_flipped_bit_shows_another_number(directory: RunDirectory, folder: str) -> None:
    """Every bit of 80 spread over each kind of file, 400 in all: found, or read unchanged (the bit
    was in a mark of the checksum).
    """
    before = content(directory)
    part = sorted((Path(directory.url) / folder).iterdir(), key=lambda path: path.suffix)[-1]
    sound = part.read_bytes()
    for step in range(80):
        at = step * len(sound) // 80
        part.write_bytes(sound[:at] + bytes([sound[at] ^ (1 << step % 8)]) + sound[at + 1 :])
        faults = file_faults(RunDirectory(directory.url))
        assert any(part.stem in why for why in faults) or content(RunDirectory(directory.url)) == before, (
            f"byte {at} of {len(sound)}"
        )
    part.write_bytes(sound)
    assert file_faults(RunDirectory(directory.url)) == []


@pytest.mark.parametrize("place", ["note", "command"])
def test_what_no_text_can_hold_does_not_end_a_report(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A lone surrogate, as paths have that are not UTF-8."""
    odd = "run\udcff"
    rewrite(directory.url, lambda content: content.update({place: odd if place == "note" else [odd]}))
    for words in (["report", directory.url], ["report", directory.url, "--markdown", f"{directory.url}.md"]):
        assert run(monkeypatch, *words) == 0


@pytest.mark.parametrize("words", [["report"], ["verify"], ["verify", "--files"], ["merge", "whole"]], ids=" ".join)
@pytest.mark.parametrize("config", [[[[]]], "all", 3, True])
def test_a_configuration_of_another_type_is_one_sentence(
    directory: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    config: object,
) -> None:
    rewrite(directory.url, lambda content: content.update(config=config))
    assert run(monkeypatch, *words, directory.url) == 2
    assert "its run.json has no usable config" in capsys.readouterr().err
