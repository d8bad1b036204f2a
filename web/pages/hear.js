// The page Hear: a sound, its coded copies, and a player that switches between them.

import { byId, started } from "../modules/dom.js";
import { Choices } from "./hear-choices.js";
import { Copies, MOST_SECONDS, decodeChirrup } from "./hear-copies.js";
import { Source } from "./hear-source.js";
import { Tracks } from "./hear-tracks.js";
import { Coder } from "../modules/coder.js";
import { isChirrup } from "../modules/file-header.js";
import { listModels, offered } from "../modules/models.js";
import { readBytes, readSound } from "../modules/sound-file.js";

started();
const status = byId("status");
const coder = new Coder();
let models = [], requests = 0; // the last of several requests counts

/** State what has happened, also to screen readers. */
function announce(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("error", wrong);
}

const copies = new Copies(coder);
const tracks = new Tracks({
  announce,
  remove: (choice) => choices.remove(choice),
  again: (choice) => {
    tracks.remove(choice);
    announce("");
    makeCopy(choice);
  },
});
const choices = new Choices({
  added: (choice) => makeCopy(choice),
  removed: (choice) => tracks.remove(choice),
});
const source = new Source({ announce, open, opened });

/** Open a file that was dropped or chosen, unless another one is opened before it is decoded. */
async function open(file, name) {
  const request = ++requests;
  const head = await file.slice(0, 8).arrayBuffer().catch(() => {
    throw new Error(`${name} cannot be read. Give a file, not a folder.`);
  });
  if (!isChirrup(new Uint8Array(head))) {
    const sound = await readSound(file, name);
    if (request === requests) opened(sound, name);
    return;
  }
  await ready;
  announce(`Decoding ${name}.`);
  const found = await decodeChirrup(coder, models, await readBytes(file, name), name);
  if (request === requests) opened(found, name);
}

/** Show a new sound, and make its copies. */
function opened(sound, name) {
  const { channels, rateHz, notes = [] } = sound;
  requests++;
  if (!channels[0].length) throw new Error(`${name} has no samples.`);
  const long = channels[0].length > MOST_SECONDS * rateHz;
  const kept = long ? channels.map((samples) => samples.slice(0, MOST_SECONDS * rateHz)) : channels;
  copies.use(tracks.begin(kept, rateHz, name, sound), rateHz);
  const seconds = kept[0].length / rateHz, count = kept.length;
  const duration = seconds < 0.1 ? `${(1000 * seconds).toFixed(2)} ms` : `${seconds.toFixed(1)} s`;
  const facts = `${name}: ${duration}, ${rateHz / 1000} kHz, ${count} channel${count > 1 ? "s" : ""}.`;
  const all = long ? [`Only the first ${MOST_SECONDS / 60} minutes are used.`, ...notes] : notes;
  source.show([facts, ...all].join(" ")); // these stay, while copies that are ready replace the status
  announce([`Loaded ${name}.`, ...all].join(" "));
  for (const choice of choices.list) makeCopy(choice);
}

async function makeCopy(choice) {
  if (!tracks.sound) return;
  const track = tracks.add(choice);
  try {
    const copy = await copies.make(choice, { progress: track.progress, signal: track.signal });
    track.finish(copy);
    if (!status.classList.contains("error")) announce(`${choice.label} is ready.`); // an error stays
  } catch (error) {
    if (error.name === "AbortError") return;
    track.fail(error.message);
    announce(`${choice.label}: ${error.message}`, true);
  }
}

const ready = listModels().then((found) => {
  models = found;
  choices.offer(offered(models));
  if (!navigator.connection?.saveData) coder.open(choices.first).catch(() => {}); // coding reports the error
});
ready.catch((error) => {
  announce(error.message, true);
  choices.fail(`There are no codecs: ${error.message}`);
});
