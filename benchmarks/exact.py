"""How far the search is from exact answers: families of small models × norms × presets.

    python benchmarks/exact.py --json exact.json [--families linear,groups] [--presets
    fast,standard,thorough] [--samples-scale 1]

Every sample under every scenario and sub-scenario counts whose exact critical strength is 0.05 to 8
and within the limit. `curve` is the largest distance, in points, of the curve of robust accuracy
from the exact one, at strengths 0.05, 0.10 … 8, over all samples of a line together; `at 1` counts
the samples on the wrong side of strength 1. The families are in benchmarks/families.py, the oracles
in benchmarks/oracles/.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from attacks.presets import FAST, STANDARD, THOROUGH
from attacks.region import Region
from attacks.scenario import Scenario
from attacks.search_state import Found, search_all
from benchmarks.cases import TOP, Case, compared
from benchmarks.families import FAMILIES
from harness.trust.attack_checks import budget
from harness.trust.checks import STRENGTH, Tally
from harness.trust.checks import Case as Checked

PRESETS = {"fast": FAST, "standard": STANDARD, "thorough": THOROUGH}
OFF = 1.02
# a ratio below it is an error of the oracle, or a witness that does not hold; float32 logits
# explain less
WRONG = 1 - 3e-3
SAME = 1 + 1e-5  # a strength this little above a step stands on it
GRID = torch.arange(1, round(TOP / 0.05) + 1, dtype=torch.float64) * 0.05
Key = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Outcome:
    """One scenario of one case under one preset: what was found, the exact strengths, and gradients
    spent; (B,) each.
    """

    family: str
    kind: str
    norms: str
    preset: str
    details: str
    found: Tensor
    exact: Tensor
    gradients: Tensor
    flagged: bool


def outcomes(family: str, case: Case, presets: Iterable[str]) -> Iterator[Outcome]:
    """The searches of all presets, and then the oracle, which may start from the best witness of
    them all.
    """
    found, title = {preset: searched(case, preset) for preset in presets}, case.title
    for scenario in next(iter(found.values())):
        exact = case.exact(scenario, torch.stack([each[scenario].strength for each in found.values()]).amin(0))
        rows = (compared(exact) & (exact <= case.limit)).nonzero().squeeze(1)
        for preset, each in found.items():
            numbers = (each[scenario].strength[rows], exact[rows], each[scenario].gradients[rows])
            flag = flagged(case, scenario, each[scenario])
            yield Outcome(family, title.kind, title.norms, preset, f"{title.details}: {scenario}", *numbers, flag)


def flagged(case: Case, scenario: Scenario, found: Found) -> bool:
    """Whether the harness would flag the search's numbers (`budget`)."""
    region, strengths = Region.of(case.inputs, case.bounds, scenario), found.strength
    tally = Tally(
        len(strengths), 0.0, float((strengths > STRENGTH).double().mean()), float(found.gradients.double().mean())
    )
    checked = Checked(cast(Any, case.objective), region, case.samples, 0, strengths, tally, True, STANDARD)
    return any(flag.raised for flag in budget(checked))


def searched(case: Case, preset: str) -> dict[Scenario, Found]:
    steps = search_all(
        PRESETS[preset],
        case.objective,
        case.inputs,
        case.bounds,
        [case.scenario],
        samples=case.samples,
        limit=case.limit,
    )
    return dict(steps)


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        key: what the line is about, and the preset.
        scenarios, samples: how many scenarios, and samples under scenarios, are in it.
        p50, p95, p999, worst: of the ratios found / exact, where something was found.
        least: the smallest of them, to check the oracle by.
        off: share of the samples more than 2 % above the exact strength, those with nothing found
            included.
        missed: share with nothing found.
        curve: the largest error of the curve of the whole line, in points.
        at_one: samples on the wrong side of strength 1.
        gradients: gradient evaluations per sample and scenario, on the mean.
        flags: scenarios on which the check `budget` raises its flag.
    """

    key: Key
    scenarios: int
    samples: int
    p50: float
    p95: float
    p999: float
    worst: float
    least: float
    off: float
    missed: float
    curve: float
    at_one: int
    gradients: float
    flags: int


def row(key: Key, parts: list[Outcome]) -> Row:
    found, exact, gradients = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("found", "exact", "gradients")
    )
    met = found.isfinite()
    ratio = found[met] / exact[met] if bool(met.any()) else found.new_full((1,), float("inf"))
    p50, p95, p999 = (ratio.quantile(share, interpolation="higher").item() for share in (0.5, 0.95, 0.999))
    off, missed = (mask.double().mean().item() for mask in (found > OFF * exact, ~met))
    at_one = int(((found > SAME) != (exact > SAME)).sum())
    spread = (p50, p95, p999, ratio.max().item(), ratio.min().item())
    flags = sum(part.flagged for part in parts)
    return Row(
        key,
        len(parts),
        len(found),
        *spread,
        off,
        missed,
        curve_error(found, exact),
        at_one,
        gradients.double().mean().item(),
        flags,
    )


def curve_error(found: Tensor, exact: Tensor) -> float:
    """The largest distance of two curves of robust accuracy, in points."""
    curves = [(strength[:, None] > GRID * SAME).double().mean(0) for strength in (found, exact)]
    return 100 * (curves[0] - curves[1]).abs().max().item()


def table(parts: list[Outcome], by: Callable[[Outcome], Key]) -> list[Row]:
    """A row for every key."""
    sorted_out: dict[Key, list[Outcome]] = {}
    for part in parts:
        if len(part.exact):
            sorted_out.setdefault(by(part), []).append(part)
    return [row(key, group) for key, group in sorted_out.items()]


TABLES: dict[str, Callable[[Outcome], Key]] = {
    "families": attrgetter("family", "preset"),
    "rows": attrgetter("kind", "norms", "preset"),
    "scenarios": attrgetter("kind", "norms", "details", "preset"),
}
HEAD = "samples | p50 | p95 | p99.9 | worst | off > 2 % | missed | curve | at 1 | gradients | flags"


def markdown(rows: list[Row]) -> str:
    names = ("kind", "norms", "preset") if len(rows[0].key) == 3 else ("family", "preset")
    return "\n".join([f"| {' | '.join(names)} | {HEAD} |", "|---" * (len(names) + 11) + "|", *map(line, rows)])


def line(each: Row) -> str:
    ratios = f"{each.p50:.4f} | {each.p95:.4f} | {each.p999:.3f} | {each.worst:.3f}"
    shares = f"{100 * each.off:.2f} % | {100 * each.missed:.2f} % | {each.curve:.2f} | {each.at_one}"
    return (
        f"| {' | '.join(each.key)} | {each.samples} | {ratios} | {shares} | {each.gradients:.0f} | {each.flags} of"
        f" {each.scenarios} |"
    )


def measured(families: list[str], presets: list[str], scale: float) -> Iterator[Outcome]:
    for family in families:
        started = time.perf_counter()
        for case in FAMILIES[family](scale):
            yield from outcomes(family, case, presets)
        print(f"{family}: {time.perf_counter() - started:.0f} s", flush=True)


def names_among(choices: Iterable[str]) -> Callable[[str], list[str]]:
    """A reader of names joined by commas."""

    def read(text: str) -> list[str]:
        for name in text.split(","):
            if name not in choices:
                raise argparse.ArgumentTypeError(f"{name!r} is not among {', '.join(choices)}")
        return text.split(",")

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--families", type=names_among(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--presets", type=names_among(PRESETS), default=list(PRESETS))
    parser.add_argument("--samples-scale", type=float, default=1.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = list(measured(options.families, options.presets, options.samples_scale))
    tables = {name: table(parts, by) for name, by in TABLES.items()}
    options.json.write_text(
        json.dumps({name: [asdict(each) for each in rows] for name, rows in tables.items()}, indent=1) + "\n"
    )
    print(f"{markdown(tables['rows'])}\n\n{markdown(tables['families'])}")
    if broken := [each for each in tables["scenarios"] if each.least < WRONG]:
        raise SystemExit(f"{len(broken)} scenarios with a strength below the exact one, such as {broken[0]}")


if __name__ == "__main__":
    main()
