"""The programs in examples/."""

import runpy
import shutil
from pathlib import Path

import pytest
import soundfile

import chirrup
from chirrup import tokens
from token_samples import in_turn

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"


def test_a_language_model_is_trained_and_sampled(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    codec = chirrup.load()
    shutil.copy(CLIP, tmp_path)
    settings = tokens.settings_of(codec, 1000, "npz")
    tokens.tokenize([str(tmp_path)], tmp_path / "tokens", codec, settings, in_turn)
    main = runpy.run_path(str(EXAMPLES / "token_language_model.py"))["main"]
    out = tmp_path / "sample.wav"
    options = ["--steps", "8", "--batch", "4", "--frames", "20", "--out", str(out)]
    bits = main([str(tmp_path / "tokens"), *options, "--seconds", "0.3", "--prompt", "0.5"])
    assert 5 < bits < 10
    assert soundfile.info(out).frames == 40 * codec.frame_samples - codec.delay_samples
    assert "bits a code; codes without a model have 10" in capsys.readouterr().out
