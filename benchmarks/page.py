"""The page in a browser: loaded bytes, time to the first sound, and its codes against Python.

python benchmarks/page.py [MODEL ...]

It needs Linux, Playwright and Chromium. Wall times depend on the load of the machine, which the
first line prints. CPU time is that of all processes of the browser.
"""

import argparse
import io
import os
import shutil
import threading
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from rich.table import Table

import chirrup
from chirrup.cli.demo import CLIP
from chirrup.resampling import resample_blocks
from chirrup.serve import assets
from chirrup.serve.page import PageServer
from shared import console, table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SECONDS = 10
PATIENCE_MS = 120_000

DROP = """async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "clip.wav"));
  const started = performance.now(), elapsed = () => (performance.now() - started) / 1000;
  dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
  const until = async (test) => {
    while (!test()) await new Promise((resolve) => setTimeout(resolve, 5));
    return elapsed();
  };
  const tracks = () => [...document.querySelectorAll(".track .pick")];
  const ready = async (number) => {
    await until(() => tracks()[number] && !tracks()[number].disabled);
    tracks()[number].click();
    await until(() => tracks()[number].ariaPressed === "true");
    return elapsed();
  };
  return [await ready(0), await ready(1)];
}"""
TICKS = os.sysconf("SC_CLK_TCK")
CODE = """async ([name, text, rateHz, codebooks]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const signal = new Float32Array(bytes.buffer);
  const [{ Coder }, { firstCodebooks }, { listModels }] = await Promise.all(
    ["coder", "codes", "models"].map((each) => import(`/modules/${each}.js`)));
  const coder = new Coder(), model = (await listModels()).find((each) => each.name === name);
  await coder.open(model);
  const coded = await coder.encode(model, [signal], rateHz);
  const kept = coded.results.map((codes) => firstCodebooks(codes, model.codebooks, codebooks));
  const copy = await coder.decode(model, kept, codebooks, rateHz, signal.length);
  coder.close();
  const sent = (array) => {
    const view = new Uint8Array(array.buffer), parts = [];
    for (let n = 0; n < view.length; n += 4096)
      parts.push(String.fromCharCode(...view.subarray(n, n + 4096)));
    return btoa(parts.join(""));
  };
  return [sent(coded.results[0]), sent(copy.results[0]), coded.seconds, copy.seconds];
}"""


def clip(rate_hz: int) -> np.ndarray:
    """Return the bundled clip, repeated to `SECONDS`."""
    audio, clip_hz = soundfile.read(CLIP, dtype="float32")
    repeated = np.resize(audio, SECONDS * clip_hz)[None]
    return np.concatenate([*resample_blocks(iter([repeated]), 1, clip_hz, rate_hz)], axis=1)[0]


def cpu_seconds() -> float:
    """Return the CPU time of the processes that this one has started and that run."""
    parents, times = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # the process has ended
            continue
        parents[int(path.parent.name)] = int(fields[1])
        times[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sum(times[child] for child in found - {os.getpid()})


def opened(context: "BrowserContext") -> "Page":
    page = context.new_page()
    page.goto("")
    page.locator("#chosen li").first.wait_for()
    return page


def loaded_bytes(site: str, browser: "Browser") -> Table:
    """Return a table of the bytes that the first visit loads."""
    context = browser.new_context(base_url=site, service_workers="block")
    sizes: dict[str, int] = {}
    context.on("response", lambda answer: sizes.update({answer.url: size_of(answer.headers)}))
    page = opened(context)
    page.evaluate(DROP, wav())
    context.close()
    programs = sum(size for url, size in sizes.items() if url.endswith(assets.PROGRAM))
    rows = table("Bytes of the first visit, with the default model", "part", "files", "MB")
    count = sum(url.endswith(assets.PROGRAM) for url in sizes)
    total = sum(sizes.values())
    rows.add_row("page and engine", str(len(sizes) - count), f"{(total - programs) / 1e6:.2f}")
    rows.add_row("models", str(count), f"{programs / 1e6:.2f}")
    rows.add_row("all", str(len(sizes)), f"{total / 1e6:.2f}")
    return rows


def size_of(headers: dict[str, str]) -> int:
    return int(headers["content-length"])


def wav() -> str:
    """Return a WAV file in base 64: lists of numbers take seconds to send."""
    file = io.BytesIO()
    soundfile.write(file, clip(24_000), 24_000, format="WAV")
    return b64encode(file.getvalue()).decode()


def first_sounds(site: str, browser: "Browser", turns: int) -> Table:
    """Return a table of the seconds from dropping a clip to its first sounds."""
    headings = ("visit", "original, s", "first copy, s", "CPU until then, s")
    rows = table(f"From dropping a clip of {SECONDS} s to its sound, median", *headings)
    found: dict[str, list[Any]] = {"first, nothing kept": [], "second, model kept": []}
    for _ in range(turns):
        context = browser.new_context(base_url=site)
        for times in found.values():
            page = opened(context)
            before = cpu_seconds()
            seconds = page.evaluate(DROP, wav())
            times.append([*seconds, cpu_seconds() - before])
            page.close()
        context.close()
    for visit, times in found.items():
        rows.add_row(visit, *(f"{value:.2f}" for value in np.median(times, axis=0)))
    return rows


def parity(site: str, browser: "Browser", names: list[str]) -> Table:
    """Return a table of the codes and the audio of the page against Python."""
    headings = (
        "model",
        "bit/s",
        "equal codes, %",
        "error, dB",
        "encode, times real time",
        "decode",
    )
    rows = table("The page against Python", *headings)
    context = browser.new_context(base_url=site, service_workers="block")
    page = opened(context)
    for name in names:
        codec = chirrup.load(name)
        rate_hz = codec.input_rate_hz
        signal = clip(rate_hz)
        bitrate_bps = codec.default_bitrate_bps
        codebooks = codec.codebooks_at(bitrate_bps)
        given = [name, b64encode(signal.tobytes()).decode(), rate_hz, codebooks]
        codes, audio, encoding, decoding = page.evaluate(CODE, given)
        codes = np.frombuffer(b64decode(codes), np.int32).reshape(-1, codec.codebooks).T
        audio = np.frombuffer(b64decode(audio), np.float32)
        expected = codec.encode(signal, codec.bitrates_bps[-1])
        decoded = codec.decode(codes[:codebooks])[: len(signal)]
        error = np.square(audio - decoded).mean() / np.square(decoded).mean()
        rows.add_row(
            name,
            str(bitrate_bps),
            f"{100 * (codes == expected.data).mean():.3f}",
            f"{10 * np.log10(error):.0f}",
            *(f"{SECONDS / seconds:.1f}" for seconds in (encoding, decoding)),
        )
    context.close()
    return rows


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names; default: all")
    parser.add_argument("--turns", type=int, default=5, help="visits to time")
    given = parser.parse_args()
    found = assets.files()
    names = [path.split("/")[1] for path in found if path.endswith(assets.PROGRAM)]
    console.print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with PageServer(found, 0) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=options)
        console.print(loaded_bytes(server.address, browser))
        console.print(first_sounds(server.address, browser, given.turns))
        console.print(parity(server.address, browser, given.models or names))
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
