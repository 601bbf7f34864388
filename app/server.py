"""The dashboard as a server: `streamlit run` starts here. The pages begin in `main`."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from app.guard import Guard

app = st.App(Path(__file__).with_name("main.py"), middleware=[Middleware(Guard)])
