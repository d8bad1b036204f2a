"""Losses of training, weighted by `config.LossWeights`.

- `reconstruction`: all losses of decoded audio; a new one is added there.
- `spectral_loss`, `stft`: distances of spectra.
- `loudness`: difference of loudness.
- `repetition`: repetition of high frequencies, a buzz.
- `pesq_loss`: differentiable PESQ.
- `asr_features`: distance of a teacher's features.
- `pitch`: cross-entropy of pitches.
"""
