"""The presets of the search: for a first look, for numbers to report, and for important numbers."""

from __future__ import annotations

from attacks.bracket import CROSS_ENTROPY, DLR, MARGIN, NEAREST, SECOND, THIRD, Bracket, Move, Start, Walks

# of what the presets find: raise it with a change that moves critical strengths; records of
# studies hold it
VERSION = 4

FAST = Bracket(
    "DeepFool, FMN-20, then APGD-10 below: a first look, about 35 gradients a scenario",
    descents=(2, 2),
    walks=Walks((NEAREST,), (20, 10)),
    l1_walks=Walks((NEAREST,), (28, 10), 12),
    moves=(Move(CROSS_ENTROPY, Start.RANDOM),),
    warm=(1, 1),
    steps=10,
    rounds=2,
    opening=0.95,
    polishes=4,
    edits=(10, 4),
    ladder=160,
)
STANDARD = Bracket(
    "DeepFool at three classes, FMN in two ways, then APGD-12 below: for numbers to report, about 70 gradients a"
    " scenario",
    descents=(3, 3),
    walks=Walks((NEAREST, DLR), (28, 15)),
    l1_walks=Walks((NEAREST, MARGIN), (38, 15), 12),
    moves=(Move(CROSS_ENTROPY, Start.RANDOM),),
    warm=(1, 1),
    steps=12,
    rounds=3,
    opening=0.95,
    polishes=4,
    edits=(20, 6),
    ladder=560,
)
THOROUGH = Bracket(
    "DeepFool at five classes, FMN-100 in four ways, then APGD-50 below in seven: for important numbers",
    descents=(5, 5),
    walks=Walks((NEAREST, DLR, SECOND, THIRD), (100, 60)),
    l1_walks=Walks((NEAREST, MARGIN, SECOND, THIRD), (100, 60), 60),
    moves=(
        Move(CROSS_ENTROPY, Start.RANDOM),
        Move(CROSS_ENTROPY, Start.WITNESS),
        Move(MARGIN, Start.RANDOM),
        Move(DLR, Start.RANDOM),
        Move(NEAREST, Start.CLEAN),
        Move(SECOND, Start.RANDOM),
        Move(THIRD, Start.RANDOM),
    ),
    warm=(4, 7),
    steps=50,
    rounds=4,
    opening=0.95,
    polishes=8,
    edits=(50, 12),
    ladder=2400,
)
