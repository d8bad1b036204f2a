"""Speech over radio: live streams of frames of a fixed number of bits, and short messages."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from chirrup.bitstream import (
    END_FRAMES,
    BareFormat,
    TextReceiver,
    TextSender,
    message_frames,
    pack_messages,
    unpack_messages,
    unpack_packet,
)
from chirrup.codec import Codec
from chirrup.codes import ABSENT, Codes, reliable_codes
from chirrup.errors import FormatError
from chirrup.words import counted


def bare_format(codec: Codec, bitrate_bps: float | None, bits: int | None) -> BareFormat:
    """Return the layout of a model's bare frames.

    Args:
        bitrate_bps: one of ``bitrates_bps``. None is the model's default.
        bits: bits of a frame. None is the bits of the codes.

    Raises:
        ValueError: the model does not have the bitrate, or the codes do not fit.
    """
    codebooks, width = codec.codebooks_at(bitrate_bps), codec.bits_per_code
    return BareFormat(codebooks, width, max(8, codebooks * width) if bits is None else bits)


class BareEncoder:
    """The sender's end of a stream of bare frames.

    >>> encoder = BareEncoder(codec, 3000, 64, text="DL1ABC")
    >>> frames = encoder.push(samples) + encoder.flush()

    Args:
        codec: the model.
        bitrate_bps: as in `bare_format`.
        bits: as in `bare_format`.
        text: a text to repeat in the spare bits, at most 255 bytes.
        sample_rate_hz: as in `Codec.encoder`.

    Attributes:
        format: the layout of the frames.
        texts: the sender of the text, whose `repeat` changes it.
    """

    def __init__(
        self,
        codec: Codec,
        bitrate_bps: float | None = None,
        bits: int | None = None,
        *,
        text: str | None = None,
        sample_rate_hz: int | None = None,
    ) -> None:
        self.codec, self.format = codec, bare_format(codec, bitrate_bps, bits)
        if text is not None and not self.format.spare_bits:
            raise ValueError(
                f"frames of {self.format.bits} bits have no spare bits for text: use more bits"
            )
        self.encoder = codec.encoder(bitrate_bps, sample_rate_hz=sample_rate_hz)
        self.texts = TextSender(text)

    def push(self, pcm: np.ndarray) -> list[np.ndarray]:
        """Encode the next samples, as in `Encoder.push`; return frames ``uint8 [bits]`` of bits."""
        return self._frames(self.encoder.push(pcm))

    def flush(self) -> list[np.ndarray]:
        """Return the last frames and the end marks, and reset the stream."""
        frames = self._frames(self.encoder.flush()) + [self.format.end_mark] * END_FRAMES
        self.texts.restart()
        return frames

    def _frames(self, packets: list[bytes]) -> list[np.ndarray]:
        width, spare = self.codec.bits_per_code, self.format.spare_bits
        return [
            self.format.pack(codes, self.texts.take(spare))
            for packet in packets
            for codes in unpack_packet(packet, width, self.codec.codebooks).codes.T
        ]

    def save(self) -> dict[str, Any]:
        """Return the state of the stream as a dictionary of arrays, numbers and text."""
        return {
            "bits": self.format.bits,
            "encoder": self.encoder.save(),
            "texts": self.texts.save(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned, also of another stream of the same settings.

        Raises:
            ValueError: the state is of another model, bitrate, layout or sample rate.
        """
        _check_bits(saved, self.format, "encoder")
        self.encoder.restore(saved["encoder"])
        self.texts.restore(saved["texts"])


class BareDecoder:
    """The receiver's end of a stream of bare frames.

    Args:
        codec: the model.
        bitrate_bps: as in `bare_format`.
        bits: as in `bare_format`.

    Attributes:
        format: the layout of the frames.
        texts: texts that arrived in the last `push`.
        ended: whether the last frame was an end mark.
    """

    def __init__(
        self, codec: Codec, bitrate_bps: float | None = None, bits: int | None = None
    ) -> None:
        self.codec, self.format = codec, bare_format(codec, bitrate_bps, bits)
        self.decoder, self.receiver = codec.decoder(), TextReceiver()
        self.texts: list[str] = []
        self.ended = False

    def push(
        self, frame: np.ndarray | None, *, reliable: int | np.ndarray | None = None
    ) -> np.ndarray:
        """Decode the next frame.

        Args:
            frame: the bits ``uint8 [bits]``, or None if the frame is lost.
            reliable: which codes are right, ``bool [codebooks]``, or the number of first codebooks;
                see `Decoder.push`.

        Returns:
            Samples, as `Decoder.push`. The first end mark returns the rest of an incomplete chunk,
            further ones return nothing, and the next frame begins another over.

        Raises:
            TypeError: the frame is not an array, such as packed bytes.
            ValueError: the frame or ``reliable`` has another shape.
        """
        self.texts = []
        if frame is None:
            return self.decoder.push_codes(np.full((1, 1), ABSENT))
        if not isinstance(frame, np.ndarray):
            raise TypeError(
                f"a frame is uint8 [{self.format.bits}], one element a bit; got "
                f"{type(frame).__name__}: unpack bytes with numpy.unpackbits"
            )
        if frame.shape != (self.format.bits,):
            raise ValueError(f"a frame is {list(frame.shape)}, must be [{self.format.bits}] bits")
        found = self.format.unpack(frame, self.codec.codebook_size)
        self.ended = found is None
        if found is None:
            return self.decoder.flush()
        self.texts = self.receiver.push(found.spare.tolist())
        codes = found.codes[:, None]
        if reliable is not None:
            mask = reliable if np.ndim(reliable) == 0 else np.asarray(reliable)[:, None]
            codes = reliable_codes(codes, mask)
        return self.decoder.push_codes(codes)

    def save(self) -> dict[str, Any]:
        """Return the state of the stream as a dictionary of arrays, numbers and text."""
        return {
            "bits": self.format.bits,
            "decoder": self.decoder.save(),
            "receiver": self.receiver.save(),
            "ended": self.ended,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned, also of another stream of the same settings.

        Raises:
            ValueError: the state is of another model or layout.
        """
        _check_bits(saved, self.format, "decoder")
        self.decoder.restore(saved["decoder"])
        self.receiver.restore(saved["receiver"])
        self.texts, self.ended = [], saved["ended"]


def _check_bits(saved: object, layout: BareFormat, kind: str) -> None:
    found = saved.get("bits") if isinstance(saved, dict) and kind in saved else None
    if found != layout.bits:
        raise ValueError(
            f"the state is not of a bare {kind} with frames of {layout.bits} bits: pass a state "
            "that its save() returned"
        )


def to_messages(
    codec: Codec,
    audio: np.ndarray,
    max_bytes: int = 200,
    *,
    bitrate_bps: float | None = None,
    max_messages: int | None = None,
    sample_rate_hz: int | None = None,
) -> list[bytes]:
    """Encode a signal to messages, each of which is decodable without the others.

    Args:
        audio: ``float32 [samples]``, as in `Codec.encode`.
        max_bytes: largest size of a message.
        bitrate_bps: one of ``bitrates_bps``. None is the highest one that the model was trained for
            and that needs at most ``max_messages`` messages, or the lowest that it was trained for
            if that is None too.
        max_messages: most messages. None is 256.
        sample_rate_hz: as in `Codec.encode`.

    Raises:
        ValueError: the signal does not fit, or an argument is not supported.
    """
    if np.ndim(audio) != 1:
        raise ValueError(f"audio of messages must be mono, [samples]; got {list(np.shape(audio))}")
    lowest = codec.codebooks_at(codec.lowest_bitrate_bps)
    if bitrate_bps is not None:
        choices = [codec.codebooks_at(bitrate_bps)]
    else:
        choices = [lowest] if max_messages is None else range(codec.codebooks, lowest - 1, -1)
    width, most = codec.bits_per_code, 256 if max_messages is None else max_messages
    top = codec.bitrates_bps[max(choices) - 1]
    codes = codec.encode(audio, top, sample_rate_hz=sample_rate_hz).data
    needed = 0
    for codebooks in choices:
        try:
            frames = message_frames(max_bytes, codebooks, width, codec.chunk_frames)
        except ValueError:
            if codebooks == choices[-1]:
                raise
            continue
        needed = -(-codes.shape[1] // frames)
        if needed <= most:
            return pack_messages(codes[:codebooks], width, frames)
    lower = choices[-1] > 1
    limit = f" (the lowest bitrate that {codec.name} was trained for)" * (bitrate_bps is None)
    raise ValueError(
        f"the signal needs {counted(needed, 'message')} of {max_bytes} bytes at "
        f"{codec.bitrates_bps[choices[-1] - 1]} bit/s{limit}, more than {most}: use a shorter "
        "signal or larger messages" + ", or give a lower bitrate" * lower
    )


def from_messages(
    codec: Codec,
    messages: Iterable[bytes],
    on_damage: Callable[[int | None, FormatError], None] | None = None,
) -> tuple[np.ndarray, list[int]]:
    """Decode the messages of a recording, which may come in any order.

    Args:
        codec: the model that encoded them.
        messages: the messages.
        on_damage: called with the position in ``messages`` and the fault of each message that is
            damaged, which then counts as lost. If no message is lost and the codes do not match the
            checksum of the recording, the position is None, and all codes are decoded. If
            ``on_damage`` is None, the fault is raised.

    Returns:
        The audio, as of `Codec.decode`, and the numbers of the lost messages, from 0 on, which are
        concealed.

    Raises:
        FormatError: no message can be read, the messages are of several recordings, or
            ``on_damage`` is None and there is damage.
    """
    size = codec.codebook_size
    codes, lost = unpack_messages(messages, codec.bits_per_code, codec.codebooks, size, on_damage)
    samples = codes.shape[1] * codec.frame_samples - codec.delay_samples
    return codec.decode(Codes(codes, samples, 1 if codec.channels > 1 else None)), lost
