"""`reproduce`: trials that are done are not done again, and pages say what the runs hold."""

import io
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from attacks.errors import BadInput
from attacks.presets import VERSION
from harness.analysis.curves import query
from harness.analysis.measures import Estimate
from harness.engine.loading import with_options
from harness.reproduce import campaign, fusion, missing, spotcheck, studies
from harness.reproduce.page import Page, mean_and_spread, points
from harness.reproduce.record import read_record
from harness.reproduce.results import Results
from harness.reproduce.setting import Effort, Setting, System
from harness.reproduce.study import Study
from harness.training.train import recipe_of

TINY = Effort(seeds=(0, 1), epochs=1, samples=6, search="fast")
SCENARIO = "image@linf:1.6"


def write(results: Mapping[str, Results], page: Page) -> None:
    for name, result in results.items():
        page.table(
            ["", name],
            [[each.name, mean_and_spread(result.scores(each.name, SCENARIO))] for each in result.setting.systems],
        )


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> Study:
    """One system on the embedded task, and a setting whose data are not there."""
    monkeypatch.delenv("ROBUSTNESS_DATA", raising=False)
    systems = (System("plain", "only-image"),)
    made = Study("tiny", {"here": Setting("digits", systems, TINY), "absent": Setting("mosi", systems, TINY)}, write)
    monkeypatch.setattr(studies, "STUDIES", {"tiny": made})
    return made


def run(**options: object) -> tuple[Path, str]:
    spoken = io.StringIO()
    path = studies.reproduce(studies.ReproduceOptions("tiny", jobs=1, **options), Console(file=spoken, width=10_000))  # type: ignore[arg-type]
    return path, spoken.getvalue()


def test_a_page_has_the_results_of_the_runs_and_names_settings_left_out(study: Study) -> None:
    path, spoken = run()
    page = path.read_text()
    assert path == Path("docs/results/tiny.md")
    assert "absent is left out: data set 'mosi'" in page
    assert "absent is left out" in spoken
    runs = sorted(Path("results/tiny/runs/digits").iterdir())
    assert len(runs) == 2
    shares = []
    for folder in runs:
        table = campaign.RunDirectory(str(folder)).table("ledger")
        found = query(
            f"select avg(case when strength > 1 then 1.0 else 0.0 end) from rows where scenario = '{SCENARIO}'",
            rows=table,
        )
        shares.append(found[0][0])
    assert f"{np.mean(shares):.3f} ± {np.std(shares, ddof=1):.3f}" in page


def test_all_studies_run_one_after_another_and_a_failure_costs_one_page(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = Study("lacking", {"absent": study.settings["absent"]}, write)
    monkeypatch.setattr(studies, "STUDIES", {"lacking": lacking, "tiny": study})
    spoken = io.StringIO()
    every, console = studies.ReproduceOptions("all", jobs=1), Console(file=spoken, width=10_000)
    with pytest.raises(BadInput, match="lacking could not be done, see above"):
        studies.reproduce_all(every, console)
    assert "lacking: study 'lacking' has no results to write" in spoken.getvalue()
    page = Path("docs/results/tiny.md")
    before = {file: file.stat().st_mtime_ns for file in Path("results").rglob("*.parquet")}
    assert page.exists() and before
    monkeypatch.setattr(studies, "STUDIES", {"tiny": study})
    assert studies.reproduce_all(every, console) == [page]
    assert {file: file.stat().st_mtime_ns for file in Path("results").rglob("*.parquet")} == before


@pytest.mark.parametrize("option", [{"page": "one.md"}, {"only": ("digits",)}], ids=str)
def test_options_of_one_study_are_refused_for_all(study: Study, option: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="belongs to one study"):
        studies.reproduce_all(studies.ReproduceOptions("all", **option), Console())  # type: ignore[arg-type]


def test_a_spot_check_shows_how_much_the_numbers_move(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same search again moves nothing; a record of another version with other strengths is told
    apart.
    """
    page = run(spot_check=1)[0].read_text()
    assert "Critical strengths were found by version" in page
    (still,) = spotcheck.read(Path("docs/results/records/tiny"))
    assert still.alike and (still.at_one, still.furthest, still.curve) == (0, 0, 0)
    record = Path(f"docs/results/records/tiny/{still.trial}.parquet")
    found = read_record(record)
    ledger = found.tables["ledger"]
    at = ledger.column_names.index("strength")
    never = ledger.set_column(at, "strength", pa.array([float("inf")] * len(ledger)))
    replace(found, tables={**found.tables, "ledger": never}, search=1).write(record)
    page = run(spot_check=1)[0].read_text()
    (moved,) = spotcheck.read(Path("docs/results/records/tiny"))
    assert moved.alike and moved.searches == (1, VERSION) and moved.at_one < 0 and moved.curve < 0
    assert f"| {moved.trial} | 1 → {VERSION} | yes | {moved.at_one:+.1f}" in page


def test_a_damaged_spot_check_is_refused(study: Study) -> None:
    run()
    Path("docs/results/records/tiny/spot-check.json").write_text("{}")
    with pytest.raises(BadInput, match=r"is not a list of spot checks: remove it"):
        run()


def test_what_is_done_is_not_done_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    trained: list[str] = []
    train = campaign.train
    monkeypatch.setattr(
        campaign, "train", lambda training, console: (trained.append(training.out or ""), train(training, console))[1]
    )
    page = run()[0].read_text()
    assert not trained
    one = sorted(Path("results/tiny/checkpoints/digits").glob("*.json"))[0]
    record = Path(f"docs/results/records/tiny/digits/{one.stem}.parquet")
    before = read_record(record)
    record.unlink()
    run()
    assert not trained and read_record(record).tables["ledger"].equals(before.tables["ledger"]), (
        "taken from the run that is there"
    )
    record.unlink()
    one.unlink()  # as if killed between weights and card
    shutil.rmtree(f"results/tiny/runs/digits/{one.stem}")
    run()
    assert trained == [str(one.with_suffix(".safetensors"))]
    shutil.rmtree("results")
    assert run()[0].read_text() == page and len(trained) == 1, "a page takes no more than its records"


def test_a_page_of_what_is_recorded_tells_of_whole_seeds(study: Study) -> None:
    with pytest.raises(BadInput, match="no results to write: here is left out: no seed has all its records"):
        run(recorded=True)
    first = campaign.trials(
        study.settings["here"], studies.load_task("digits"), Path("results"), Path("docs/results/records/tiny"), False
    )[0]
    campaign.perform(first, "cpu")
    page = run(recorded=True)[0].read_text()
    assert "`python -m harness reproduce tiny --recorded`" in page
    assert (
        Results(study.settings["here"], studies.load_task("digits"), [first]).seeds
        == "**1 of 2 seeds: the others are not done**"
    )
    assert (
        mean_and_spread(Results(study.settings["here"], studies.load_task("digits"), [first]).scores("plain", SCENARIO))
        in page
    )


def test_a_damaged_record_is_named(study: Study) -> None:
    run()
    record = next(Path("docs/results/records/tiny/digits").iterdir())
    record.write_bytes(record.read_bytes()[:-9])
    with pytest.raises(BadInput, match=rf"record {record} cannot be read .* remove that file"):
        run()


def test_a_setting_of_other_effort_has_trials_of_its_own(study: Study) -> None:
    digits = studies.load_task("digits")
    here = study.settings["here"]
    keys = {trial.key for small in (False, True) for trial in campaign.trials(here, digits, Path(), Path(), small)}
    assert len(keys) == 2, "a trial of little effort is not taken for one of much"


def test_a_trial_that_fails_is_reported(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "evaluate", lambda *_: 5)
    with pytest.raises(BadInput, match="could not be evaluated"):
        run()


def test_an_unknown_study_and_a_page_of_another_kind_are_refused(study: Study) -> None:
    with pytest.raises(BadInput, match=r"unknown study 'tny': did you mean tiny"):
        studies.reproduce(studies.ReproduceOptions("tny"), Console(quiet=True))
    with pytest.raises(BadInput, match=r"unknown setting 'her' of study 'tiny': did you mean here"):
        run(only=("her",))
    with pytest.raises(BadInput, match=r"ends in \.md"):
        run(page="page.html")


class Known(Results):
    """Results with scores that are given."""

    def __init__(self, setting: Setting, given: Mapping[tuple[str, str], float]) -> None:
        super().__init__(setting, studies.load_task("digits"), [])
        self.given = given

    def scores(self, system: str, condition: str = "clean") -> np.ndarray:
        share = self.given[system, condition]
        return np.tile(np.arange(1000) < 1000 * share, (3, 1)).astype(float)


def test_verdicts_follow_from_the_intervals() -> None:
    scenarios = studies.load_task("digits").scenarios()[:3]
    rows = {**dict.fromkeys(fusion.RIVALS, 0.5), fusion.OURS: 0.7}
    given = {(name, str(s)): share for name, share in rows.items() for s in scenarios} | {
        (name, "clean"): 0.9 for name in rows
    }
    given |= {(f"oracle {s.attacked_names[0]}", "clean"): 0.8 for s in scenarios}
    given["LEL + robust", str(scenarios[0])] = 0.75
    given[fusion.OURS, "clean"] = 0.88
    said = " ".join(fusion._verdicts(Known(fusion.FUSION.settings["digits"], given), scenarios))
    assert "in 6 of 6 pairs" in said
    assert "in 11 of 12 pairs of rival and attack, in 11 by an interval" in said
    assert "not above LEL + robust under image@linf:1.6" in said
    assert "Under 2 of 3 attacks (audio@linf:0.005, text@tokens:1), it is above every rival by an interval" in said
    assert "Its clean score minus the better one of concat and mean: -2.0 points." in said


def test_smil_is_judged_by_the_intervals() -> None:
    setting = missing.MISSING.settings["10 %"]
    given = {(system.name, c): 0.9 for system in setting.systems for c in missing.CONDITIONS}
    given[missing.LOWER, missing.SILENT] = 0.8
    given["zero imputation", "clean"] = 0.95
    said = missing._verdict(Known(setting, given), missing.SMIL)
    assert "in 1 of 8 comparisons, and below zero imputation with sound present" in said


def test_a_difference_is_bold_where_it_excludes_zero() -> None:
    assert points(Estimate(0.021, 0.01, 0.034)) == "**+2.1 [+1.0, +3.4]**"
    assert points(Estimate(0.021, -0.01, 0.034)) == "+2.1 [-1.0, +3.4]"
    assert points(Estimate(0.021, 0.0002, 0.034)) == "**+2.1 [+0.02, +3.40]**", "not to be read as zero"
    assert points(Estimate(0.021, 0.0, 0.034)) == "+2.1 [+0.0, +3.4]"
    assert points(Estimate(-0.021, -0.034, -0.000004)) == "**-2.1 [-3.4000, -0.0004]**"


@pytest.mark.parametrize("name", studies.STUDIES)
def test_every_system_of_every_study_names_what_there_is(name: str) -> None:
    for setting in studies.STUDIES[name].settings.values():
        assert len({system.name for system in setting.systems}) == len(setting.systems)
        for system in setting.systems:
            recipe_of(system.recipe)
            assert callable(with_options("model", system.model).target)
