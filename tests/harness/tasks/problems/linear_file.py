"""The file of a user who evaluates a linear task."""

FILE = """
from tests.harness.tasks.problems import linear_tasks
def task(): return linear_tasks.TASKS["{name}"]()
def build(task): return linear_tasks.MODELS["{name}"]()
"""
