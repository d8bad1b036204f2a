"""The player that switches between sounds, in a browser."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

RATE_HZ, SECONDS = 24_000, 4
PREPARE = """async () => {
  const { Player, Sound } = await import("/modules/player.js");
  const rising = Float32Array.from({ length: 96000 }, (_, n) => n / 192000); // a value is a place
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      globalThis.analyser ??= new AnalyserNode(this.context, { fftSize: 32768 });
      connect.call(this, analyser);
    }
    return connect.call(this, target, ...rest);
  };
  globalThis.first = Sound.of([rising], 24000);
  globalThis.second = Sound.of([rising], 24000);
  globalThis.quieter = Sound.of([rising], 24000, 0.25);
  globalThis.player = new Player({ rateHz: 24000 });
  globalThis.wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  globalThis.recorded = () => {
    const samples = new Float32Array(32768);
    analyser.getFloatTimeDomainData(samples);
    return [...samples];
  };
}"""


@pytest.fixture
def player(page: "Page") -> "Page":
    page.route(
        "**/pages/*.js", lambda route: route.fulfill(content_type="text/javascript", body="")
    )
    page.goto("index.html")
    page.evaluate(PREPARE)
    return page


def test_a_switch_goes_on_at_the_same_sample(player: "Page") -> None:
    """Both sounds are one ramp, in which a switch that is not exact leaves a step."""
    samples = np.array(
        player.evaluate("""async () => {
          await player.play(first);
          await wait(0.4);
          await player.play(second);
          await wait(0.3);
          await player.play(first);
          const played = () => recorded().filter((x) => x).length;
          for (let i = 0; i < 100 && played() < 0.9 * 24000; i++) {  // a busy machine plays late
            await wait(0.1);
          }
          return recorded();
        }""")
    )
    played = samples[np.flatnonzero(samples)[0] :]
    assert len(played) > 0.8 * RATE_HZ
    steps = np.diff(played[round(0.01 * RATE_HZ) :])
    assert steps == pytest.approx(1 / 192_000, abs=2e-7)


def test_a_sound_has_its_gain_and_a_place_is_exact(player: "Page") -> None:
    samples = np.array(
        player.evaluate("""async () => {
          await player.play(quieter, 0.5);
          await wait(0.3);
          return recorded();
        }""")
    )
    played = samples[np.flatnonzero(samples)[0] - 1 :]
    after = 480  # beyond the fade
    assert played[after] == pytest.approx(0.25 * (48_000 + after) / 192_000, abs=2e-6)


def test_pause_seek_and_the_end(player: "Page") -> None:
    found = player.evaluate("""async () => {
      await player.play(first);
      await wait(0.3);
      player.pause();
      const paused = [player.playing, player.now()];
      player.seek(0.25);
      const sought = player.now();
      await player.play(second);
      await wait(0.2);
      const resumed = player.now();
      player.seek(0.98);
      await wait(0.4);
      return { paused, sought, resumed, end: [player.playing, player.now()] };
    }""")
    assert found["paused"][0] is False
    assert 0.03 < found["paused"][1] < 0.3
    assert found["sought"] == 0.25
    assert 0.25 < found["resumed"] < 0.5
    assert found["end"] == [False, 0]


def test_a_region_repeats(player: "Page") -> None:
    places = player.evaluate("""async () => {
      player.repeat(true, [0.5, 0.55]);
      await player.play(first);
      const places = [];
      for (let n = 0; n < 12; ++n) {
        await wait(0.05);
        places.push(player.now());
      }
      player.repeat(false);
      await wait(0.3);
      return [...places, player.now()];
    }""")
    assert all(0.5 <= place <= 0.55 for place in places[:-1])
    assert places[-1] > 0.55


def test_a_sound_that_cannot_be_decoded_is_an_error_and_the_other_goes_on(player: "Page") -> None:
    found = player.evaluate("""async () => {
      const { Sound } = await import("/modules/player.js");
      await player.play(first);
      const text = await player.play(Sound.at("style.css")).catch((error) => error.name);
      return [text, player.playing];
    }""")
    assert found == ["EncodingError", True]
