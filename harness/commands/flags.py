"""The flags of `evaluate`, made from the fields of its configuration. Each field declares the name,
the type, the help and the default of its flag.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer
from pydantic.fields import FieldInfo

from harness.run.config import Evaluation


def evaluation(called: Callable[[dict[str, Any]], None]) -> Callable[..., Any]:
    """A command with `--config` and a flag for each field of `Evaluation`. It passes the values of
    all flags to `called`, None for flags that are not given.
    """

    def evaluate(**options: Any) -> None:
        called(options)

    flags = {name: _flag(field, name) for name, field in Evaluation.model_fields.items()}
    flags["config"] = Annotated[
        Path | None, typer.Option(help="A YAML file with any of these options as keys; flags override it.")
    ]
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=each)
        for name, each in flags.items()
    ]
    evaluate.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    evaluate.__annotations__ = flags
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(
        help="Find the critical strength of each sample, and measure the score with modalities missing or corrupted."
    )(evaluate)
    return typer.main.get_command(app)


def _flag(field: FieldInfo, name: str) -> Any:
    text, default = str(field.description), _shown(field.default)
    words = f"{text[0].upper()}{text[1:]}.{f' [{default}]' if default else ''}"
    if field.annotation is bool:
        flag = name.replace("_", "-")
        return Annotated[bool | None, typer.Option(f"--{flag}/--no-{flag}", help=words)]
    if get_origin(field.annotation) is tuple:
        return Annotated[list[str] | None, typer.Option(help=words, metavar="<str>")]
    return Annotated[
        field.annotation | None if field.annotation in (int, float) else str | None, typer.Option(help=words)
    ]


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ", ".join(default)
    return "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
