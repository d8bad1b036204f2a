"""The card of a model, ``README.md`` with the metadata that the Hugging Face hub reads."""

import json
import re
from collections.abc import Mapping
from typing import Any

from chirrup.spec import ModelSpec

TAGS = ("audio", "audio-codec", "neural-audio-codec", "streaming")
TASK = "audio-to-audio"
BLOCK = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)
"""The metadata of a card: YAML before its text."""
KEY = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
"""A key of the metadata that YAML reads as text."""


def card(
    spec: ModelSpec, about: Mapping[str, Any], text: str | None, metadata: Mapping[str, Any]
) -> str:
    """Return the card of a model.

    Args:
        about: the content of ``model.json``.
        text: a card to add the metadata to. If it has metadata, only the keys of ``metadata``
            change. None makes a card of the figures in ``model.json``.
        metadata: keys of the metadata to add or to replace. A value of None removes a key.

    Raises:
        TypeError: ``metadata`` is not a dictionary, or a value cannot be written as JSON.
        ValueError: a key of ``metadata`` is not a name, or a number is not finite.
    """
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a dictionary, not {type(metadata).__name__}")
    for key in metadata:
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise ValueError(
                f"{key!r} is not a key of a card's metadata: use letters, digits and -_."
            )
    old = BLOCK.match(text or "")
    if text is not None and old is not None:
        kept, body, block = old[1], text[old.end() :], dict(metadata)
        for key in block:
            kept = re.sub(rf"^{re.escape(key)}:.*\n(?:[ -].*\n)*", "", kept, flags=re.MULTILINE)
    else:
        body = _body(spec, about) if text is None else _without_relative_links(text)
        kept, body, block = "", f"\n{body}", _metadata(spec, about) | dict(metadata)
    lines = (f"{key}: {_json(key, value)}\n" for key, value in block.items() if value is not None)
    return f"---\n{kept}{''.join(lines)}---\n{body}"


def _json(key: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"the value of the card's {key!r} is not JSON: {error}") from error


def _metadata(spec: ModelSpec, about: Mapping[str, Any]) -> dict[str, Any]:
    scores = _of(about, "training", "scores")
    clips = str(scores.get("clips", "clips"))
    metrics = [
        {"type": name, "name": f"{name} at {bitrate.replace('_kbps', ' kbit/s')}", "value": value}
        for name, values in scores.items()
        if isinstance(values, dict)
        for bitrate, value in values.items()
    ]
    data = {"type": clips.rpartition(" ")[2], "name": clips}
    result = {"task": {"type": TASK}, "dataset": data, "metrics": metrics}
    return {
        "license": about.get("license") or None,
        "library_name": "chirrup",
        "pipeline_tag": TASK,
        "tags": list(TAGS),
        "model-index": [{"name": spec.name, "results": [result]}] if metrics else None,
    }


def _body(spec: ModelSpec, about: Mapping[str, Any]) -> str:
    """Return the text of a card for a model that has none."""
    rates = " to ".join(f"{rate:g}" for rate in dict.fromkeys(_rates_khz(spec)))
    data = _of(about, "training", "recipe", "data")
    sources = [f"{key} {data[key]}" for key in ("speech", "noise", "rooms") if data.get(key)]
    training = _of(about, "training")
    trained = [f"{training[key]} {key}" for key in ("steps", "hours") if key in training]
    audit = _of(about, "audit", "parts").values()
    costs = {
        key: sum(part.get(key) or 0 for part in audit if isinstance(part, dict))
        for key in ("parameters", "mflops")
    }
    kbps = [f"{rate / 1000:g}" for rate in spec.bitrates_bps]
    rows = {
        "sample rate": f"{rates} kHz, channels: {spec.channels}",
        "bitrates": f"{', '.join(kbps)} kbit/s",
        "lowest bitrate in training": f"{spec.lowest_bitrate_bps / 1000:g} kbit/s",
        "latency": f"{1000 * spec.latency_samples / spec.sample_rate_hz:g} ms",
        "codes": f"{spec.codebooks} codebooks of {spec.codebook_size} entries, "
        f"{spec.frame_rate_hz:g} frames a second",
        "parameters": f"{costs['parameters'] / 1e6:.3g} M" if costs["parameters"] else "",
        "cost": f"{costs['mflops']:.4g} MFLOPS" if costs["mflops"] else "",
        "trained for": ", ".join(trained),
        "trained on": ", ".join(sources),
    }
    lines = (f"| {key} | {_cell(value)} |" for key, value in rows.items() if value)
    title = f"# {_cell(spec.name)}\n\nA streaming neural audio codec for Chirrup.\n"
    return "\n".join([title, "| | |", "|---|---|", *lines, "", _USE])


_USE = """## Use

```
pip install 'chirrup[hub]'
```

```python
import chirrup

codec = chirrup.load("hf://OWNER/NAME")  # the address of this repository
codes = codec.encode(audio)
audio = codec.decode(codes)
```

A model folder is code: load it only if you trust its author.
"""


def _rates_khz(spec: ModelSpec) -> tuple[float, float]:
    return spec.input_rate_hz / 1000, spec.sample_rate_hz / 1000


def _cell(text: str) -> str:
    """Escape a text for a table, because ``model.json`` may come from anybody."""
    return re.sub(r"([\\|<>`\[\]*_])", r"\\\1", " ".join(text.split()))


def _of(about: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the object at a path of keys, or an empty one."""
    value: Any = about
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


def _without_relative_links(text: str) -> str:
    """Replace links to other files, which the hub does not have, by their texts."""
    return re.sub(r"!?\[([^\]]*)\]\((?!https?://|#)[^)]*\)", r"\1", text)
