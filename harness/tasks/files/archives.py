"""Zip archives: the files that are wanted, and nothing else."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from attacks.errors import BadInput


def unzip(archive: Path, pattern: str, target: Path, least: int) -> int:
    """Write the members whose whole name matches, under the name that the pattern's first group
    catches; return their number.

    The target appears when it is complete. The caught name must be a plain relative path.

    Raises:
        BadInput: the archive is damaged, or has fewer than `least` such members.
    """
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    count = 0
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                found = re.fullmatch(pattern, member.filename)
                if found and not member.is_dir() and ".." not in found[1].split("/"):
                    path = partial / found[1]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(members.read(member))
                    count += 1
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise BadInput(f"{archive} cannot be unpacked: {error}; run the same command again") from None
    if count < least:
        raise BadInput(f"{archive} has {count} of at least {least} files {pattern}: put them into {target} by hand")
    if target.exists():  # a folder that other archives have filled
        for path in sorted(partial.rglob("*")):
            if path.is_file():
                (target / path.relative_to(partial)).parent.mkdir(parents=True, exist_ok=True)
                path.replace(target / path.relative_to(partial))
        shutil.rmtree(partial)
    else:
        partial.replace(target)
    return count
