"""`attacks` is a library of its own: its README's example runs with nothing of the harness
imported.
"""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "attacks" / "README.md"


def test_the_readme_example_runs(elsewhere: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text(), re.S)
    assert example is not None
    assert len(example[1].strip().splitlines()) <= 10
    check = (
        "\nimport sys\nassert not any(name.split('.')[0] in ('harness', 'defenses', 'app') for name in sys.modules)\n"
    )
    check += "assert found.strength.isfinite().all() and (found.strength > 0).any()\n"
    answer = subprocess.run([sys.executable, "-c", example[1] + check], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
