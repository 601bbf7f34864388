"""The engine of a run: it loads models and tasks, plans the work, and searches and sweeps each
cell.
"""
