"""Train a tiny language model on tokens for a minute, and sample speech from it.

chirrup tokenize talks --out tokens --bitrate 1000
python examples/token_language_model.py tokens --minutes 1 --out sample.wav

The model is a small causal transformer on the sequence of all codes of a frame, one after the other
(the layout "offset"). It is far too small for words: it shows each step from a data set to audio.
It needs PyTorch.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import chirrup
import chirrup.tokens


class Windows(Dataset):
    """Windows of random rows, ``int64 [frames * codebooks]``, each from a whole frame on."""

    def __init__(self, tokens: chirrup.tokens.Tokens, frames: int, count: int) -> None:
        self.tokens, self.frames, self.count = tokens, frames, count
        self.rows = np.flatnonzero(tokens.frames > frames)
        if not len(self.rows):
            raise SystemExit(f"no row has more than {frames} frames: tokenise longer recordings")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        random = np.random.default_rng(index)
        row = int(random.choice(self.rows))
        start = int(random.integers(self.tokens.frames[row] - self.frames))
        rate_hz, size = self.tokens.settings.frame_rate_hz, self.tokens.settings.codebook_size
        codes = self.tokens.codes(row, start / rate_hz, (start + self.frames) / rate_hz)
        return torch.from_numpy(chirrup.tokens.flatten(codes, size, "offset")).long()


class LanguageModel(nn.Module):
    """A causal transformer over codes, whose embeddings begin with the vectors of the codec.

    Args:
        vectors: ``float32 [codebooks, codebook_size, dimension]``.
        length: longest sequence.
    """

    def __init__(self, vectors: np.ndarray, length: int, width: int = 128, layers: int = 3) -> None:
        super().__init__()
        self.codebooks, self.size, dim = vectors.shape
        flat = torch.tensor(vectors.reshape(-1, dim))
        self.embed = nn.Sequential(
            nn.Embedding.from_pretrained(flat / flat.std(), freeze=False), nn.Linear(dim, width)
        )
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Parameter(0.02 * torch.randn(self.codebooks, width, self.size))

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the logits of the next codes.

        Args:
            sequence: ``int64 [batch, length]``, which begins with a whole frame.

        Returns:
            ``[batch, length, codebook_size]``; each position predicts a code of one codebook.
        """
        length = sequence.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.embed(sequence) + self.places[:length]
        x = self.norm(self.layers(x, mask=mask, is_causal=True))
        logits = x.new_empty(len(x), length, self.size)
        for codebook, head in enumerate(self.heads):
            before = slice((codebook - 1) % self.codebooks, None, self.codebooks)
            logits[:, before] = x[:, before] @ head
        return logits

    def loss(self, sequence: Tensor) -> Tensor:
        """Return the mean cross-entropy of the next codes, in nats."""
        logits = self(sequence[:, :-1])
        return functional.cross_entropy(
            logits.flatten(0, 1), (sequence[:, 1:] % self.size).flatten()
        )

    @torch.no_grad()
    def sample(self, start: Tensor, count: int, temperature: float) -> Tensor:
        """Continue a sequence ``int64 [length]`` by ``count`` codes."""
        sequence, longest = start, len(self.places)
        for _ in range(count):
            # The window begins with a whole frame.
            first = max(0, -(-(len(sequence) - longest) // self.codebooks) * self.codebooks)
            logits = self(sequence[None, first:])[0, -1] / temperature
            code = torch.multinomial(logits.softmax(0), 1)
            sequence = torch.cat([sequence, code + len(sequence) % self.codebooks * self.size])
        return sequence


def train(model: LanguageModel, windows: Windows, batch: int, seconds: float, steps: int) -> float:
    """Train for some time or steps, and return the last mean loss in bits a code."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    begin, mean = time.monotonic(), math.log(model.size)
    for step, sequence in enumerate(DataLoader(windows, batch)):
        spent = time.monotonic() - begin
        if spent > seconds or step == steps:
            break
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / 20)
        loss = model.loss(sequence)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean += (loss.item() - mean) * max(0.02, 1 / (step + 1))
        if step % 20 == 0:
            print(f"step {step}, {spent:.0f} s: {mean / math.log(2):.2f} bits a code", flush=True)
    return mean / math.log(2)


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens", type=Path, help="a data set of chirrup tokenize")
    parser.add_argument("--out", type=Path, default=Path("sample.wav"))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=-1, help="most steps; -1 is no limit")
    parser.add_argument("--frames", type=int, default=64, help="frames of a window")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prompt", type=float, default=1.0, help="seconds that are continued")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds to sample")
    parser.add_argument("--temperature", type=float, default=0.9)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)

    tokens = chirrup.tokens.open(options.tokens)
    settings, codec = tokens.settings, chirrup.load(tokens.settings.model)
    codebooks, size = settings.codebooks, settings.codebook_size
    model = LanguageModel(codec.code_vectors[:codebooks], options.frames * codebooks)
    windows = Windows(tokens, options.frames, 1_000_000)
    bits = train(model, windows, options.batch, 60 * options.minutes, options.steps)
    print(f"{bits:.2f} bits a code; codes without a model have {math.log2(size):.0f}")

    model.eval()
    row = int(windows.rows[0])
    prompt = chirrup.tokens.flatten(tokens.codes(row, 0.0, options.prompt), size, "offset")
    count = round(options.seconds * settings.frame_rate_hz) * codebooks
    sequence = model.sample(torch.from_numpy(prompt).long(), count, options.temperature)
    codes = chirrup.tokens.unflatten(sequence.numpy(), size, "offset", codebooks)
    soundfile.write(options.out, codec.decode(codes), codec.sample_rate_hz)
    print(f"{options.out}: {options.prompt:g} s of {tokens[row].id}, and the model's continuation")
    return bits


if __name__ == "__main__":
    main()
