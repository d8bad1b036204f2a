"""Build the source distribution and the wheels of all platforms: ``python native/wheels.py``.

It needs the packages of the extra ``wheels``.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from hatch_build import ANY, TAGS  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=ROOT / "dist")
    out = parser.parse_args().out
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run([*command, "--sdist"], check=True)
    for target in (*TAGS, ANY):
        environment = os.environ | {"CHIRRUP_TARGET": target}
        subprocess.run([*command, "--wheel"], check=True, env=environment)


if __name__ == "__main__":
    main()
