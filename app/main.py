"""The dashboard: `streamlit run` starts here. Pages read runs; nothing is written."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

from app.view import addresses, looked_up, plain

HERE = Path(__file__).parent
if str(Path.cwd()) not in sys.path:
    # a run may name a task in the current folder; last on the path, it cannot hide our packages
    sys.path.append(str(Path.cwd()))
PAGES = {
    "overview": "Overview",
    "worst": "Worst case",
    "average": "Average case",
    "samples": "Samples",
    "compare": "Compare",
    "trust": "Trust and gates",
}  # without icons: the browser would fetch them from elsewhere, for the page's tab
AGAIN = 10  # seconds between two looks at a run that is being written


def skipped() -> None:
    """Name the directories that could not be read, and why."""
    if broken := [run for run in looked_up(addresses()) if run.problem]:
        with st.sidebar.expander(f"{len(broken)} skipped", icon=":material/warning:", expanded=True):
            for run in broken:
                st.warning(f"**{plain(run.label)}**: {plain(run.problem)}")


@st.fragment(run_every=AGAIN)
def follow(stamps: list[str]) -> None:
    """Draw the page again when a run that is being written has grown."""
    if stamps != [run.stamp for run in looked_up(addresses())]:
        st.rerun()


st.set_page_config("Robustness", layout="wide")
chosen = st.navigation(
    [
        st.Page(HERE / "screens" / f"{name}.py", title=title, url_path=name, default=name == "overview")
        for name, title in PAGES.items()
    ]
)
chosen.run()
skipped()
if any(run.running for run in looked_up(addresses()) if not run.problem):
    follow([run.stamp for run in looked_up(addresses())])
