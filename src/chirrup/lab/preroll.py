"""How long a decoder that starts in the middle of a file has to listen before it may be heard."""

import torch
from torch import Tensor

from chirrup.lab.models import Model

TOLERANCE = 1e-6
"""Of the mean power: -60 dB, what an exported graph may differ by too."""
STARTS = 8
MARGIN = 2
LONGEST = 0xFFFF
"""Frames; the most that a file can say."""


@torch.no_grad()
def preroll_frames(model: Model, audio: Tensor) -> int | None:
    """Frames before a wanted one that a decoder from its initial state has to decode first.

    Convolutions see so many frames and no more, and their states say how many: None. A recurrent
    layer remembers everything, ever fainter, and how long depends on what it has learned. So it is
    tried: the decoder starts at several places in the first half of ``audio``, and from some frame
    on no frame of any of them is further than `TOLERANCE` from that of a decoder which began at the
    beginning. That number of frames, times `MARGIN`; or `LONGEST` where a quarter of ``audio`` is
    not enough.

    Args:
        audio: a few seconds of real signal at the model's ``input_rate_hz``, ``[samples]``.
    """
    if not model.decoder.recurrent:
        return None
    chunk, frame = model.chunk_frames, model.input_frame_samples
    half = len(audio) // frame // 2 // chunk * chunk
    frames = 2 * half
    latent = model.encoder.offline(audio[None, None, : frames * frame])
    latent = model.quantizer.decode(model.quantizer.encode(latent))
    whole = model.decoder.offline(latent)[0, 0].unflatten(0, (frames, -1))
    places = [half * index // STARTS // chunk * chunk for index in range(1, STARTS + 1)]
    pieces = torch.cat([latent[:, :, place : place + half] for place in places])
    late = model.decoder.offline(pieces)[:, 0].unflatten(1, (half, -1))
    expected = torch.stack([whole[place : place + half] for place in places])
    error = (late - expected).square().mean(2).amax(0)
    wrong = (error > TOLERANCE * whole.square().mean()).nonzero()[:, 0]
    needed = int(wrong[-1]) + 1 if len(wrong) else 0
    return min(MARGIN * needed, LONGEST) if needed <= half // 2 else LONGEST
