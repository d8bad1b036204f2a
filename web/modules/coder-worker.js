// The worker of coder.js: it opens models, and encodes and decodes one signal at a time.

import { Coding } from "./coding.js";
import { openModel } from "./models.js";
import { opusCopy } from "./opus.js";

const TURN_MS = 30; // between looks at the messages that have come
const opened = new Map(); // promises of Coding by the hash of the program
const cancelled = new Set();
let last = Promise.resolve();

addEventListener("message", ({ data }) => {
  if (data.task === "cancel") cancelled.add(data.id);
  else last = last.then(() => answer(data));
});

async function answer(data) {
  const { id, task } = data;
  const report = (stage, share) => postMessage({ id, stage, share });
  try {
    if (cancelled.has(id)) return;
    const coding = task === "opus" ? null : await coder(data.model, (share) => report("load", share));
    const before = performance.now();
    const found = await TASKS[task](data, coding, report);
    const seconds = (performance.now() - before) / 1000;
    postMessage({ id, seconds, ...found }, found.results.map((result) => result.buffer));
  } catch (error) {
    if (!cancelled.has(id)) postMessage({ id, error: error.message });
  } finally {
    cancelled.delete(id);
  }
}

const TASKS = {
  open: async () => ({ results: [] }),
  encode: ({ id, channels, rateHz }, coding, report) =>
    each(id, channels, (channel) => coding.encode(channel, rateHz), (share) => report("encode", share)),
  decode: ({ id, streams, codebooks, rateHz, samples }, coding, report) =>
    each(id, streams, (codes) => coding.decode(codes, codebooks, rateHz, samples), (share) => report("decode", share)),
  opus: ({ id, channels, rateHz, bitrateBps }, _, report) =>
    opusCopy(channels, rateHz, bitrateBps, (steps) => run(id, steps, (share) => report("encode", share))),
};

/** Run the steps of each channel. */
async function each(id, channels, steps, report) {
  const results = [];
  for (const [n, channel] of channels.entries())
    results.push(await run(id, steps(channel), (share) => report((n + share) / channels.length)));
  return { results };
}

function coder(model, report) {
  const key = model.program_sha256;
  if (!opened.has(key)) {
    const coding = openModel(model, report).then((program) => new Coding(model, program));
    opened.set(key, coding);
    coding.catch(() => opened.delete(key));
  }
  return opened.get(key);
}

/** Run a generator to its end, unless its task is cancelled. */
async function run(id, steps, report) {
  for (let turn = performance.now(); ; ) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - turn < TURN_MS) continue;
    if (value !== undefined) report(value);
    await new Promise((resolve) => setTimeout(resolve));
    if (cancelled.has(id)) throw new Error("cancelled");
    turn = performance.now();
  }
}
