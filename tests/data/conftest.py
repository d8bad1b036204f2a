"""Sources and a corpus that is prepared from them."""

from pathlib import Path

import numpy as np
import pytest

from chirrup.data.prepare import prepare
from data_samples import here, noise, room, talk, write
from prepared import FACTS, recipe


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Sources with six speakers of two talks, four noises and a stereo room response."""
    root = tmp_path_factory.mktemp("sources")
    for speaker in range(6):
        for number in range(2):
            audio = talk(2.5, seed=10 * speaker + number) + 3e-4 * noise(2.5, seed=speaker)
            write(root / "talks" / f"speaker{speaker}" / f"{number}.wav", audio)
    for number in range(4):
        write(root / "noises" / f"kind{number % 2}" / f"{number}.wav", noise(2, seed=number))
    both = np.stack([room(0.3, delay=20), 0.5 * room(0.3, seed=1, delay=20)], axis=1)
    write(root / "rooms" / "hall.wav", 0.5 * both)
    return [f"speech:{root}/talks", f"noise:{root}/noises", f"rooms:{root}/rooms"]


@pytest.fixture(scope="module")
def corpus(sources: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "out"
    prepare(sources, folder, recipe(), here, facts=FACTS)
    return folder
