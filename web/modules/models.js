// The models of the page: their list, and their programs, which are fetched once, checked by hash and
// kept in the browser's cache.

import { Engine } from "../chirrup.js";
import { fetched } from "./fetched.js";

const CACHE = "chirrup-programs";
const here = (path) => new URL(`../${path}`, import.meta.url).href;

/**
 * A model of the list `models.json`; `chirrup.serve.assets.describe` writes its values.
 * @typedef {{name: string, sample_rate_hz: number, input_rate_hz: number, channels: number,
 *   frame_samples: number, delay_samples: number, latency_samples: number, preroll_frames: number,
 *   codebooks: number, codebook_size: number, bits_per_code: number, bitrates_bps: number[],
 *   default_bitrate_bps: number, lowest_bitrate_bps: number, lost_frames: string,
 *   codes_sha256: string, program: string, program_sha256: string, program_bytes: number,
 *   earlier: boolean}} Model
 */

/** Return the models of the page. @returns {Promise<Model[]>} */
export async function listModels() {
  const answer = await fetched(here("models.json"), "The list of models");
  return answer.json().catch(() => {
    throw new Error("The list of models is damaged. Load the page again.");
  });
}

/** Return the models to choose from: earlier weights only decode. @param {Model[]} models */
export function offered(models) {
  return models.filter(({ earlier }) => !earlier);
}

/** Return the compiled engine. @returns {Promise<WebAssembly.Module>} */
export async function engineModule() {
  return WebAssembly.compile(await (await fetched(here("chirrup.wasm"), "The engine")).arrayBuffer());
}

/**
 * Return the bytes of a model's program, from the cache if it has them.
 * @param {Model} model
 * @param {(share: number) => void} [progress] receives the share of the bytes that have arrived
 * @returns {Promise<Uint8Array>}
 * @throws {Error} the file cannot be fetched, or its SHA-256 is wrong
 */
export async function programBytes(model, progress = () => {}) {
  const key = `${here(model.program)}?${model.program_sha256}`;
  const cache = await globalThis.caches?.open(CACHE).catch(() => null); // absent without a secure context
  const kept = await cache?.match(key);
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    if ((await sha256(bytes)) === model.program_sha256) return bytes;
    await cache.delete(key);
  }
  const bytes = await received(await fetched(here(model.program), `The model ${model.name}`), model.program_bytes, progress);
  if ((await sha256(bytes)) !== model.program_sha256)
    throw new Error(`The file of ${model.name} is damaged. Load the page again.`);
  await cache?.put(key, new Response(bytes)).catch(() => {}); // the disk may be full
  return bytes;
}

/**
 * Open a model: fetch its program and the engine.
 * @param {Model} model
 * @param {(share: number) => void} [progress]
 * @returns {Promise<import("../chirrup.js").Program>}
 */
export async function openModel(model, progress) {
  const [module, bytes] = await Promise.all([engineModule(), programBytes(model, progress)]);
  return new Engine(module).open(bytes);
}

async function received(response, size, progress) {
  const parts = [];
  let count = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    count += value.length;
    progress(Math.min(1, count / size));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return sha256Missing();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function sha256Missing() {
  throw new Error("This browser checks files only on https:// and localhost. Open the page there.");
}
