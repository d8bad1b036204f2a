"""Layouts of codes for language models: as they are, delayed, or flattened with offsets."""

from typing import Literal, get_args

import numpy as np

from chirrup.codes import Codes, as_array, checked_codes

Layout = Literal["none", "delay", "offset"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def flatten(codes: Codes | np.ndarray, codebook_size: int, layout: Layout) -> np.ndarray:
    """Arrange codes for a language model.

    Args:
        codes: ``int [codebooks, frames]`` without absent codes. They may be `Codes` of one stream.
        codebook_size: number of values of a code.
        layout: "none" leaves the codes as they are. "delay" shifts codebook k by k frames, as in
            MusicGen; empty places have the code ``codebook_size``. "offset" puts the codes of a
            frame one after the other and adds k times ``codebook_size`` to the codes of codebook k.

    Returns:
        ``[codebooks, frames]`` for "none", ``[codebooks, frames + codebooks - 1]`` for "delay", and
        ``int32 [frames * codebooks]`` for "offset".

    Raises:
        ValueError: there is no such layout, the shape is wrong, or a code is absent or out of
            range.
        TypeError: the codes are not an array.
    """
    _check(codebook_size, layout)
    codes = checked_codes(codes)
    if codes.ndim != 2:
        raise ValueError(f"codes are {list(codes.shape)}, must be [codebooks, frames]: one stream")
    if codes.size and not 0 <= codes.min() <= codes.max() < codebook_size:
        raise ValueError(
            f"codes are from {codes.min()} to {codes.max()}, must be from 0 to {codebook_size - 1} "
            "without absent codes"
        )
    count, frames = codes.shape
    if layout == "none":
        return codes
    if layout == "delay":
        rows = np.full(
            (count, frames + count - 1), codebook_size, stored_type(codebook_size, layout)
        )
        for index, row in enumerate(codes):
            rows[index, index : index + frames] = row
        return rows
    offsets = np.arange(count, dtype=np.int32)[:, None] * codebook_size
    return (codes.astype(np.int32) + offsets).T.ravel()


def unflatten(tokens: np.ndarray, codebook_size: int, layout: Layout, codebooks: int) -> np.ndarray:
    """Return the codes ``int [codebooks, frames]`` that `flatten` has arranged.

    Raises:
        ValueError: there is no such layout, or the tokens are not in it.
        TypeError: the tokens are not an array.
    """
    _check(codebook_size, layout, codebooks)
    tokens = as_array(tokens, "tokens", "an array of integers")
    if not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens are {tokens.dtype}, must be integers")
    if layout == "offset":
        if tokens.ndim != 1 or tokens.size % codebooks:
            raise ValueError(
                f"tokens {list(tokens.shape)} are not whole frames of {codebooks} codebooks"
            )
        codes = tokens.reshape(-1, codebooks).T - np.arange(codebooks)[:, None] * codebook_size
    elif tokens.ndim != 2 or len(tokens) != codebooks:
        raise ValueError(f"tokens are {list(tokens.shape)}, must be [{codebooks}, frames]")
    elif layout == "delay":
        frames = max(0, tokens.shape[1] - codebooks + 1)
        shifts = np.arange(tokens.shape[1]) - np.arange(codebooks)[:, None]
        filled = (shifts >= 0) & (shifts < frames)
        if (tokens[~filled] != codebook_size).any():
            raise ValueError(
                f"tokens are not in the layout {layout!r}: an empty place has another code than "
                f"{codebook_size}"
            )
        codes = tokens[filled].reshape(codebooks, frames)
    else:
        codes = tokens
    if codes.size and not 0 <= codes.min() <= codes.max() < codebook_size:
        raise ValueError(f"tokens are not in the layout {layout!r} of {codebook_size} codes")
    return codes.astype(stored_type(codebook_size, "none"), copy=False)


def _check(codebook_size: int, layout: str, codebooks: int = 1) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"no layout {layout!r}: use {', '.join(LAYOUTS)}")
    for name, value in {"codebook_size": codebook_size, "codebooks": codebooks}.items():
        if not isinstance(value, (int, np.integer)) or not 1 <= value <= 1 << 16:
            raise ValueError(f"{name} must be an integer from 1 to 65536, not {value!r}")


def stored_type(codebook_size: int, layout: Layout) -> type[np.signedinteger]:
    """Return the type of the elements of a layout: int16, or int32 if int16 is too small."""
    if layout == "offset":
        return np.int32
    largest = codebook_size if layout == "delay" else codebook_size - 1
    return np.int16 if largest < 1 << 15 else np.int32
