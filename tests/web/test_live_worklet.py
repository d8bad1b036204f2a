"""The audio worklet of live use in Chromium, rendered offline."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.cli.demo import CLIP

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECONDS = 2
RENDER = """async ({ name, rate, signal, settings, change }) => {
  const { listModels } = await import("./modules/models.js");
  const { openLive } = await import("./modules/live.js");
  const model = (await listModels()).find((each) => each.name === name);
  const context = new OfflineAudioContext(1, signal.length, rate);
  const reports = [], packets = [], errors = [];
  const options = { loop: change !== "post", depth: { least_s: 0.005, start_s: 0.005 }, settings };
  const live = await openLive(
    context, model, options,
    {
      onReport: (report) => reports.push(report),
      onPacket: ({ payload, ...rest }) => packets.push({ payload: [...payload], ...rest }),
      onError: (text) => errors.push(text),
    },
  );
  const source = context.createBufferSource();
  source.buffer = context.createBuffer(1, signal.length, rate);
  source.buffer.copyToChannel(Float32Array.from(signal), 0);
  source.connect(live.node).connect(context.destination);
  source.start();
  if (change && change !== "post")
    context.suspend(signal.length / rate / 2).then(async () => {
      live.set(change);
      await new Promise((go) => setTimeout(go, 100)); // the message arrives between two quanta
      context.resume();
    });
  const output = [...(await context.startRendering()).getChannelData(0)];
  await new Promise((go) => setTimeout(go, 200));
  return { output, reports, packets, errors };
}"""


def clip(rate_hz: int) -> np.ndarray:
    speech, _ = soundfile.read(CLIP, frames=SECONDS * 24_000, dtype="float32")
    places = np.arange(SECONDS * rate_hz) * 24_000 / rate_hz
    return np.interp(places, np.arange(len(speech)), speech).astype(np.float32)


def render(
    page: "Page", signal: np.ndarray, rate_hz: int, name: str = "iris-t1", **given: Any
) -> dict[str, Any]:
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.goto("icon.svg")
    job = {"name": name, "rate": rate_hz, "signal": signal.tolist(), "settings": {}} | given
    found = page.evaluate(RENDER, job)
    assert found["errors"] == []
    return found


def lag_s(signal: np.ndarray, output: np.ndarray, rate_hz: int) -> float:
    """Return the delay at which the output is most similar to the signal."""
    size = 2 * len(signal)
    spectrum = np.fft.rfft(output, size) * np.conj(np.fft.rfft(signal, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: rate_hz // 2])) / rate_hz


@pytest.mark.parametrize(
    ("name", "rate_hz"), [("iris-t1", 24_000), ("iris-t1", 48_000), ("tq-small", 48_000)]
)
def test_the_delay_is_the_reported_one(page: "Page", name: str, rate_hz: int) -> None:
    signal = clip(rate_hz)
    found = render(page, signal, rate_hz, name)
    report = found["reports"][-1]
    measured = lag_s(signal, np.array(found["output"]), rate_hz)
    assert 1000 * measured == pytest.approx(report["delay_ms"], abs=0.5)
    assert report["delay_ms"] < report["framing_ms"] + report["model_ms"] + 12
    assert report["counts"]["lost"] == report["counts"]["concealed"] == 0
    assert report["sent"] - report["counts"]["played"] <= 2


def test_settings_act_at_once_and_losses_are_counted(page: "Page") -> None:
    change = {"codebooks": 2, "redundancy": 1, "network": {"loss_percent": 30}}
    found = render(page, clip(24_000), 24_000, settings={"codebooks": 12}, change=change)
    first, last = found["reports"][len(found["reports"]) // 2 - 1], found["reports"][-1]
    assert first["bits_per_s"] == pytest.approx(8 * 16 * 50, rel=0.05)
    assert last["bits_per_s"] == pytest.approx(8 * 6 * 50, rel=0.05)
    assert first["dropped"] == 0
    assert last["dropped"] == pytest.approx(0.3 * 50 * SECONDS / 2, abs=14)
    counts = last["counts"]
    assert counts["recovered"] > 0
    assert counts["concealed"] + counts["recovered"] >= last["dropped"] - 2


def test_the_bypass_is_the_input_as_late_as_the_decoded_audio(page: "Page") -> None:
    signal = clip(48_000)
    found = render(page, signal, 48_000, change={"bypass": True})
    late = round(found["reports"][-1]["delay_ms"] * 48)
    half = len(signal) // 2 + 256
    expected = signal[half - late : len(signal) - late]
    np.testing.assert_allclose(np.array(found["output"])[half:], expected, atol=1e-6)


def test_the_posted_packets_are_those_of_python(page: "Page") -> None:
    settings = {"codebooks": 6, "redundancy": 2}
    found = render(page, clip(24_000), 24_000, settings=settings, change="post")
    codec = chirrup.load("iris-t1")
    encoder = codec.encoder(codec.bitrates_bps[5], redundancy=2)
    expected = [list(packet) for packet in encoder.push(clip(24_000))]
    packets = found["packets"]
    assert [packet["timestamp"] for packet in packets] == [480 * n for n in range(50 * SECONDS)]
    assert [packet["starts"] for packet in packets] == [True] + [False] * (len(packets) - 1)
    same = [packet["payload"] == other for packet, other in zip(packets, expected, strict=True)]
    assert np.mean(same) >= 0.99  # one code of 600 may differ by the order of sums
    assert not any(found["output"])


def test_samples_that_are_not_numbers_do_no_harm(page: "Page") -> None:
    signal = clip(24_000)
    signal[1000:1003] = np.nan, np.inf, -3e38
    output = np.array(render(page, signal, 24_000)["output"])
    assert np.isfinite(output).all()
    assert np.abs(output[-24_000:]).max() > 0.01
