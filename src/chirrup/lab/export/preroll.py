"""Preroll: frames to decode before a wanted frame, if decoding starts within a file."""

import torch
from torch import Tensor

from chirrup.lab.models import Model

TOLERANCE = 1e-6
"""Largest error relative to the mean power: -60 dB, like in `parity`."""
STARTS = 8
"""Number of positions at which the decoder starts."""
MARGIN = 2
"""Factor from the measured number of frames to the result."""
LONGEST = 0xFFFF
"""Largest number of frames that a file can state."""


@torch.no_grad()
def preroll_frames(model: Model, audio: Tensor) -> int:
    """Return how many frames before a wanted frame the decoder must start from its initial state.

    Without recurrent layers the result is the receptive field. A recurrent layer depends on all
    earlier frames, with a decreasing influence that depends on its weights, so the result is
    measured. The decoder starts at several positions in the first half of ``audio``. The measured
    number is the number of frames after which no error against a decoder that started at the first
    frame exceeds `TOLERANCE`. The result is this number times `MARGIN`, or `LONGEST` if the number
    exceeds a quarter of ``audio``.

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
