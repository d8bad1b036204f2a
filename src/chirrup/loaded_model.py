"""The class `LoadedModel`: the rates, the bitrates and the engines of a model folder."""

from collections.abc import Mapping
from copy import copy
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np

from chirrup.bitstream import code_dtype
from chirrup.code_vectors import read_code_vectors
from chirrup.engines import choose_engine, open_engines
from chirrup.errors import ModelError
from chirrup.model_folders import is_shipped, model_folder
from chirrup.model_json import check_files, read_spec
from chirrup.runtime.engine import Engine
from chirrup.saving import save_model


class LoadedModel:
    """A model folder with its engines, which are opened at the first use.

    Args:
        folder: a model folder, which ``chirrup export`` wrote.
        threads: number of threads that one call of ONNX Runtime may use. The native engine uses
            one.
        engine: "native" or "onnx"; see `engines.choose_engine`.

    Raises:
        ModelError: the folder does not exist, a file in it is missing, damaged or of a newer
            format, or the engine cannot run the model.
        UsageError: there is no such engine.
        ValueError: ``threads`` is not a positive integer.

    Attributes:
        name: name of the model.
        sample_rate_hz: sample rate of the decoded audio, in Hz. All sample counts use it, except
            ``input_frame_samples``.
        input_rate_hz: sample rate of the encoder's input, in Hz. In most models it equals
            ``sample_rate_hz``.
        input_frame_samples: samples in a frame of the encoder's input.
        channels: number of channels that the model codes jointly, as one stream of codes. If it is
            1, the channels of a signal are coded one by one. If it is higher, mono input is
            repeated to all channels, and is decoded to the average of the channels.
        frame_samples: samples in a frame of the decoded audio.
        frame_rate_hz: frames per second.
        has_encoder: whether the model encodes. If not, it only decodes.
        chunk_frames: frames that a live stream codes at once.
        block_frames: frames that `encode` and `decode` code at once.
        packet_frames: default number of frames in a packet of a live stream.
        delay_samples: delay of a live decoder's output after the encoder's input. `decode`
            removes it.
        latency_samples: algorithmic latency of a live stream: one chunk and the delay.
        codebooks: highest number of codes per frame.
        codebook_size: number of values of a code.
        bits_per_code: bits of a code in files and packets.
        code_dtype: int16, or int32 if codes have 16 bits.
        default_bitrate_bps: bitrate if none is given, in bit/s.
        lowest_bitrate_bps: lowest bitrate that the model was trained for, in bit/s. Lower bitrates
            sound bad.
        weights_sha256: SHA-256 of the stored weights, in hexadecimal.
        codes_sha256: SHA-256 of the weights that produced the codes. It differs from
            ``weights_sha256`` in 8-bit exports and in exports with ``--codes-of``.
        engine: engine that runs the model, "native" or "onnx".
        spec: the checked values of ``model.json``.
        description: the whole content of ``model.json``.
    """

    def __init__(self, folder: str | Path, *, threads: int = 1, engine: str | None = None) -> None:
        if type(threads) is not int or threads < 1:
            raise ValueError(f"threads must be an integer from 1 on, not {threads!r}")
        name, folder = str(folder), Path(folder).absolute()
        if not folder.is_dir():
            raise ModelError(f"no folder {name!r}; chirrup.load({name!r}) loads a model by name")
        self.spec, self.description = read_spec(folder)
        spec = self.spec
        self.engine = choose_engine(engine, folder, spec)
        check_files(folder, spec, self.engine)
        self.name, self.channels = spec.name, spec.channels
        self.sample_rate_hz, self.frame_samples = spec.sample_rate_hz, spec.frame_samples
        self.input_rate_hz, self.input_frame_samples = spec.input_rate_hz, spec.input_frame_samples
        self.chunk_frames, self.frame_rate_hz = spec.chunk_frames, spec.frame_rate_hz
        self.has_encoder = spec.has_encoder
        self.delay_samples, self.latency_samples = spec.delay_samples, spec.latency_samples
        self.codebooks, self.codebook_size = spec.codebooks, spec.codebook_size
        self.default_bitrate_bps = spec.default_bitrate_bps
        self.lowest_bitrate_bps = spec.lowest_bitrate_bps
        self.weights_sha256, self.codes_sha256 = spec.weights_sha256, spec.codes_sha256
        self.bits_per_code = spec.bits_per_code
        self.code_dtype = code_dtype(self.bits_per_code)
        self.block_frames, self.packet_frames = spec.block_frames, spec.packet_frames
        self.folder, self.threads = folder, threads

    @classmethod
    def from_pretrained(
        cls, model: str | Path, *, threads: int = 1, engine: str | None = None
    ) -> Self:
        """Load a model by name, folder or address; `chirrup.load` documents the arguments."""
        return cls(model_folder(model), threads=threads, engine=engine)

    def save_pretrained(
        self, folder: str | Path, *, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Write the model to a folder, which `load` opens and which can be uploaded to the hub.

        The folder has the files of this installation, the program or the graphs with the weights or
        both, and a card with the metadata of the hub. A card that exists in the folder is kept. The
        voice of `chirrup.in_voice` is not saved.

        Args:
            folder: the folder. Files of a model in it are replaced.
            metadata: keys of the card's metadata to add or to replace, for example ``license`` or
                ``datasets``. A value of None removes a key.

        Raises:
            ModelError: a file of the model is missing or damaged.
            FileError: the folder cannot be written.
            TypeError: a value of ``metadata`` cannot be written as JSON.
            ValueError: ``folder`` is an empty text, a key of ``metadata`` is not a name, or a
                number is not finite.
        """
        if folder == "":
            raise ValueError("the folder is an empty text: give '.' for the current folder")
        save_model(self.folder, Path(folder), self.spec, self.description, metadata or {})

    def __repr__(self) -> str:
        return (
            f"<Codec {self.name}: {self.sample_rate_hz} Hz, "
            f"{self.bitrates_bps[0]} to {self.bitrates_bps[-1]} bit/s>"
        )

    @property
    def bitrates_bps(self) -> list[int]:
        """Bitrates in bit/s of one stream of codes, for 1, 2, ... codebooks."""
        return self.spec.bitrates_bps

    def codebooks_at(self, bitrate_bps: float | None) -> int:
        """Return the number of codebooks of a bitrate.

        Args:
            bitrate_bps: one of ``bitrates_bps``. None is ``default_bitrate_bps``.

        Raises:
            ValueError: the model does not have this bitrate.
            TypeError: the bitrate is not a number.
        """
        return self.spec.codebooks_at(
            self.default_bitrate_bps if bitrate_bps is None else bitrate_bps
        )

    def codebooks_within(self, bitrate_bps: float | None) -> int:
        """Return the number of codebooks of the highest bitrate that is not above a limit.

        A limit of 64000 bit/s selects, for example, a bitrate of 62016 bit/s.

        Args:
            bitrate_bps: the limit, in bit/s. None selects ``default_bitrate_bps``.

        Raises:
            ValueError: the limit is below the lowest bitrate, or above the highest one by at least
                the bitrate of a codebook.
            TypeError: the limit is not a number.
        """
        if bitrate_bps is None:
            return self.codebooks_at(None)
        rates = self.bitrates_bps
        if isinstance(bitrate_bps, Real) and rates[0] <= bitrate_bps < rates[-1] + rates[0]:
            return sum(rate <= bitrate_bps for rate in rates)
        raise self.spec.no_bitrate(bitrate_bps)

    def engines(self) -> tuple[Engine, Engine]:
        """Return the engines of the encoder and the decoder, for callers that manage the state.

        Raises:
            ModelError: the model only decodes, or a file is damaged.
        """
        return self._encoder, self._decoder

    def check_encodes(self) -> None:
        """Raise ModelError if the model only decodes."""
        if not self.has_encoder:
            whole = f", such as {self.name}" if is_shipped(self.name) else ""
            raise ModelError(
                f"{self.folder} only decodes, it has no encoder: encode with another model{whole}"
            )

    def decoding_engine(self) -> Engine:
        """Return the engine of the decoder, also of a model that only decodes."""
        return self._decoder

    def with_decoder(self, decoder: Engine) -> Self:
        """Return a copy of this codec that decodes with another engine."""
        changed = copy(self)
        changed._decoder = decoder
        return changed

    @cached_property
    def code_vectors(self) -> np.ndarray:
        """Vectors of the codes, ``float32 [codebooks, codebook_size, dimension]``, read-only.

        Raises:
            ModelError: the model has no such vectors, because its decoder does not add them up.
        """
        vectors = read_code_vectors(self.folder, self.spec, self.engine)
        vectors.setflags(write=False)  # `embed` uses them
        return vectors

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the vectors of the codes; a copy reads them again."""
        return {name: x for name, x in self.__dict__.items() if name != "code_vectors"}

    @cached_property
    def _both(self) -> tuple[Engine | None, Engine]:
        return open_engines(self.folder, self.spec, self.engine, self.threads)

    @cached_property
    def _encoder(self) -> Engine:
        self.check_encodes()
        encoder = self._both[0]
        assert encoder is not None
        return encoder

    @cached_property
    def _decoder(self) -> Engine:
        return self._both[1]
