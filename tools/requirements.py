"""Prints a dependency group of pyproject.toml, one requirement a line.

    python tools/requirements.py GROUP

pip reads dependency groups from release 25.1 on only; Debian's is older.
"""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"

if __name__ == "__main__":
    with PYPROJECT.open("rb") as file:
        print("\n".join(tomllib.load(file)["dependency-groups"][sys.argv[1]]))
