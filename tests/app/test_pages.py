"""Every page with a real run, an empty folder, a broken run and a running one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

from harness.run.description import FORMAT
from tests.app.conftest import JOINT, PAGES, Opened, words
from tests.runfile import rewrite

FIGURES = {"overview": 1, "worst": 3, "average": 3, "samples": 2, "compare": 1, "trust": 2}
RUN = "python -m harness evaluate"


def figures(test: AppTest) -> list[dict[str, Any]]:
    return [json.loads(each.proto.spec) for each in test.get("plotly_chart")]


def well(test: AppTest) -> AppTest:
    assert not test.exception, test.exception[0].value
    assert not test.error, test.error[0].value
    return test


@pytest.mark.parametrize("page", PAGES)
def test_a_real_run(real: Path, opened: Opened, page: str) -> None:
    test = well(opened(real, page))
    assert len(figures(test)) >= FIGURES[page]
    assert any("CSV" in each.label for each in test.download_button) and any(
        "HTML" in each.label for each in test.download_button
    )


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("there", [True, False])
def test_an_empty_folder_shows_the_command_to_run(tmp_path: Path, opened: Opened, page: str, there: bool) -> None:
    test = well(opened(tmp_path if there else tmp_path / "absent", page))
    assert RUN in words(test) and not test.get("plotly_chart")


def half_written(run: Path) -> None:
    (run / "run.json").write_text((run / "run.json").read_text()[:80])


def without_description(run: Path) -> None:
    (run / "run.json").unlink()


def of_a_later_version(run: Path) -> None:
    described = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**described, "format": FORMAT + 1}))


def lacking_a_column(run: Path) -> None:
    path = next((run / "ledger").iterdir())
    pq.write_table(pq.read_table(path).drop_columns(["strength"]), path)


def cut_off(run: Path) -> None:
    path = next((run / "sweep").iterdir())
    path.write_bytes(path.read_bytes()[:100])


def without_configuration(run: Path) -> None:
    rewrite(run, lambda content: content.update(identity={}))


BREAKS = [half_written, without_description, of_a_later_version, lacking_a_column, cut_off, without_configuration]


@pytest.mark.parametrize("page", PAGES)
def test_a_broken_run_is_named_and_skipped(copied: Path, opened: Opened, page: str) -> None:
    for harm in BREAKS:
        (copied / "first").rename(copied / harm.__name__)
        shutil.copytree(copied / harm.__name__, copied / "first")
        harm(copied / harm.__name__)
    test = well(opened(copied, page))
    said = [each.value.replace("\\", "") for each in test.sidebar.warning]
    assert len(said) == len(BREAKS) and all(any(harm.__name__ in each for each in said) for harm in BREAKS)
    assert len(figures(test)) >= FIGURES[page]


@pytest.mark.parametrize("page", PAGES)
def test_damaged_data_are_one_sentence(copied: Path, opened: Opened, page: str) -> None:
    for folder in ("ledger", "samples", "sweep"):
        for path in (copied / "first" / folder).iterdir():
            content = bytearray(path.read_bytes())
            content[4 : len(content) // 3] = b"\xff" * (len(content) // 3 - 4)
            path.write_bytes(content)
    (copied / "first" / "trust.json").write_text('{"concat": [1]}')
    test = opened(copied, page)
    assert not test.exception and "damaged" in words(test)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("begun", [True, False])
def test_a_running_run(copied: Path, opened: Opened, page: str, begun: bool) -> None:
    run = copied / "first"
    rewrite(run, lambda content: content.update(status="running"))
    (run / "trust.json").unlink()
    for folder in ("ledger", "samples", "sweep"):
        parts = sorted((run / folder).iterdir())
        for part in parts[1:] if begun else parts:
            part.unlink()
        (run / folder / "next.parquet.partial").write_bytes(b"PAR1")
    test = well(opened(copied, page))
    assert page == "overview" or "running" in words(test)
    assert begun or RUN in words(test)


def test_a_run_that_grows_is_drawn_anew(copied: Path, opened: Opened) -> None:
    part = next((copied / "first" / "samples").iterdir())
    content = part.read_bytes()
    part.unlink()
    before = opened(copied).dataframe[0].value["clean"]
    part.write_bytes(content)
    after = opened(copied).dataframe[0].value["clean"]
    assert before.isna().sum() == 1 and after.notna().all()


def test_a_view_is_opened_again_by_its_address(real: Path, opened: Opened) -> None:
    test = well(opened(real, "worst", scenario=JOINT, axis="log", share="0.25"))
    assert test.selectbox(key="scenario").value == JOINT and test.selectbox(key="axis").value == "log"
    assert test.slider(key="share").value == 0.25
    assert figures(test)[0]["layout"]["xaxis"]["type"] == "log"
    test.selectbox(key="scenario").select("image@linf:1.6").run()
    assert well(test).selectbox(key="axis").value == "log"


@pytest.mark.parametrize(
    ("page", "key"), [("worst", "run"), ("samples", "run"), ("compare", "a_run"), ("compare", "b_run")]
)
def test_an_address_of_a_hidden_run_gets_a_sentence_and_no_other_run(
    copied: Path, opened: Opened, page: str, key: str
) -> None:
    shutil.copytree(copied / "first", copied / "broken")
    cut_off(copied / "broken")
    for name, why in (
        ("gone", "'gone', which this address names, is not in this run"),
        ("broken", "'broken' is skipped: run"),
    ):
        test = opened(copied, page, **{key: name})
        assert why in words(test) and len(test.error) == 1 and not test.get("plotly_chart")
        test.selectbox(key=key).select("first").run()
        assert well(test).get("plotly_chart")


@pytest.mark.parametrize(
    ("page", "asked"), [("worst", "scenario"), ("samples", "sample"), ("samples", "model"), ("compare", "a_model")]
)
def test_an_address_of_a_part_that_a_run_lacks_gets_a_sentence(
    real: Path, opened: Opened, page: str, asked: str
) -> None:
    test = opened(real, page, **{asked: "nonsense"})
    assert "'nonsense', which this address names, is not in this run" in words(test) and len(test.error) == 1


@pytest.mark.parametrize(
    ("page", "keys"),
    [
        ("worst", {"run", "scenario"}),
        ("average", {"run", "schedule"}),
        ("samples", {"run", "model", "scenario", "sample"}),
        ("compare", {"a_run", "a_model", "b_run", "b_model", "condition"}),
    ],
)
def test_what_is_chosen_stands_in_the_address_also_where_it_is_the_first(
    real: Path, opened: Opened, page: str, keys: set[str]
) -> None:
    """The first of today is another when there are more runs."""
    test = well(opened(real, page))
    assert keys <= set(test.query_params)
    assert all(
        test.query_params[key] in (test.selectbox(key=key).value, [test.selectbox(key=key).value]) for key in keys
    )


def overwritten(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:200] + b"\0" * 400 + content[600:])


def test_what_is_damaged_takes_nothing_else_with_it(copied: Path, opened: Opened) -> None:
    """Attributions, witnesses, flags and the middle of a table: each fault is named, and intact
    parts are shown.
    """
    run = copied / "first"
    attributed, witness = (
        next((run / name).glob(f"*.{ending}"))
        for name, ending in (("attributions", "parquet"), ("witnesses", "safetensors"))
    )
    explained = pq.read_table(attributed)["sample"][0].as_py()
    kept, held = attributed.read_bytes(), {path: path.read_bytes() for path in (run / "witnesses").iterdir()}
    attributed.write_bytes(b"no table")
    test = opened(copied, "samples", model="concat", scenario=JOINT, sample=explained)
    assert len(test.error) == 1 and attributed.name in words(test) and test.get("plotly_chart"), "the inputs are there"
    attributed.write_bytes(kept)
    for path in held:
        path.write_bytes(b"no tensors at all")
    test = well(opened(copied, "samples", model="concat", scenario=JOINT, sample=explained))
    assert "Only the untouched inputs can be shown" in words(test) and "integrated gradients" in words(test)
    for path, content in held.items():
        path.write_bytes(content)
    assert witness.exists()
    part = next((run / "ledger").iterdir())
    sound = part.read_bytes()
    overwritten(part)
    assert f"ledger/{part.name} cannot be read" in words(opened(copied, "worst"))
    part.write_bytes(sound)
    (run / "trust.json").write_text('{"flags": 3}')
    assert "trust.json cannot be read" in words(opened(copied, "overview"))


def test_the_leaderboard_is_filtered_and_sorted(real: Path, opened: Opened) -> None:
    test = opened(real)
    assert list(test.dataframe[0].value["model"]) == ["concat", "without-image"]
    assert list(well(opened(real, find="without")).dataframe[0].value["model"]) == ["without-image"]
    scores = well(opened(real, by="clean")).dataframe[0].value["clean"]
    assert list(scores) == sorted(scores, reverse=True)
    assert "No model matches" in words(opened(real, find="no such model"))


def test_the_oracle_is_drawn_for_the_attack_it_does_not_see(real: Path, opened: Opened) -> None:
    lines = figures(opened(real, "worst", scenario="image@linf:1.6"))[0]["layout"]
    assert any(each["text"] == "oracle without-image" for each in lines["annotations"])
    assert not figures(opened(real, "worst", scenario=JOINT))[0]["layout"].get("annotations")


def test_an_attacked_sample_is_shown_in_every_modality(real: Path, opened: Opened) -> None:
    explained = pq.read_table(next((real / "first" / "attributions").glob("*.parquet")))["sample"][0].as_py()
    test = well(opened(real, "samples", model="concat", scenario=JOINT, sample=explained, times="10"))
    titles = [each["text"] for figure in figures(test) for each in figure["layout"].get("annotations", [])]
    assert {
        "untouched",
        "attacked",
        "change × 10",
        "share of the attribution",
        "untouched, integrated gradients",
    } <= set(titles)
    assert len(test.get("audio")) == 3
    assert "closest" in words(test)


def test_without_attributions_it_shows_the_command_to_run(copied: Path, opened: Opened) -> None:
    for path in (copied / "first" / "attributions").iterdir():
        path.unlink()
    assert "--attributions" in words(well(opened(copied, "samples")))


def test_without_witnesses_the_untouched_input_is_shown(copied: Path, opened: Opened) -> None:
    for path in (copied / "first" / "witnesses").iterdir():
        path.unlink()
    test = well(opened(copied, "samples", model="concat", scenario=JOINT))
    assert "--witnesses all" in words(test) and len(test.get("audio")) == 1


def test_a_task_that_is_gone_is_one_sentence(copied: Path, opened: Opened) -> None:
    run = copied / "first"
    rewrite(run, lambda content: content["identity"]["config"].update(task="nowhere.py:task"))
    test = well(opened(copied, "samples"))
    assert "only if you trust the code" in words(test)
    next(each for each in test.toggle if each.label == "Run it and show the inputs").set_value(True).run()
    assert "there is no file nowhere.py" in words(well(test))


def test_two_models_are_compared(real: Path, opened: Opened) -> None:
    test = well(opened(real, "compare"))
    table = test.dataframe[0].value
    assert table["condition"][0] == "clean" and {"missing audio", "image@linf:1.6", "image@noise, level 5"} <= set(
        table["condition"]
    )
    known = table[table["interval"] == "95 %"]
    assert len(known) and ((known["low"] <= known["change"]) & (known["change"] <= known["high"])).all()
    assert table[table["interval"] == "too few samples"][["low", "high"]].isna().all(axis=None)
    assert (abs((table["only B"] - table["only A"]) / table["samples"] - table["change"]) < 1e-9)[
        table["condition"] == "image@linf:1.6"
    ].all()
    same = well(opened(real, "compare", b_model="concat"))
    assert "are the same" in words(same)


def test_gates_and_flags(real: Path, copied: Path, opened: Opened) -> None:
    test = well(opened(real, "trust"))
    assert list(test.dataframe[1].value["verdict"]) == ["inconclusive", "pass"]
    raised = well(opened(real, "trust", raised="true"))
    assert set(raised.dataframe[0].value["raised"]) == {True}
    buttons = [each.proto.popover.label for each in raised.get("popover")]
    assert set(buttons) == set(raised.dataframe[0].value["flag"]) and "What to do:" in words(raised)
    (copied / "first" / "gates.json").unlink()
    assert "python -m harness gate" in words(well(opened(copied, "trust")))
    (copied / "first" / "gates.json").write_text("[1]")
    assert "gates.json cannot be read" in words(opened(copied, "trust"))
