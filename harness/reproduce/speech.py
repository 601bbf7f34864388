"""The study of speech: does the mouth help, and which fusion of it helps most?"""

from __future__ import annotations

from collections.abc import Mapping

from harness.reproduce.conditions import verdict, write_costs, write_differences, write_scores
from harness.reproduce.page import Page, of_seeds
from harness.reproduce.results import Results
from harness.reproduce.setting import Effort, Setting, System
from harness.reproduce.study import Study

METRIC, WHAT, EVENLY = "si_sdr_improvement", "SI-SDR improvement in dB", "scheduled"
ALONE = System("audio only", "speech-audio", EVENLY)
MMTM = System("MMTM", "speech-mmtm", EVENLY)
UNTIMED = System("MMTM, gates of all frames alike", "speech-mmtm?per_frame=false", EVENLY)
HOU = System("Hou 2017 (AVDCNN)", "avdcnn", "avdcnn")
OTHERS = (System("early fusion", "speech-early", EVENLY), System("late fusion", "speech-late", EVENLY), HOU, UNTIMED)
DEFENDED = System("MMTM, multi-source training", "speech-mmtm", "multi-source-adversarial?epochs=8&steps=3")
MEASURES = ("si_sdr_improvement", "si_sdr", "stoi", "stoi_undefined", "pesq_nb", "pesq_nb_undefined")
LOUDEST = "0 dB"


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    page.paragraph(
        "SI-SDR improvement is the scale-invariant signal-to-distortion ratio of the answer minus that of the noisy"
        " sound. STOI and PESQ are those of the packages pystoi and pesq; PESQ is a MOS-LQO, narrow band, and not the"
        " raw score of P.862 that older papers print. A column that ends in `undefined` has the share of the sounds"
        " that are too short for the measure, or whose answer is silent.",
    )
    for name, result in results.items():
        page.heading(name)
        page.paragraph(
            f"{WHAT} on `{result.task.name}`, {result.seeds}: the mean over seeds ± the standard deviation.",
            f"{result.measured(MMTM.name).shape[1]} test strings, {result.effort.attacked_by} at strength 1."
            f" {result.task.note.capitalize()}.",
        )
        write_scores(result, result.measured, WHAT, page, name)
        others = [each.name for each in (ALONE, *OTHERS)]
        write_differences(result.measured, [MMTM.name, HOU.name], others, WHAT, page, "dB")
        page.paragraph(verdict(result.measured, MMTM.name, others))
        _in_loud_noise(result, page)
        write_costs(result, result.measured, WHAT, page)


def _in_loud_noise(result: Results, page: Page) -> None:
    page.paragraph(f"On all test strings at {LOUDEST}, untouched:")
    kinds = [each for each in MEASURES if result.knows(MMTM.name, each)]
    page.table(
        ["", *kinds],
        [
            [each.name, *(of_seeds(result.metric(each.name, f"{kind}_{LOUDEST}")) for kind in kinds)]
            for each in result.setting.systems
        ],
    )


SYSTEMS = (MMTM, ALONE, *OTHERS, DEFENDED)
USUAL = Effort(samples=60, attack="apgd?steps=20")
SPEECH = Study(
    "speech",
    {
        "speech": Setting("speech", SYSTEMS, USUAL, METRIC),
        "fsdd-noise": Setting("fsdd-noise", SYSTEMS, USUAL, METRIC),
    },
    write,
)
