"""Frames that a decoder has to decode before a wanted one if it starts in the middle of a file."""

import torch
from torch import Tensor

from chirrup.lab.models import Model

TOLERANCE = 1e-6
"""Largest error as a share of the mean power: -60 dB, as for exported graphs."""
STARTS = 8
MARGIN = 2
LONGEST = 0xFFFF
"""Largest number of frames that a file can state."""


@torch.no_grad()
def preroll_frames(model: Model, audio: Tensor) -> int:
    """Return how many frames before a wanted one a decoder has to decode from its initial state.

    Convolutions depend on so many frames and no more. A recurrent layer depends on all of them,
    ever less, and how fast is learned. Therefore it is measured: the decoder starts at several
    places in the first half of ``audio``, and after the measured number of frames none of them
    differs by more than `TOLERANCE` from a decoder that started at the beginning. The result is
    that number times `MARGIN`, or `LONGEST` if a quarter of ``audio`` is too short.

    Args:
        audio: a few seconds of real signal at the model's ``input_rate_hz``, ``[samples]``.
    """
    decoder, chunk = model.decoder, model.chunk_frames
    bounded = min(LONGEST, max(0, -decoder.span((0, 0))[0]))
    if not decoder.recurrent:
        return bounded
    half = len(audio) // model.input_frame_samples // 2 // chunk * chunk
    frames = 2 * half
    latent = model.encoder.offline(audio[None, None, : frames * model.input_frame_samples])
    latent = model.quantizer.decode(model.quantizer.encode(latent))
    whole = decoder.offline(latent)[0, 0].unflatten(0, (frames, -1))
    error = torch.zeros(half)
    for index in range(1, STARTS + 1):
        place = half * index // STARTS // chunk * chunk
        late = decoder.offline(latent[:, :, place : place + half])[0, 0].unflatten(0, (half, -1))
        wrong = (late - whole[place : place + half]).square().mean(1)
        error = torch.maximum(error, wrong)
    places = (error > TOLERANCE * whole.square().mean()).nonzero()[:, 0]
    needed = int(places[-1]) + 1 if len(places) else 0
    return max(bounded, min(MARGIN * needed, LONGEST) if needed <= half // 2 else LONGEST)
