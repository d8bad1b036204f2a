"""Metrics that are networks with weights in a package: DNSMOS, DistillMOS, speaker similarity.

The networks are trained on ratings of other clips, by listeners or by a larger network. The score
of a codec that was trained with one of these networks is biased.

DistillMOS and Resemblyzer import packages that scoring does not use: torchaudio, whose PyPI build
cannot be imported with a CPU build of torch, and webrtcvad, which must be compiled. `stand_ins`
replaces both during the import, so neither is needed.
"""

import contextlib
import io
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from chirrup.evaluate.metrics.metric import (
    BLANK,
    Metric,
    Unavailable,
    at_rate,
    is_silent,
    package,
    stand_ins,
)
from chirrup.evaluate.metrics.spectral import magnitudes, mel_filters

RATE_HZ = 16_000
SHORTEST_S = 1.0
"""Shorter clips are blank: the networks were not trained on them, and repeat or pad them."""

DNSMOS_SAMPLES = 144_160
DNSMOS_OVERALL = np.poly1d([-0.06766283, 1.11546468, 0.04602535])

EXTRA = "chirrup[eval]"
EXTRA_ALL = "chirrup[eval-all]"


def dnsmos(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """DNSMOS P.835, the overall score (OVRL), by the network in the ``speechmos`` package.

    The score is the mean over windows of 9.01 s, a second apart; a shorter clip is repeated. The
    package's own script, which needs librosa, does the same, except that a rounding error skips
    some windows of clips over 16 s.

    Rate: 16 kHz. Reference: not used. Range: 1 to 5, in practice up to about 3.6, higher is
    better. A missing upper band does not change it. Blank: the decoded signal is digital silence,
    or shorter than 1 s.
    Source: Reddy et al., "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric
    to evaluate noise suppressors", ICASSP 2022.
    """
    session = load_dnsmos()
    if not _scorable(decoded, sample_rate_hz):
        return BLANK
    audio = at_rate(decoded, sample_rate_hz, RATE_HZ)
    while len(audio) < DNSMOS_SAMPLES:
        audio = np.append(audio, audio)
    seconds = max(1, len(audio) // RATE_HZ - 9)
    pieces = [
        audio[start : start + DNSMOS_SAMPLES]
        for start in range(0, seconds * RATE_HZ, RATE_HZ)
        if start + DNSMOS_SAMPLES <= len(audio)
    ]
    raw = [session.run(None, {"input_1": x[None].astype(np.float32)})[0][0][2] for x in pieces]
    return float(np.mean(DNSMOS_OVERALL(np.array(raw, dtype=np.float64))))


def distillmos(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """DistillMOS: an estimate of the mean opinion score by the network in the ``distillmos``
    package, which is distilled from a larger one. The network scales each window to a peak of 1.

    Rate: 16 kHz. Reference: not used. Range: 1 to 5, higher is better. Blank: the decoded signal
    is digital silence, or shorter than 1 s.
    Source: Stahl and Gamper, "Distillation and pruning for scalable self-supervised
    representation-based speech quality assessment", ICASSP 2025.
    """
    torch, model = load_distillmos()
    if not _scorable(decoded, sample_rate_hz):
        return BLANK
    audio = at_rate(decoded, sample_rate_hz, RATE_HZ).astype(np.float32)
    with torch.inference_mode():
        return float(model(torch.from_numpy(audio[None])))


def speaker_similarity(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Cosine of the speaker embeddings of reference and decoded, by ``Resemblyzer`` (GE2E).

    A clip below -30 dBFS is raised to this level, as in the package. Pauses are not trimmed, unlike
    in the package, so that both signals keep the same parts.

    Rate: 16 kHz. Reference: needed. Range: 0 to 1, higher is better; two speakers have about 0.5
    to 0.7. Blank: either is digital silence, or the clip is shorter than 1 s.
    Source: Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP 2018.
    """
    encoder, normalize_volume = load_speaker_encoder()
    if not all(_scorable(audio, sample_rate_hz) for audio in (reference, decoded)):
        return BLANK
    a, b = (
        encoder.embed_utterance(
            normalize_volume(
                at_rate(audio, sample_rate_hz, RATE_HZ).astype(np.float32), -30, increase_only=True
            )
        )
        for audio in (reference, decoded)
    )
    return float(np.dot(a, b))


def _scorable(audio: np.ndarray, sample_rate_hz: int) -> bool:
    return not is_silent(audio) and len(audio) >= SHORTEST_S * sample_rate_hz


@cache
def load_dnsmos() -> Any:
    spec = find_spec("speechmos")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"speechmos is not installed; pip install '{EXTRA}'")
    path = Path(spec.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    runtime = package("onnxruntime", EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@cache
def load_distillmos() -> tuple[Any, Any]:
    """Return torch, as the package imports it, and the network."""
    with stand_ins(torchaudio=ModuleType("torchaudio")):
        module = package("distillmos.sqa", EXTRA_ALL)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # The warning is about one of torch's faster paths, which needs an even number of heads.
        warnings.filterwarnings("ignore", "enable_nested_tensor is True", UserWarning)
        return module.torch, module.ConvTransformerSQAModel().eval()


@cache
def load_speaker_encoder() -> tuple[Any, Any]:
    """Return the network, and the package's function that sets the level."""
    librosa = ModuleType("librosa")
    librosa.__dict__["feature"] = SimpleNamespace(melspectrogram=mel_power)
    stand_in = stand_ins(librosa=librosa, webrtcvad=ModuleType("webrtcvad"))
    with stand_in, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*scipy.ndimage", DeprecationWarning)
        module = package("resemblyzer", EXTRA_ALL)
    return module.VoiceEncoder("cpu", verbose=False), package(
        "resemblyzer.audio", EXTRA_ALL
    ).normalize_volume


def mel_power(y: np.ndarray, sr: int, n_fft: int, hop_length: int, n_mels: int) -> np.ndarray:
    """Compute ``librosa.feature.melspectrogram`` as Resemblyzer calls it: power ``[mels, frames]``
    of centred windows, with zeros beyond the edges."""
    spectra = np.concatenate(list(magnitudes(np.pad(y, n_fft // 2), n_fft, hop_length)))
    return mel_filters(sr, n_fft, n_mels) @ np.square(spectra).T


DNSMOS = Metric("dnsmos", "DNSMOS", "", "higher", 2, RATE_HZ, False, 1, 5, dnsmos)
DISTILLMOS = Metric("distillmos", "DistillMOS", "", "higher", 2, RATE_HZ, False, 1, 5, distillmos)
SPEAKER = Metric(
    "speaker_similarity", "speaker sim.", "", "higher", 2, RATE_HZ, True, 0, 1, speaker_similarity
)
METRICS = {
    DNSMOS: load_dnsmos,
    DISTILLMOS: load_distillmos,
    SPEAKER: load_speaker_encoder,
}
