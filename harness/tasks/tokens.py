"""Texts that a tokenizer has cut into ids, for models whose vocabulary is too large for a one-hot
matrix.

A text is a matrix of choices (positions, 2 + K), one-hot in each row: column 0 is empty (padding,
or a missing text), column 1 is the original token, and the others are its K replacements. The input
``<name>-candidates`` has the ids of these columns, (positions, 2 + K) per sample; it is passed on,
not attacked. The engine attacks this one-hot text like letters (``text@tokens:2``). No tensor is as
wide as the vocabulary. The corruption `typos` draws among the replacements. `deletion` and `swap`
move rows, which mean other tokens elsewhere, so they are not meaningful here.

The same text as embeddings (positions, width), for balls of a norm, is `embedding_task`. Models
come from `harness.models.outside.huggingface`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput, unknown
from harness.tasks.array_options import Array
from harness.tasks.task import Task
from harness.tasks.tensors import as_tensor

CANDIDATES, ATTENTION, IDS, TYPES = "candidates", "attention", "ids", "token_type_ids"
KEYS = ("input_ids", "attention_mask", TYPES)
BLOCK = 256  # tokens whose similarities to the vocabulary are held at once


def beside(text: str, what: str) -> str:
    """The name of an extra input of a text: `CANDIDATES`, `ATTENTION`, `IDS` or `TYPES`."""
    return f"{text}-{what}"


def token_task(
    encoded: Mapping[str, Any],
    targets: Array,
    replacements: Array,
    *,
    special: Sequence[int],
    pad: int,
    text: str = "text",
    also: Mapping[str, Array] | None = None,
    **options: Any,
) -> Task:
    """Make a task from tokenized texts. An attack replaces tokens.

    >>> special, pad = tokenizer.all_special_ids, tokenizer.pad_token_id
    >>> vectors = network.get_input_embeddings().weight
    >>> near = nearest(vectors, encoded["input_ids"], 8, special)
    >>> token_task(encoded, labels, near, special=special, pad=pad)

    Args:
        encoded: the output of a tokenizer: `input_ids` (N, n), `attention_mask` (N, n; all 1 if
            absent) and, if the model reads them, `token_type_ids` (N, n).
        targets: (N,), see `Task.from_arrays`.
        replacements: (N, n, K) ids that may stand in each token's place; see `nearest`. Its own id
            is not a replacement.
        special: ids that nothing may replace.
        pad: the id that fills the end of texts, and every position of a missing one.
        text: the name of the modality.
        also: further modalities, (N, ...) each.
        options: of `Task.from_arrays`, for the further modalities too.

    Raises:
        BadInput: shapes that do not fit, an input of another name, padding of another id.
    """
    ids, real, extra_inputs = _read(encoded, text)
    near = as_tensor("the array of replacements", replacements)
    if near.ndim != 3 or near.shape[:2] != ids.shape or near.is_floating_point() or not near.shape[2]:
        raise BadInput(
            f"replacements have shape {tuple(near.shape)}: give whole numbers {(*ids.shape, 'K')}, K ids per token"
        )
    if bool((ids[~real] != pad).any()):
        raise BadInput(
            f"padding of {text!r} holds the id {int(ids[~real][ids[~real] != pad][0])}, but pad is {pad}: pass that"
            " id as pad"
        )
    near = torch.where(_free(ids, real, special)[..., None], near.to(ids), ids[..., None])
    candidates = torch.cat([torch.full_like(ids, pad)[..., None], ids[..., None], near], 2)
    own = torch.arange(candidates.shape[2]) == 1
    free = _free(ids, real, special)[..., None] & (own | (candidates != ids[..., None]))
    free[..., 0] = False
    extra_inputs[beside(text, CANDIDATES)] = candidates
    choices = F.one_hot(real.long(), candidates.shape[2]).float()
    blank = F.one_hot(torch.zeros(ids.shape[1], dtype=torch.int64), candidates.shape[2]).float()
    own_options = {"kinds": "text", "ranges": (0, 1), "absent": blank, "valid": real, "editable": free}
    task = _task({text: choices, **(also or {})}, targets, text, own_options, extra_inputs, options)
    return replace(task, note=f"{text}: each token may become one of {near.shape[2]} replacements; special tokens stay")


def embedding_task(
    encoded: Mapping[str, Any],
    targets: Array,
    embedding: Tensor,
    *,
    special: Sequence[int],
    text: str = "text",
    also: Mapping[str, Array] | None = None,
    **options: Any,
) -> Task:
    """Make a task from the embeddings (n, width) of tokenized texts: features without bounds, for
    balls of a norm.

    Padding and special tokens are not attacked. The attention mask is passed as
    ``<name>-attention``, the ids, with which a model's answers are checked before a run, as
    ``<name>-ids``.

    Args:
        embedding: the model's table (vocabulary, width), as `get_input_embeddings().weight`; all
            texts are held embedded.
        encoded, targets, special, text, also, options: as in `token_task`.

    Raises:
        BadInput: shapes that do not fit, an input of another name, an id beyond the table.
    """
    ids, real, extra_inputs = _read(encoded, text)
    _refuse_beyond(ids, embedding)
    extra_inputs |= {beside(text, ATTENTION): real, beside(text, IDS): ids}
    own_options = {"kinds": "features", "valid": real, "editable": _free(ids, real, special)}
    task = _task(
        {text: embedding.detach().cpu().float()[ids], **(also or {})}, targets, text, own_options, extra_inputs, options
    )
    return replace(
        task,
        note=f"{text}: radii are in units of the embedding; an attack may reach points that are not the"
        " embedding of a token",
    )


def nearest(embedding: Tensor, ids: Array, count: int, special: Sequence[int]) -> Tensor:
    """The tokens whose embeddings are nearest by cosine, (N, n, count) ids, nearest first; neither
    the token itself nor a special one.

    Args:
        embedding: the model's table (vocabulary, width).
        ids: (N, n).
        count: how many.
        special: ids that are never proposed.

    Raises:
        BadInput: the vocabulary has fewer, or an id is beyond the table.
    """
    table, known = F.normalize(embedding.detach().float(), dim=1), as_tensor("the array of ids", ids).long()
    _refuse_beyond(known, table)
    most = len(table) - len(set(special)) - 1
    if not 0 < count <= most:
        raise BadInput(f"{count} replacements per token cannot be found: the vocabulary allows 1 to {most}")
    used, where = known.to(table.device).unique(return_inverse=True)
    closest = []
    for block in used.split(BLOCK):
        likeness = table[block] @ table.T
        likeness[:, list(special)] = -torch.inf
        likeness[torch.arange(len(block)), block] = -torch.inf
        closest.append(likeness.topk(count, dim=1).indices)
    return torch.cat(closest)[where].cpu()


def _read(encoded: Mapping[str, Any], text: str) -> tuple[Tensor, Tensor, dict[str, Array]]:
    """Ids (N, n), which of them are real, and the token types, if any."""
    for key in encoded:
        if key not in KEYS:
            raise unknown("input", key, KEYS, where=" of a tokenized text")
    if "input_ids" not in encoded:
        raise BadInput(
            f"a tokenized text needs input_ids, got {', '.join(encoded) or 'nothing'}: pass the output of the tokenizer"
        )
    read = {key: as_tensor(key, encoded[key]) for key in KEYS if key in encoded}
    ids = read["input_ids"]
    for key, x in read.items():
        if x.ndim != 2 or x.shape != ids.shape or x.is_floating_point():
            raise BadInput(
                f"{key} has shape {tuple(x.shape)} of {x.dtype}: give whole numbers (N, n), with padding and"
                " return_tensors='pt'"
            )
    extra_inputs: dict[str, Array] = {beside(text, TYPES): read[TYPES].long()} if TYPES in read else {}
    real = read.get("attention_mask", torch.ones_like(ids)) > 0
    if not bool(real.any(1).all()):
        raise BadInput(
            f"{int((~real.any(1)).sum())} texts of {text!r} have an attention_mask of zeros only: leave them out"
        )
    return ids.long(), real, extra_inputs


def _free(ids: Tensor, real: Tensor, special: Sequence[int]) -> Tensor:
    return real & ~torch.isin(ids, torch.tensor(list(special), dtype=torch.int64))


def _refuse_beyond(ids: Tensor, embedding: Tensor) -> None:
    if bool(((ids < 0) | (ids >= len(embedding))).any()):
        raise BadInput(
            f"ids span {int(ids.min())} to {int(ids.max())}, but the embedding has {len(embedding)} rows: use the"
            " model's"
            " own tokenizer"
        )


def _task(
    inputs: dict[str, Array],
    targets: Array,
    text: str,
    own: dict[str, Any],
    extra_inputs: dict[str, Array],
    options: dict[str, Any],
) -> Task:
    """The task, with the text's own options beside those of other modalities."""
    merged = {key: {text: value, **(options.get(key) or {})} for key, value in own.items()}
    return Task.from_arrays(
        inputs,
        targets,
        **{**options, **merged, "extra_inputs": {**extra_inputs, **(options.get("extra_inputs") or {})}},
    )
