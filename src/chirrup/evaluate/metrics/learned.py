"""Metrics by trained networks whose weights come with a package: DNSMOS, DistillMOS, speaker
similarity.

They have learned what people, or a larger network, said of other clips. A codec that was trained
on one of them must not be judged by it.

DistillMOS and Resemblyzer import packages at their top that scoring does not use: torchaudio
(whose PyPI build does not import beside a CPU build of torch), webrtcvad (which has to be
compiled). Modules of our own stand in for these during the import, so neither is needed.
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
"""None of the three was trained on less; they would repeat or pad it."""

DNSMOS_SAMPLES = 144_160
DNSMOS_OVERALL = np.poly1d([-0.06766283, 1.11546468, 0.04602535])

EXTRA = "chirrup[eval]"
EXTRA_ALL = "chirrup[eval-all]"


def dnsmos(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """DNSMOS P.835, the overall score (OVRL), by the network in the ``speechmos`` package.

    Each 9.01 s of the clip, a second apart, is scored and the scores averaged; a shorter clip is
    repeated. This is as in the package, whose own script would need librosa; only, that one loses
    some of the pieces of clips over 16 s to a rounding error.

    Rate: 16 kHz. Reference: not used. Range: 1 to 5, in practice up to about 3.6, higher is
    better. It does not see a missing upper band. Blank: the decoded signal is digital silence, or
    shorter than 1 s.
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
    """DistillMOS: the mean opinion score that a large quality model would give, by the small one
    in the ``distillmos`` package. It sets each piece's peak to 1 itself.

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

    A clip below -30 dBFS is raised to it, as the package does; its trimming of pauses is left out,
    so that both signals keep the same stretches.

    Rate: 16 kHz. Reference: needed. Range: 0 to 1, higher is better; two speakers give about 0.5
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
    runtime = package("onnxruntime", "onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@cache
def load_distillmos() -> tuple[Any, Any]:
    """torch, as the package imported it, and the network."""
    with stand_ins(torchaudio=ModuleType("torchaudio")):
        module = package("distillmos.sqa", EXTRA_ALL)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # It says that an odd number of heads rules out one of torch's faster paths.
        warnings.filterwarnings("ignore", "enable_nested_tensor is True", UserWarning)
        return module.torch, module.ConvTransformerSQAModel().eval()


@cache
def load_speaker_encoder() -> tuple[Any, Any]:
    """The network, and the package's function that sets a level."""
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
    """``librosa.feature.melspectrogram`` as Resemblyzer calls it: ``[mels, frames]`` of power,
    centred windows with zeros at the edges."""
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
