"""Write the codes with which `chirrup doctor` compares, into the folders of the shipped models.

It chooses an excerpt of the bundled clip whose codes do not depend on rounding: they are equal in
both engines, and with noise 120 dB below full scale.
"""

import argparse
import json

import numpy as np

from chirrup.codec import Codec
from chirrup.installation.self_test import LEVEL_DB, STORED, excerpt, measure
from chirrup.zoo import FOLDER, load, models

STARTS = range(12_000, 120_000, 3000)
NOISE = 1e-6


def engines(name: str) -> list[Codec]:
    """Return the model in each engine that can run it here."""
    first = load(name)
    return [first, load(name, engine="onnx")] if first.engine == "native" else [first]


def stable(codecs: list[Codec], start: int) -> dict[str, object] | None:
    """Return the content of the file for an excerpt, or None if its codes depend on rounding."""
    audio = excerpt(codecs[0], start)
    codes, levels_db = measure(codecs[0], audio)
    noise = NOISE * np.random.default_rng(0).standard_normal(audio.shape).astype(np.float32)
    for codec in codecs:
        for signal in (audio, audio + noise):
            others, others_db = measure(codec, signal)
            if (others != codes).any() or np.abs(others_db - levels_db).max() > LEVEL_DB / 2:
                return None
    rounded = [round(float(level), 2) for level in levels_db]
    return {"start": start, "codes": codes.tolist(), "levels_db": rounded}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="*", help="models; by default all")
    for name in parser.parse_args().model or models():
        codecs = engines(name)
        found = next(filter(None, (stable(codecs, start) for start in STARTS)), None)
        if found is None:
            raise SystemExit(f"{name}: the codes of every excerpt depend on rounding")
        path = FOLDER / name / STORED
        path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
        print(f"{path}: {path.stat().st_size} bytes, from sample {found['start']} on")


if __name__ == "__main__":
    main()
