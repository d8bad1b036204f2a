"""An adapter of codecs to the audio tokenizers of transformers (extra ``hf``).

`ChirrupModel` takes and returns tensors with the names and shapes of ``MimiModel``. The codec
computes on the CPU without gradients; results are on the device of the input.

>>> model = ChirrupModel.from_pretrained("iris-t1")
>>> inputs = model.feature_extractor()(signals, sampling_rate=24_000, return_tensors="pt")
>>> codes = model.encode(**inputs).audio_codes
"""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from chirrup.lab.hf.features import ChirrupFeatureExtractor
from chirrup.lab.hf.model import (
    ChirrupConfig,
    ChirrupDecoderOutput,
    ChirrupEncoderOutput,
    ChirrupModel,
    ChirrupOutput,
)

__all__ = [
    "ChirrupConfig",
    "ChirrupDecoderOutput",
    "ChirrupEncoderOutput",
    "ChirrupFeatureExtractor",
    "ChirrupModel",
    "ChirrupOutput",
]

AutoConfig.register("chirrup", ChirrupConfig, exist_ok=True)
AutoFeatureExtractor.register(ChirrupConfig, ChirrupFeatureExtractor, exist_ok=True)
AutoModel.register(ChirrupConfig, ChirrupModel, exist_ok=True)
