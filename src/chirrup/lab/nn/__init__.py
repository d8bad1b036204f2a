"""Streaming layers with explicit state; `streaming.py` defines their interface."""

from chirrup.lab.nn.activations import GELU, DynamicTanh, Snake, SnakeBeta, elu
from chirrup.lab.nn.attention import Transformer
from chirrup.lab.nn.branches import Delay, Parallel, Residual
from chirrup.lab.nn.conv import Conv1d, ConvTranspose1d, weight_norm_conv
from chirrup.lab.nn.conv2d import (
    Conv2d,
    ConvTranspose2d,
    Fold2d,
    PerChannel,
    Pool2d,
    Repeat2d,
    Sequential2d,
    Unfold2d,
)
from chirrup.lab.nn.conv2former import Conv2FormerBlock, OneStepConv2Former
from chirrup.lab.nn.focal import FocalBlock, Refiner
from chirrup.lab.nn.harmonic_noise import HarmonicNoise
from chirrup.lab.nn.linear import ChunkLinear, ChunkWise, FeedForward, Linear
from chirrup.lab.nn.norm import LayerNorm, Scale
from chirrup.lab.nn.one_step import OneStepConv
from chirrup.lab.nn.pqmf import Analysis, Synthesis
from chirrup.lab.nn.recurrent import GRU, LSTM
from chirrup.lab.nn.replicated import ReplicatedConv1d
from chirrup.lab.nn.scales import fit_deviations, fit_scales, scale_weight, set_weight
from chirrup.lab.nn.spectra import LogSpectra
from chirrup.lab.nn.spectral_head import SpectralHead
from chirrup.lab.nn.stft import ISTFT, STFT, MatrixISTFT, hann, hann_dual
from chirrup.lab.nn.streaming import (
    LookAhead,
    Sequential,
    Span,
    State,
    Stateless,
    Streaming,
)

__all__ = [
    "GELU",
    "GRU",
    "ISTFT",
    "LSTM",
    "STFT",
    "Analysis",
    "ChunkLinear",
    "ChunkWise",
    "Conv1d",
    "Conv2FormerBlock",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Delay",
    "DynamicTanh",
    "FeedForward",
    "FocalBlock",
    "Fold2d",
    "HarmonicNoise",
    "LayerNorm",
    "Linear",
    "LogSpectra",
    "LookAhead",
    "MatrixISTFT",
    "OneStepConv",
    "OneStepConv2Former",
    "Parallel",
    "PerChannel",
    "Pool2d",
    "Refiner",
    "Repeat2d",
    "ReplicatedConv1d",
    "Residual",
    "Scale",
    "Sequential",
    "Sequential2d",
    "Snake",
    "SnakeBeta",
    "Span",
    "SpectralHead",
    "State",
    "Stateless",
    "Streaming",
    "Synthesis",
    "Transformer",
    "Unfold2d",
    "elu",
    "fit_deviations",
    "fit_scales",
    "hann",
    "hann_dual",
    "scale_weight",
    "set_weight",
    "weight_norm_conv",
]
