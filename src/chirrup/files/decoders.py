"""Choice and check of the model that decodes a ``.chirrup`` file."""

from collections.abc import Container
from functools import lru_cache

from chirrup.bitstream import Header
from chirrup.codec import Codec
from chirrup.errors import FileError
from chirrup.files.inputs import Source, source_name
from chirrup.model_folders import models, with_weights
from chirrup.zoo import load


def installed(model: str, weights: str, source: Source) -> Codec:
    """Load the installed model that a file names, with the weights of the file if they ship.

    Raises:
        FileError: the model is not installed.
    """
    name = with_weights(model, weights)
    if name is None:
        raise FileError(
            f"{source_name(source)} was coded with model {model!r}, which is not among the "
            f"installed ones ({', '.join(models()) or 'none'}): give its folder with --model FOLDER"
        )
    return _loaded(name)


@lru_cache(maxsize=2)
def _loaded(model: str) -> Codec:
    """Load a model, or return it from the cache, because many files may name two models in turn."""
    return load(model)


def _decodable(codec: Codec, header: Header) -> Container[int]:
    """Return the numbers of original channels that the model supports in the file's mode."""
    if header.channel_mode == "joint":
        return (1, codec.channels) if codec.channels > 1 else ()
    return () if codec.channels > 1 and header.channels > 1 else range(1, 17)


def check_model(codec: Codec, header: Header, source: Source, force: bool) -> None:
    """Raise FileError if the model cannot decode the file.

    Args:
        force: accept a model with other weights.
    """
    name = source_name(source)
    shape = (header.sample_rate_hz, header.frame_samples, header.delay_samples)
    if (
        shape != (codec.sample_rate_hz, codec.frame_samples, codec.delay_samples)
        or header.bits_per_code != codec.bits_per_code
        or header.codebooks > codec.codebooks
        or header.original_channels not in _decodable(codec, header)
    ):
        raise FileError(
            f"{name} was coded with model {header.model!r}, whose codes {codec.name!r} cannot "
            "decode: give the right model with --model FOLDER"
        )
    if header.weights_hash != codec.codes_sha256[:32] and not force:
        raise FileError(
            f"{name} was coded with other weights of {header.model!r} ({header.weights_hash[:8]}) "
            + than_here(codec, header.model, header.weights_hash)
        )


def than_here(codec: Codec, model: str, weights: str) -> str:
    """Return the end of the error for codes of other weights than the given model has.

    Args:
        codec: the given model.
        model, weights: the model and the weights of the codes, as in `with_weights`.
    """
    name = with_weights(model, weights)
    right = "the right folder with --model FOLDER" if name in (None, model) else f"--model {name}"
    return (
        f"than {codec.name!r} has here ({codec.codes_sha256[:8]}): give {right}, or decode "
        "nevertheless with --any-weights"
    )
