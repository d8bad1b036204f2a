// The page Live: a loop from the microphone or a clip through the codec and a simulated network.

import { byId, started, tell } from "../modules/dom.js";
import { openLive } from "../modules/live.js";
import { listModels, offered } from "../modules/models.js";
import { CLEAR } from "../modules/network.js";
import { packetFrames } from "../modules/packets.js";
import { addSlider } from "../modules/slider.js";
import { openClip, openMicrophone } from "../modules/sources.js";

started();
const CLIP = new URL("../clip.flac", import.meta.url).href;
const DEPTH = { least_s: 0.005, start_s: 0.005 }; // both ends have one clock: the buffer may be short
const PACKET_MS = 5; // packets of short frames are longer than one frame
const WINDOW_REPORTS = 40; // 10 s
const HOWL_REPORTS = 8; // 2 s
const HOWL_RMS = 0.35; // of the microphone, in each report while the loop howls; loud speech has 0.2
const MOST_REDUNDANT = 4;

const percent = (value) => `${value} %`;
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const [source, modelChoice, start, original, mute] = ["source", "model", "start", "original", "mute"].map(byId);

/** @type {import("../modules/models.js").Model[]} */
let models = [];
/** What runs: {context, live, input, model, source}, or null. */
let session = null;
/** Number of the last start or stop; a start that another one has overtaken ends. */
let request = 0;
let reports = [];

// --- Controls

const codec = byId("codec-sliders"), network = byId("network-sliders");
const apply = () => session?.live.set(settings());
const sliders = {
  bitrate: addSlider(codec, { id: "bitrate", label: "Bitrate", min: 1, max: 1 }, bitrateText, apply),
  redundancy: addSlider(
    codec, { id: "redundancy", label: "Redundancy", max: MOST_REDUNDANT },
    (count) => (count ? counted(count, "codebook") : "none"), apply,
  ),
  gain: addSlider(codec, { id: "gain", label: "Input gain", min: -20, max: 20, value: 0 }, (dB) => `${dB} dB`, apply),
};
const conditions = {
  loss_percent: addSlider(network, { id: "loss", label: "Random loss", max: 50 }, percent, apply),
  bursts_percent: addSlider(network, { id: "bursts", label: "Loss in bursts", max: 50 }, percent, apply),
  burst_packets: addSlider(
    network, { id: "burst-length", label: "Mean burst", min: 1, max: 25, value: CLEAR.burst_packets },
    (count) => counted(count, "packet"), apply,
  ),
  bit_errors_percent: addSlider(
    network, { id: "bit-errors", label: "Bit errors", max: 5, step: 0.1 }, percent, apply,
  ),
  jitter_ms: addSlider(network, { id: "jitter", label: "Mean jitter", max: 100 }, (ms) => `${ms} ms`, apply),
  delay_ms: addSlider(network, { id: "network-delay", label: "Delay", max: 500, step: 10 }, (ms) => `${ms} ms`, apply),
};

function model() {
  return models.find(({ name }) => name === modelChoice.value);
}

function bitrateText(codebooks) {
  const bps = model()?.bitrates_bps[codebooks - 1];
  return bps ? `${(bps / 1000).toFixed(1)} kbit/s` : "";
}

function settings() {
  return {
    codebooks: sliders.bitrate.value,
    redundancy: sliders.redundancy.value,
    gain: 10 ** (sliders.gain.value / 20),
    muted: mute.ariaPressed === "true",
    bypass: original.ariaPressed === "true",
    network: Object.fromEntries(Object.entries(conditions).map(([name, slider]) => [name, slider.value])),
  };
}

function chooseModel() {
  const { bitrates_bps, default_bitrate_bps } = model();
  sliders.bitrate.max = bitrates_bps.length;
  sliders.bitrate.value = bitrates_bps.indexOf(default_bitrate_bps) + 1;
}

// --- Start and stop

async function begin() {
  await end();
  const mine = ++request, used = model();
  const context = new AudioContext({ latencyHint: "interactive" });
  let input = null, live = null;
  const isOver = () => mine !== request;
  showRunning(true);
  try {
    tell("Opening the input");
    input = await (source.value === "clip" ? openClip(context, CLIP) : openMicrophone(context, disconnected));
    if (isOver()) return;
    tell(`Loading ${used.name}`);
    const frames = Math.round((PACKET_MS * used.sample_rate_hz) / 1000 / used.frame_samples);
    const first = { ...settings(), frames: Math.max(packetFrames(used), Math.min(4, frames)) };
    live = await openLive(context, used, { loop: true, depth: DEPTH, settings: first }, {
      progress: (share) => isOver() || tell(`Loading ${used.name}: ${Math.round(100 * share)} %`),
      onReport: (report) => isOver() || show(report),
      onError: fail,
    });
    if (isOver()) return;
    input.node.connect(live.node).connect(context.destination);
    await context.resume();
    if (isOver()) return;
    session = { context, live, input, model: used, source: source.value };
    apply(); // the controls may have moved meanwhile
    tell(`${used.name} is running.`);
  } catch (error) {
    if (!isOver()) fail(error.message);
  } finally {
    if (isOver()) await close({ context, live, input });
  }
}

/** Stop what runs or starts. */
async function end() {
  ++request;
  const ended = session;
  session = null;
  reports = [];
  showRunning(false);
  if (ended) await close(ended);
}

async function close({ context, live, input }) {
  live?.stop();
  input?.stop();
  if (context.state !== "closed") await context.close();
}

async function fail(text) {
  await end();
  tell(text, true);
}

function disconnected() {
  fail("The microphone was disconnected. Connect it, then start again.");
}

function showRunning(runs) {
  start.textContent = runs ? "Stop" : "Start";
  original.disabled = mute.disabled = !runs;
  if (!runs) for (const button of [original, mute]) button.ariaPressed = "false";
}

// --- Meters

function show(report) {
  reports = [...reports.slice(-WINDOW_REPORTS), report];
  const { context, input, model: used } = session ?? {};
  if (!used) return;
  const text = (id, main, parts) => {
    byId(id).textContent = main;
    byId(`${id}-parts`).textContent = parts;
  };
  const { encode_ms, decode_ms, core_percent, delay_ms } = report;
  if (core_percent !== null) {
    const frameMs = (1000 * used.frame_samples) / used.sample_rate_hz;
    text(
      "cpu", `${core_percent.toFixed(0)} % of a core`,
      `a frame of ${short(frameMs)} ms takes ${encode_ms.toPrecision(2)} ms to encode, ` +
        `${decode_ms.toPrecision(2)} ms to decode`,
    );
  }
  if (delay_ms !== null) {
    const devices = 1000 * ((context.baseLatency ?? 0) + (context.outputLatency ?? 0) + input.latency_s);
    const rest = delay_ms - report.framing_ms - report.model_ms;
    text(
      "delay", `${Math.round(delay_ms + devices)} ms`,
      `packet ${short(report.framing_ms)}, model ${short(report.model_ms)}, network and buffer ${short(rest)}, ` +
        `sound devices ${short(devices)}`,
    );
  }
  text("bits", `${(report.bits_per_s / 1000).toFixed(1)} kbit/s`, `codes ${bitrateText(sliders.bitrate.value)}`);
  showLosses(report, reports[0]);
  if (isHowling()) {
    mute.click();
    tell("The microphone was muted: the loop howls, or the input is much too loud. Use headphones or less gain.", true);
  }
  for (const [id, peak] of [["in-level", report.input_peak], ["out-level", report.output_peak]])
    byId(id).value = Math.max(-60, 20 * Math.log10(peak + 1e-9));
}

/** Return whether the microphone has recorded nothing but very loud sound for some time. */
function isHowling() {
  const listens = session.source === "microphone" && mute.ariaPressed !== "true";
  if (!listens || reports.length < HOWL_REPORTS) return false;
  return reports.slice(-HOWL_REPORTS).every(({ input_rms }) => input_rms > HOWL_RMS);
}

function showLosses(now, before) {
  const since = (read) => read(now) - read(before);
  const sent = since(({ sent: count }) => count), lost = since(({ dropped }) => dropped);
  const parts = ["late", "malformed", "concealed", "recovered"].map((name) => {
    return `${name} ${since(({ counts }) => counts[name])}`;
  });
  byId("lost").textContent = sent ? `${((100 * lost) / sent).toFixed(1)} %` : "-";
  byId("lost-parts").textContent = `${lost} of ${sent}; ${parts.join(", ")}`;
}

const short = (ms) => String(Math.round(10 * ms) / 10);

// --- Events

start.addEventListener("click", () => {
  if (start.textContent === "Start") return begin();
  tell("");
  return end();
});
for (const button of [original, mute])
  button.addEventListener("click", () => {
    button.ariaPressed = String(button.ariaPressed !== "true");
    apply();
  });
byId("clear").addEventListener("click", () => {
  for (const [name, slider] of Object.entries(conditions)) slider.value = CLEAR[name];
  apply();
});
source.addEventListener("change", () => session && begin());
modelChoice.addEventListener("change", () => {
  chooseModel();
  if (session) begin();
});

try {
  models = offered(await listModels());
  modelChoice.append(...models.map(({ name }) => new Option(name)));
  chooseModel();
  start.disabled = false;
} catch (error) {
  tell(error.message, true);
}
