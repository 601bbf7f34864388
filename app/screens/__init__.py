"""The pages of the dashboard, one file each.

Streamlit has rules of its own for a folder `pages` beside the script it starts.
"""
