"""The names of the registered models and recipes of a folder, so that a new one is tested by
existing.
"""

from harness.references.registry import Kind, names


def names_in(folder: str, kind: Kind = "model") -> list[str]:
    """The names whose objects stand in a folder, such as `harness.models.counting`."""
    return [name for name, place in names(kind).items() if place.startswith(f"{folder}.")]
