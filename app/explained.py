"""The explanations of checks, each behind a button with its name."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from harness.trust.explained import explanations


def explanations_of(checks: Sequence[str]) -> None:
    """Explain those of the checks that the documentation knows: names in a run come from
    outside.
    """
    known = [name for name in checks if name in explanations()]
    if known:
        with st.container(horizontal=True):
            for name in known:
                st.popover(name, help="What this check tests, and what to do").markdown(explanations()[name])
