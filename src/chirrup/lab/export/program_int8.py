"""Programs with matrices of 8 bits, made from programs with floats.

Convolutions, GRUs and LSTMs have matrices. One has int8 weights and a scale per output,
and the inputs are rounded or not. `int8_decoder` is for speed, `exact_int8` and `int8_storage` are
for size. They need only the file of a program, so that a model folder is a source too.
"""

from collections.abc import Callable, Iterable

import numpy as np

from chirrup.lab.export.model_folder import rounded
from chirrup.lab.export.program_file import FileOperation, FilePart, read, write

MOST_BYTES = 4096
"""Most inputs of an output of an int8 matrix with rounded inputs, a limit of the engine."""
LEAST_OUTPUTS, MOST_ROWS = 64, 4
"""Least outputs and most rows of a frame of an operation for which rounded inputs are faster."""
LEAST_WEIGHTS = 1 << 12
"""Least weights of matrices that are stored as int8 for size."""
Levels = tuple[np.ndarray, np.ndarray]
"""Whole numbers ``[groups, inputs, outputs]``, and scales of outputs ``[groups, outputs]``."""


def int8_decoder(program: bytes) -> bytes:
    """Return a program whose large matrices of the decoder are int8 with rounded inputs.

    The encoder stays as it is, and so the codes are the same.
    """
    parts, block_frames = read(program)
    for operation in parts[1].operations:
        if is_for_rounded_inputs(operation, parts[1]):
            store(operation, levels_of(matrices(operation)), inputs_rounded=True)
    return write(parts, block_frames)


def exact_int8(program: bytes, least: int = LEAST_WEIGHTS) -> bytes:
    """Return a program whose matrices of ``least`` weights are int8 where this is exact."""
    return _changed(program, lambda matrix: matrix, least)


def int8_storage(
    program: bytes, tensors: Iterable[np.ndarray], least: int = LEAST_WEIGHTS
) -> bytes:
    """Return a program with the weights of graphs whose tensors were `rounded`.

    Args:
        tensors: the rounded tensors. A matrix is rounded by outputs, by inputs or as a whole,
            where all values are then values of the tensors. Else it stays as it is.
        least: least weights of matrices that are stored as int8.
    """
    known = np.unique(np.concatenate([np.zeros(1, np.float32), *(x.ravel() for x in tensors)]))

    def change(matrix: np.ndarray) -> np.ndarray:
        by_output = np.stack([rounded(group.T).T for group in matrix])
        by_input = np.stack([rounded(group) for group in matrix])
        for made in (by_output, by_input, rounded(matrix.reshape(1, -1)).reshape(matrix.shape)):
            if np.isin(made, known).all():
                return made
        return matrix

    return _changed(program, change, least)


def _changed(program: bytes, change: Callable[[np.ndarray], np.ndarray], least: int) -> bytes:
    """Return a program with changed matrices, as int8 with exact inputs where this is exact."""
    parts, block_frames = read(program)
    for part in parts:
        for operation in part.operations:
            if not has_matrices(operation) or operation.weights[0].dtype == np.int8:
                continue
            matrix = change(matrices(operation))
            levels = exact_levels(matrix) if matrix.size >= least else None
            if levels is not None:
                store(operation, levels, inputs_rounded=False)
            else:
                operation.weights[0] = matrix
    return write(parts, block_frames)


def has_matrices(operation: FileOperation) -> bool:
    """Return whether the first weight of an operation is a matrix of each group."""
    return operation.kind in ("conv", "gru", "lstm")


def is_for_rounded_inputs(operation: FileOperation, part: FilePart) -> bool:
    """Return whether rounded inputs make an operation faster: a large matrix with few rows."""
    if not has_matrices(operation):
        return False
    _, inputs, outputs = shape_of(operation)
    rows = part.values[operation.words[2]][1]
    return inputs <= MOST_BYTES and outputs >= LEAST_OUTPUTS and rows <= MOST_ROWS


def shape_of(operation: FileOperation) -> tuple[int, int, int]:
    """Return groups, inputs and outputs of the matrices of an operation."""
    numbers = operation.numbers
    if operation.kind == "conv":
        return numbers[3], numbers[0] * numbers[4], numbers[6]
    return 1, numbers[0], {"gru": 3, "lstm": 4}[operation.kind] * numbers[0]


def place_of_mark(operation: FileOperation) -> int:
    """Return which number of an operation with int8 weights is 1 if its inputs are exact."""
    return 9 if operation.kind == "conv" else 1


def matrices(operation: FileOperation) -> np.ndarray:
    """Return the matrices of an operation, ``float32 [groups, inputs, outputs]``."""
    groups, inputs, outputs = shape_of(operation)
    stored = operation.weights[0]
    if stored.dtype != np.int8:
        return stored[: groups * inputs * outputs].reshape(groups, inputs, outputs)
    scales = operation.weights[-1][: groups * outputs].reshape(groups, 1, outputs)
    if operation.numbers[place_of_mark(operation)]:
        levels = stored[: groups * inputs * outputs].reshape(groups, inputs, outputs)
    else:
        fours = stored[: groups * (whole := -(-inputs // 4)) * outputs * 4]
        fours = fours.reshape(groups, whole, outputs, 4).transpose(0, 1, 3, 2)
        levels = fours.reshape(groups, -1, outputs)[:, :inputs]
    return levels * scales


def levels_of(matrix: np.ndarray, most: np.ndarray | None = None) -> Levels:
    """Round matrices to whole numbers from -127 to 127 times a scale per output.

    Args:
        most: values that 127 stands for, by default the largest one of each output.
    """
    scales = (np.abs(matrix).max(axis=1) if most is None else most) / np.float32(127)
    levels = np.rint(matrix / np.where(scales > 0, scales, np.float32(1))[:, None])
    return levels.astype(np.int8), scales


def exact_levels(matrix: np.ndarray) -> Levels | None:
    """Factor matrices whose outputs, or all together, have been `rounded`; None if they are not."""
    whole = np.full_like(matrix[:, 0], np.abs(matrix).max())
    for levels, scales in (levels_of(matrix), levels_of(matrix, whole)):
        if np.array_equal(levels * scales[:, None], matrix):
            return levels, scales
    return None


def store(operation: FileOperation, levels: Levels, *, inputs_rounded: bool) -> None:
    """Make the matrices of an operation int8."""
    packed, scales = levels
    groups, inputs, outputs = packed.shape
    if inputs_rounded:
        whole = np.zeros((groups, -(-inputs // 4) * 4, outputs), np.int8)
        whole[:, :inputs] = packed
        packed = whole.reshape(groups, -1, 4, outputs).transpose(0, 1, 3, 2)
    count = 4 if operation.kind == "conv" else 2
    operation.weights = [packed, *operation.weights[1:count], scales]
    place = place_of_mark(operation)
    operation.numbers += [0] * (place + 1 - len(operation.numbers))
    operation.numbers[place] = int(not inputs_rounded)
