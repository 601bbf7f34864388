"""The command line: ``python -m harness VERB``. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="How a multimodal model fails: under attack on one input or several, and when inputs go missing.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

Many = list[str]
DataRoot = Annotated[str | None, typer.Option(help="The folder of data sets, one folder each. [$ROBUSTNESS_DATA]")]
INTERRUPTED = 130


@app.command()
def evaluate(
    task: Annotated[str | None, typer.Option(help="What to test on: a name or file.py:object. [digits]")] = None,
    data_root: DataRoot = None,
    model: Annotated[Many | None, typer.Option(help="A model under test; may be repeated. [early, concat, mean, late]")] = None,
    scenario: Annotated[Many | None, typer.Option(help="An attack, as 'image@linf:8/255 + text@missing'; may be repeated.")] = None,
    frontier: Annotated[Many | None, typer.Option(help="Two modalities, image,audio: five scenarios; may be repeated.")] = None,
    schedule: Annotated[Many | None, typer.Option(help="Missing modalities, name:rate,rate,...; may be repeated.")] = None,
    corruption: Annotated[Many | None, typer.Option(help="As 'image@noise:0,1,3,5' or 'image@noise'; may be repeated.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Draws of each schedule or corruption at each level. [3]")] = None,
    search: Annotated[str | None, typer.Option(help="fast, standard, thorough or none. [standard]")] = None,
    attack: Annotated[
        Many | None, typer.Option(help="Follows the search at strength 1, as 'torchattacks:APGD?steps=50'; may be repeated.")
    ] = None,
    samples: Annotated[str | None, typer.Option(help="How many test samples, or 'all'. [100]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random. [0]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples attacked at once. [64]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. [auto]")] = None,
    precision: Annotated[str | None, typer.Option(help="What the search computes in, float32 or bf16; it verifies in float32.")] = None,
    compile: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Search with a compiled twin of the model; first steps take long. [no]")
    ] = None,
    limit: Annotated[float | None, typer.Option(help="The largest strength searched. [8]")] = None,
    witnesses: Annotated[str | None, typer.Option(help="Samples whose adversarial inputs are kept: none, a count or all. [8]")] = None,
    budget: Annotated[str | None, typer.Option(help="Stop cleanly after this time (90s, 5m, 2h); the same command goes on.")] = None,
    trust: Annotated[
        bool | None, typer.Option("--trust/--no-trust", help="Check how far each worst-case number can be trusted. [trust]")
    ] = None,
    out: Annotated[str | None, typer.Option(help="The run directory, a path or URL. [runs/TASK-ID]")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file with any of these keys; flags win.")] = None,
) -> None:
    """Find each sample's critical strength under every scenario, and the score as modalities go missing or get corrupted."""
    flags = {key: value for key, value in locals().items() if key != "config"}
    from rich.console import Console

    from harness.config import resolve
    from harness.evaluate import evaluate as run

    sys.exit(run(resolve(config, flags), _console(Console)))


@app.command()
def train(
    model: Annotated[str, typer.Option(help="The model: a name or file.py:object.")],
    task: Annotated[str, typer.Option(help="What to train on.")] = "digits",
    data_root: DataRoot = None,
    recipe: Annotated[str, typer.Option(help="How to train; options of a recipe as in 'byol?momentum=0.99'.")] = "supervised",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="At most so many; the recipe's own number if absent.", min=1)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[str | None, typer.Option(help="The checkpoint. [checkpoints/TASK/MODEL.safetensors]")] = None,
    train_missing: Annotated[
        Many | None,
        typer.Option(help="A share of training samples lacks a modality, 'audio:0,0.9' or 'mcar:0.3'; a checkpoint per rate; repeatable."),
    ] = None,
    train_samples: Annotated[int | None, typer.Option(help="Of the training split, chosen by the seed; all if absent.", min=1)] = None,
) -> None:
    """Train a model by a recipe; write a checkpoint that --model takes, and its card."""
    from rich.console import Console

    from harness.tasks.dataroot import use
    from harness.train import Training
    from harness.train import train as run

    use(data_root)
    run(Training(task, model, recipe, seed, epochs, device, out, tuple(train_missing or ()), train_samples), _console(Console))


@app.command("list")
def list_names(as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False) -> None:
    """Show every task, model, recipe, search, attack, schedule and corruption there is, and how scenarios are written."""
    from harness.listing import as_object, as_text

    print(as_object() if as_json else as_text())


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    html: Annotated[str | None, typer.Option(help="Where to write the page. [RUN/report.html]")] = None,
) -> None:
    """Print a run's table again, and write its curves as one self-contained HTML page."""
    from rich.console import Console

    from harness.report import write_report
    from harness.rundir import RunDirectory
    from harness.summary import printed, printed_measures, summarise

    directory, console = RunDirectory(run), _console(Console)
    summary = summarise(directory)
    console.print(printed(summary))
    console.print(printed_measures(directory, summary.models))
    console.print(f"curves in {write_report(directory, html)}", soft_wrap=True, markup=False)


@app.command()
def verify(run: Annotated[str, typer.Argument(help="A run directory.")], data_root: DataRoot = None) -> None:
    """Re-check every stored witness of a run from disk; exit 3 if one fails."""
    from harness.rundir import RunDirectory
    from harness.tasks.dataroot import use
    from harness.verify import recheck

    use(data_root)
    checked = list(recheck(RunDirectory(run)))
    failed = [claim for claim, holds in checked if not holds]
    for claim in failed:
        print(f"does not hold: {claim}")
    print(f"{len(checked)} witnesses re-checked, {len(checked) - len(failed)} hold")
    sys.exit(3 if failed else 0)


@app.command()
def reproduce(
    study: Annotated[str, typer.Argument(help="fusion, missing, counting or contrastive.")],
    small: Annotated[bool, typer.Option("--small", help="A few minutes: everything runs, its numbers mean nothing.")] = False,
    work: Annotated[str, typer.Option(help="Where checkpoints and runs are kept; a trial found there is not done again.")] = "results",
    page: Annotated[str | None, typer.Option(help="The page. [docs/results/STUDY.md; small: WORK/STUDY-small/STUDY.md]")] = None,
    only: Annotated[Many | None, typer.Option(help="One of the study's settings, as digits or '10 %'; may be repeated. [all]")] = None,
    jobs: Annotated[int | None, typer.Option(help="Trials at a time. [one per core; on a GPU 1]", min=1)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    data_root: DataRoot = None,
) -> None:
    """Train and evaluate what a study of the lecture needs, over seeds, and write its tables; go on where it stopped."""
    from rich.console import Console

    from harness.reproduce import Wish
    from harness.reproduce import reproduce as run
    from harness.tasks.dataroot import use

    use(data_root)
    run(Wish(study, small, work, page, tuple(only or ()), jobs, device), _console(Console))


@app.command()
def dashboard(
    runs: Annotated[Many | None, typer.Argument(help="Folders of runs, or runs; paths or URLs. [runs]")] = None,
    port: Annotated[int | None, typer.Option(help="The port of localhost to serve on. [the first free one from 8501]")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser. [browser]")] = True,
    data_root: DataRoot = None,
) -> None:
    """Look at runs in a browser, also while they are being written; nothing is changed, and only this machine is served."""
    from harness.dashboard import serve

    serve(runs or [], port, browser, data_root)


@app.command()
def init(path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("harness.yaml")) -> None:
    """Write a commented configuration, to be run with `evaluate --config`."""
    from attacks.errors import BadInput
    from harness.config import Evaluation, dump

    if path.exists():
        raise BadInput(f"{path} exists already: name another file, or remove it")
    try:
        path.write_text(dump(Evaluation()))
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None
    print(f"{path} written; run it with: python -m harness evaluate --config {path}")


def _console(console: Any) -> Any:
    """As wide as the terminal; where there is none, as wide as any table: nothing is cut off."""
    return console() if sys.stdout.isatty() else console(width=100_000)


def main() -> None:
    """Run the command line; see design.md for the exit codes."""
    from attacks.errors import BadInput

    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # what it makes of Ctrl-C
            raise KeyboardInterrupt
    except BadInput as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        resumed = "; the same command goes on where it stopped" if sys.argv[1:2] in (["evaluate"], ["reproduce"]) else ""
        print(f"interrupted{resumed}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
            sys.exit(2)
        if hasattr(error, "format_message"):  # a usage error of the command line's own
            _refuse(error.format_message())
        raise


def _refuse(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
