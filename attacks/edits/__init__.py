"""Edits: changes that no norm measures.

A strength t of ``patch:r`` or ``tokens:r`` allows an edit of size t · r.

Sizes in whole numbers (tokens, L0, pixels, channels, time steps) are rounded down.
"""

from __future__ import annotations

from attacks.edits.air import OverTheAir
from attacks.edits.edit import Edit, Place, Ranked, Turn
from attacks.edits.patch import PATCH, UNIVERSAL
from attacks.edits.shift import TimeShift
from attacks.edits.sparse import DeadPixels, Features, StuckChannels
from attacks.edits.tokens import Tokens

__all__ = ["EDITS", "Edit", "Place", "Ranked", "Turn"]

EDITS: dict[str, Edit] = {
    edit.name: edit
    for edit in (Tokens(), Features(), PATCH, UNIVERSAL, OverTheAir(), DeadPixels(), StuckChannels(), TimeShift())
}
