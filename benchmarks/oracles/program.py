"""Balls as rows of a linear program: the columns are the strength t, the changes δ of all
modalities, and what L1 needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from attacks.scenario import Ball, Scenario

Array = NDArray[np.float64]
GAP = 1e-5  # relative, between the bounds of a mixed-integer program
PATIENCE = 30.0  # seconds for one program
OPTIMAL, INFEASIBLE = 0, 2
SLACK = 1 + 1e-6  # on a strength that has a witness


@dataclass(eq=False)
class Program:
    """Minimise t over rows ≤ most, low ≤ columns ≤ high, some of them whole numbers.

    Attributes:
        rows, most: one entry a row; rows may be shorter than the columns are many.
    """

    rows: list[Array]
    most: list[float]
    low: Array
    high: Array
    whole: Array

    @staticmethod
    def of(scenario: Scenario, widths: Mapping[str, int], low: Array, high: Array, cap: float) -> Program:
        """t from 0 to `cap`, then δ (F,) from low to high, modality by modality; what is not
        attacked stays.
        """
        balls = {ball.modality: ball for ball in scenario.attacked}
        still = np.concatenate([np.full(width, name not in balls) for name, width in widths.items()])
        ends = (np.concatenate([[0.0], np.where(still, 0.0, low)]), np.concatenate([[cap], np.where(still, 0.0, high)]))
        program, start = Program([], [], *ends, np.zeros(len(low) + 1)), 1
        for name, width in widths.items():
            if name in balls:
                program.bound(balls[name], np.arange(start, start + width))
            start += width
        return program

    def bound(self, ball: Ball, places: Array) -> None:
        """‖δ‖ ≤ t · radius for the columns at some places."""
        if ball.norm_name == "linf":
            for place in places:
                self.at_most({place: 1.0, 0: -ball.radius}, 0.0)
                self.at_most({place: -1.0, 0: -ball.radius}, 0.0)
            return
        assert ball.norm_name == "l1", "a linear program knows L∞ and L1"
        sizes = self.add(np.zeros(len(places)), np.full(len(places), np.inf))
        for place, size in zip(places, sizes, strict=True):
            self.at_most({place: 1.0, size: -1.0}, 0.0)
            self.at_most({place: -1.0, size: -1.0}, 0.0)
        self.at_most({**dict.fromkeys(sizes, 1.0), 0: -ball.radius}, 0.0)

    def add(self, low: Array, high: Array, whole: bool = False) -> Array:
        """New columns; their places."""
        places = np.arange(len(self.low), len(self.low) + len(low))
        self.low, self.high = np.concatenate([self.low, low]), np.concatenate([self.high, high])
        self.whole = np.concatenate([self.whole, np.full(len(low), float(whole))])
        return places

    def at_most(self, entries: Mapping[int, float], most: float) -> None:
        row = np.zeros(len(self.low))
        row[list(entries)] = list(entries.values())
        self.rows.append(row)
        self.most.append(most)

    def solve(self) -> float:
        """The smallest t; inf where there is none up to the cap, nan where patience ended."""
        matrix = np.zeros((len(self.rows), len(self.low)))
        for number, row in enumerate(self.rows):
            matrix[number, : len(row)] = row
        goal = np.eye(1, len(self.low))[0]
        solved = milp(
            goal,
            integrality=self.whole,
            bounds=Bounds(self.low, self.high),
            constraints=LinearConstraint(matrix, ub=np.array(self.most)),
            options={"mip_rel_gap": GAP, "time_limit": PATIENCE},
        )
        return float(solved.fun) if solved.status == OPTIMAL else np.inf if solved.status == INFEASIBLE else np.nan
