"""The worker that codes whole signals, in a browser."""

from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

import chirrup
from chirrup.cli.demo import CLIP

if TYPE_CHECKING:
    from playwright.sync_api import Page

PREPARE = """async (clip) => {
  const [{ Coder }, { listModels, offered }] = await Promise.all(
    ["coder", "models"].map((name) => import(`/modules/${name}.js`)));
  globalThis.coder = new Coder();
  const models = offered(await listModels());
  globalThis.models = Object.fromEntries(models.map((model) => [model.name, model]));
  globalThis.clip = Float32Array.from(clip);
}"""


def opened(page: "Page") -> None:
    """Open the page without its own script, and load the modules."""
    page.route(
        "**/pages/*.js", lambda route: route.fulfill(content_type="text/javascript", body="")
    )
    page.goto("index.html")
    page.evaluate(PREPARE, clip().tolist())


def clip() -> np.ndarray:
    return soundfile.read(CLIP, dtype="float32")[0]


def test_the_worker_computes_the_codes_of_python_and_reports_progress(page: "Page") -> None:
    opened(page)
    found: dict[str, Any] = page.evaluate("""async () => {
      const stages = new Set(), model = models["iris-t1"];
      const progress = (stage, share) => {
        if (!(share >= 0 && share <= 1)) throw new Error(`share ${share}`);
        stages.add(stage);
      };
      const { results, seconds } = await coder.encode(model, [clip, clip], 24000, { progress });
      const copy = await coder.decode(model, results, 12, 24000, clip.length, { progress });
      return {
        stages: [...stages], seconds, codes: results.map((each) => [...each]),
        lengths: copy.results.map((each) => each.length), first: [...copy.results[0]],
        same: copy.results[0].every((value, n) => value === copy.results[1][n]),
      };
    }""")
    codec = chirrup.load("iris-t1")
    expected = codec.encode(clip(), 6000)
    codes = np.array(found["codes"][0]).reshape(-1, 12).T
    assert (codes == expected.data).mean() >= 0.9999
    assert found["codes"][1] == found["codes"][0]  # a channel does not change the next one
    assert found["same"]
    assert set(found["stages"]) == {"load", "encode", "decode"}
    assert found["seconds"] > 0
    assert found["lengths"] == [len(clip())] * 2
    error = np.array(found["first"]) - codec.decode(expected)
    assert np.square(error).mean() < 1e-6 * np.square(clip()).mean()


def test_a_cancelled_task_ends_and_the_next_one_runs(page: "Page") -> None:
    opened(page)
    found = page.evaluate("""async () => {
      const long = new Float32Array(24000 * 600), model = models["lrac-t1"];
      const stop = new AbortController(), waits = new AbortController();
      const both = [coder.encode(model, [long], 24000, { signal: stop.signal,
        progress: (stage) => stage === "encode" && stop.abort() }),
        coder.encode(model, [long], 24000, { signal: waits.signal })];
      waits.abort();
      const reasons = (await Promise.allSettled(both)).map(({ reason }) => reason?.name);
      const { results } = await coder.encode(model, [clip], 24000);
      return { reasons, frames: results[0].length / model.codebooks };
    }""")
    assert found["reasons"] == ["AbortError", "AbortError"]
    assert found["frames"] == -(-(len(clip()) + 480) // 240)


def test_a_damaged_program_is_an_error_and_is_fetched_again(page: "Page") -> None:
    opened(page)
    page.route("**/model.chirp", lambda route: route.fulfill(body=b"damaged"))
    encode = """async () => {
      try {
        await coder.encode(models["lrac-t1"], [clip], 24000);
      } catch (error) { return error.message; }
    }"""
    assert page.evaluate(encode) == "The file of lrac-t1 is damaged. Load the page again."
    page.unroute("**/model.chirp")
    assert page.evaluate(encode) is None
