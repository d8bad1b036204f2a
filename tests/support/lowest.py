"""Print the lowest versions that pyproject.toml allows, of the package and of the named extras."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][name] for name in sys.argv[1:]]
    for requirement in sorted({*project["dependencies"], *(r for extra in extras for r in extra)}):
        if found := re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)", requirement):
            print(f"{found[1]}=={found[2]}")


if __name__ == "__main__":
    main()
