"""Rendering of MIDI files by the library of FluidSynth, called through ctypes.

The command ``fluidsynth`` writes 16 bits and has no setting for the interpolation. The library
gives 32-bit floats.
"""

import ctypes
import ctypes.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import FileError

PACKAGES = "apt-get install fluidsynth musescore-general-soundfont-lossless"
INTERPOLATION = 7
"""Taps of the interpolation of a sample, the most that FluidSynth has."""
BLOCK = 4096
_POINTER, _TEXT, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_double
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "new_fluid_settings": (_POINTER, ()),
    "delete_fluid_settings": (None, (_POINTER,)),
    "fluid_settings_setint": (_INT, (_POINTER, _TEXT, _INT)),
    "fluid_settings_setnum": (_INT, (_POINTER, _TEXT, _FLOAT)),
    "fluid_set_log_function": (_POINTER, (_INT, _POINTER, _POINTER)),
    "new_fluid_synth": (_POINTER, (_POINTER,)),
    "delete_fluid_synth": (None, (_POINTER,)),
    "fluid_synth_sfload": (_INT, (_POINTER, _TEXT, _INT)),
    "fluid_synth_set_interp_method": (_INT, (_POINTER, _INT, _INT)),
    "fluid_synth_write_float": (
        _INT,
        (_POINTER, _INT, _POINTER, _INT, _INT, _POINTER, _INT, _INT),
    ),
    "new_fluid_player": (_POINTER, (_POINTER,)),
    "delete_fluid_player": (None, (_POINTER,)),
    "fluid_player_add_mem": (_INT, (_POINTER, _TEXT, ctypes.c_size_t)),
    "fluid_player_play": (_INT, (_POINTER,)),
}
"""Results and arguments of the functions of libfluidsynth that are used."""


class FluidSynth:
    """The library of FluidSynth with a sound font.

    Args:
        font: path of the sound font.

    Raises:
        FileError: the library or the font is missing.
    """

    def __init__(self, font: Path) -> None:
        name = ctypes.util.find_library("fluidsynth")
        if name is None:
            raise FileError(f"FluidSynth is not installed: {PACKAGES}")
        if not font.is_file():
            raise FileError(f"there is no sound font {font}: {PACKAGES}")
        self.font = font
        self.library = ctypes.CDLL(name)
        for function, (result, arguments) in _FUNCTIONS.items():
            found = getattr(self.library, function)
            found.restype, found.argtypes = result, arguments
        for level in range(5):  # no log: the only errors are those that are raised here
            self.library.fluid_set_log_function(level, None, None)

    def render(
        self, midi: bytes, samples: int, rate_hz: int, settings: Mapping[str, float]
    ) -> np.ndarray:
        """Render a MIDI file.

        Args:
            midi: a Standard MIDI File.
            samples: number of samples to render.
            rate_hz: sample rate, up to 96 kHz.
            settings: settings of FluidSynth with numbers, such as ``synth.reverb.level``.

        Returns:
            ``float32 [samples, 2]``.

        Raises:
            FileError: the sound font cannot be read.
        """
        library = self.library
        found = library.new_fluid_settings()
        library.fluid_settings_setnum(found, b"synth.sample-rate", rate_hz)
        whole = {"synth.dynamic-sample-loading": 1, "synth.lock-memory": 0, "synth.polyphony": 512}
        # A reset at the start of the file would also reset the interpolation.
        for key, value in {**whole, "player.reset-synth": 0}.items():
            library.fluid_settings_setint(found, key.encode(), value)
        for key, value in settings.items():
            setter = "setint" if isinstance(value, int) else "setnum"
            getattr(library, f"fluid_settings_{setter}")(found, key.encode(), value)
        synth = library.new_fluid_synth(found)
        player = library.new_fluid_player(synth)
        try:
            if library.fluid_synth_sfload(synth, str(self.font).encode(), 1) < 0:
                raise FileError(f"{self.font} cannot be read as a sound font")
            library.fluid_synth_set_interp_method(synth, -1, INTERPOLATION)
            library.fluid_player_add_mem(player, midi, len(midi))
            library.fluid_player_play(player)
            audio = np.zeros((samples, 2), np.float32)
            for first in range(0, samples, BLOCK):
                block = audio[first : first + BLOCK]
                place = block.ctypes.data
                library.fluid_synth_write_float(synth, len(block), place, 0, 2, place, 1, 2)
            return audio
        finally:
            library.delete_fluid_player(player)
            library.delete_fluid_synth(synth)
            library.delete_fluid_settings(found)
