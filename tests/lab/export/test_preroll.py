"""The preroll of recurrent decoders, and the accuracy of a seek with it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from chirrup.lab.export.preroll import LONGEST, MARGIN, TOLERANCE, preroll_frames
from chirrup.lab.models import Model
from chirrup.lab.models.tqcodec import TQCodec, TQConfig
from chirrup.lab.nn import LSTM
from small_focal import SPOKEN, small_focal
from small_lrac import small_lrac
from small_model import small_iris

FRAME, FRAMES = 64, 2400


def tones(seed: int = 0) -> Tensor:
    """Return chords of changing tones at 44.1 kHz, ``[samples]``."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(FRAMES * FRAME) / 44_100
    hz = 100 + 3000 * torch.rand(6, 1, generator=generator)
    return (0.1 * torch.sin(6.283 * hz * time) * torch.sin(hz / 100 * time)).sum(0)


def tq(forget_bias: float) -> TQCodec:
    """Return a model whose LSTM keeps about the share sigmoid(``forget_bias``) per frame."""
    torch.manual_seed(0)
    model = TQCodec(TQConfig(4, 4, 8, codebooks=4, codebook_size=32, code_dim=4))
    model = model.eval().requires_grad_(False)
    model.start(tones()[None, None, :6400])
    for layer in model.decoder.modules():
        if isinstance(layer, LSTM):
            for name, bias in layer.rnn.named_parameters():
                if "bias_ih" in name:
                    size = layer.rnn.hidden_size
                    bias[size : 2 * size] = forget_bias
    return model


@torch.no_grad()
def error_at(model: TQCodec, wanted: int, preroll: int) -> float:
    """Return the power of the error after a seek, relative to the signal."""
    latent = model.quantizer.decode(
        model.quantizer.encode(model.encoder.offline(tones(1)[None, None]))
    )
    whole = model.decoder.offline(latent)[0, 0, wanted * FRAME :]
    begin = wanted - preroll
    decoded = model.decoder.offline(latent[:, :, begin:])[0, 0, preroll * FRAME :]
    return float((decoded - whole).square().mean() / whole.square().mean())


def test_a_seek_is_right_after_as_many_frames_as_were_measured() -> None:
    """The preroll suffices on other music and positions; an eighth of it does not."""
    for forget_bias in (2.0, 4.0):
        model = tq(forget_bias)
        preroll = preroll_frames(model, tones())
        assert preroll < LONGEST
        for wanted in (1300, 1777):
            assert error_at(model, wanted, preroll) < TOLERANCE
            assert error_at(model, wanted, preroll // 8) > TOLERANCE


def test_a_longer_memory_needs_more_frames() -> None:
    short, long = (preroll_frames(tq(bias), tones()) for bias in (0.0, 4.0))
    assert 0 < 4 * short < long
    assert long % MARGIN == 0


def test_too_short_a_recording_gives_the_longest_preroll() -> None:
    assert preroll_frames(tq(12.0), tones()) == LONGEST


@pytest.mark.parametrize("made", [small_iris, small_lrac])
@torch.no_grad()
def test_without_recurrence_a_seek_is_exact_after_the_receptive_field(
    made: Callable[[], Model],
) -> None:
    model = made()
    assert not model.decoder.recurrent
    preroll = preroll_frames(model, tones())
    latent = torch.randn(1, model.config.latent_dim, 3 * preroll)
    whole = model.decoder.offline(latent)[0, 0].unflatten(0, (3 * preroll, -1))
    for late, same in ((preroll, True), (preroll - 1, False)):
        found = model.decoder.offline(latent[:, :, preroll:])[0, 0].unflatten(0, (2 * preroll, -1))
        error = (found[late] - whole[preroll + late]).abs().max()
        assert bool(error < 1e-6 * whole.abs().max()) == same


@torch.no_grad()
def test_phases_may_begin_anywhere() -> None:
    """After the preroll a voice has equal filters; its pulses may be shifted."""
    model = small_focal(SPOKEN)
    preroll = preroll_frames(model, tones())
    assert not model.decoder.recurrent
    assert preroll < 200
    codes = torch.randint(0, model.codebook_size, (1, 1, 4 * preroll // 4 * 4))
    latent = model.quantizer.decode(codes)
    whole = model.decoder(latent, model.decoder.initial_state(1))[1]
    begin = (latent.shape[2] - preroll - 1) // 4 * 4
    late = model.decoder(latent[:, :, begin:], model.decoder.initial_state(1))[1]
    differing = {
        name.rpartition(".")[2] for name in whole if not torch.allclose(whole[name], late[name])
    }
    assert differing <= {"phase", "round", "overlap"}
