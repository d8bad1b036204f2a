"""The boards of the scoreboard: codecs at bitrates, clips, conditions and metrics."""

from dataclasses import dataclass

from chirrup.evaluate.conditions import Condition

SCORES = ("pesq_wb", "estoi", "visqol_speech", "dnsmos", "distillmos", "speaker_similarity", "lsd")


@dataclass(frozen=True)
class Board:
    """One comparison of the scoreboard.

    Attributes:
        folder: folder of the corpus with the clips.
        systems: bitrates in bit/s of each codec.
        files: pattern of the names of the clips.
    """

    title: str
    folder: str
    systems: dict[str, tuple[int, ...]]
    metrics: tuple[str, ...]
    conditions: tuple[Condition, ...] = (Condition("clean"),)
    files: str = "*"


BOARDS = {
    "speech_test": Board(
        "Speech",
        "speech_test",
        {
            "iris-t1": (1000, 3000, 6000),
            "iris-t2": (1000, 6000),
            "lrac-t1": (1000, 6000),
            "lrac-t2": (1000, 6000),
            "focal-small": (800,),
            "codec2": (700, 1200, 3200),
            "speex-wb": (3950, 5750),
            "lyra2": (3200, 6000, 9200),
            "amr-wb": (6600, 12650),
            "opus": (6000, 9000, 12000, 16000),
        },
        SCORES,
    ),
    "speech_english": Board(
        "Words of English speech; iris-t1 was trained on the speaker, focal-small was not",
        "speech_train",
        {
            "focal-small": (800,),
            "iris-t1": (1000,),
            "codec2": (700, 1200, 3200),
            "lyra2": (3200,),
            "opus": (6000,),
        },
        ("wer", "speaker_similarity", "distillmos", "dnsmos"),
        files="ljspeech__*",
    ),
    "speech_in_noise": Board(
        "Speech in noise and rooms, which a codec must preserve",
        "speech_test",
        {"iris-t1": (1000, 6000), "lrac-t1": (1000, 6000), "opus": (6000,)},
        ("pesq_wb", "estoi", "distillmos"),
        (Condition("noise", 15), Condition("reverb")),
    ),
    "two_talkers": Board(
        "Two talkers at once, equally loud, which a codec must preserve",
        "speech_test",
        {
            "iris-t1": (1000, 3000, 6000),
            "lrac-t1": (1000, 6000),
            "codec2": (1200, 3200),
            "lyra2": (3200, 6000),
            "opus": (6000, 9000),
        },
        ("pesq_wb", "estoi", "distillmos"),
        (Condition("talkers", 0),),
    ),
    "speech_enhanced": Board(
        "Enhanced speech: noise and rooms removed, compared with clean speech",
        "speech_test",
        {
            "pcm": (768_000,),
            "iris-t2": (1000, 6000),
            "lrac-t2": (1000, 6000),
            "deepfilternet3": (768_000,),
            "deepfilternet3+iris-t1": (1000, 6000),
            "opus": (6000,),
        },
        ("pesq_wb", "estoi", "si_sdr", "dnsmos", "distillmos"),
        (Condition("denoise", -5), Condition("denoise", 5), Condition("dereverb")),
    ),
    "music_test": Board(
        "Music",
        "music_test",
        {
            "tq-small": (31_008, 62_016, 124_031),
            "opus": (32000, 64000, 96000, 128_000),
            "vorbis": (48000, 64000, 96000, 128_000),
            "mp3": (64000, 128000),
        },
        ("visqol_audio", "tq_lsd", "tq_lsd_low", "tq_lsd_high", "mel_distance", "snr"),
    ),
    "music_low": Board(
        "Stereo music at low bitrates",
        "music_test",
        {
            "spectro-small": (1000, 2750, 4000, 5250, 8000, 12_000, 16_000),
            "opus": (6000, 9000, 12_000, 16_000, 24_000, 32_000),
            "vorbis": (48_000,),
            "mp3": (64_000,),
        },
        ("visqol_audio", "mel_distance", "lsd", "snr", "ipd_error", "ild_error"),
    ),
}

NOTED = {
    "speech_test": "pesq_wb",
    "music_test": "visqol_audio",
    "music_low": "visqol_audio",
}
"""Boards and metrics whose scores `chirrup models` prints."""
