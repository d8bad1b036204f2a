// The page Talk: the form of a room, and meters of the voices.

import { byId, element, started, tell } from "../modules/dom.js";
import { listModels, offered } from "../modules/models.js";
import { newRoomName, roomAddress } from "../modules/room.js";
import { Seal, keyOfPassphrase } from "../modules/seal.js";
import { Talk } from "../modules/talk.js";

started();
const [form, room, relay, token, passphrase, keyFile, modelChoice, bitrate, joining, mute, push, hold] = [
  "form", "room", "relay", "token", "passphrase", "key-file", "model", "bitrate", "join", "mute", "push", "hold",
].map(byId);
const fields = [room, relay, token, passphrase, keyFile, modelChoice, bitrate, byId("new-room")];

/** @type {import("../modules/models.js").Model[]} */
let models = [];
/** @type {Talk | null} */
let talk = null;

// --- The form

const model = () => offered(models).find(({ name }) => name === modelChoice.value);

function chooseModel() {
  const { bitrates_bps, default_bitrate_bps } = model();
  const options = bitrates_bps.map((bps) => new Option(kbps(bps), bps));
  bitrate.replaceChildren(...options);
  bitrate.value = default_bitrate_bps;
}

function nameRoom(name) {
  room.value = name;
  history.replaceState(null, "", `#room=${encodeURIComponent(name)}`);
}

/** Take the room of the address, or a new one. */
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("room");
  nameRoom(given || newRoomName());
}

async function copyLink() {
  const link = new URL(`#room=${encodeURIComponent(room.value)}`, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    tell("The link is in the clipboard.");
  } catch {
    tell(`Copy this link: ${link}`);
  }
}

// --- The talk

async function join() {
  let address, seal;
  joining.disabled = true;
  try {
    address = roomAddress(relay.value, room.value);
    seal = await chosenSeal();
  } catch (error) {
    return tell(error.message, true);
  } finally {
    joining.disabled = false;
  }
  const codebooks = model().bitrates_bps.indexOf(Number(bitrate.value)) + 1;
  const options = { models, model: model(), codebooks, address, token: token.value.trim(), seal };
  talk = new Talk(options, { onChange: show, onStatus: tell, onEnd: ended });
  applyTalking();
  showJoined(true);
  await talk.start();
}

/** Return the encryption with the key of the form, or null. */
async function chosenSeal() {
  const [file] = keyFile.files;
  if (file && passphrase.value) throw new Error("Give a passphrase or a key file, not both.");
  if (file) return Seal.make(new Uint8Array(await file.arrayBuffer()));
  if (!passphrase.value) return null;
  tell("Computing the key");
  return Seal.make(await keyOfPassphrase(passphrase.value));
}

function ended(text) {
  talk = null;
  showJoined(false);
  tell(text || "You left the room.", Boolean(text));
}

function showJoined(isJoined) {
  joining.textContent = isJoined ? "Leave" : "Join";
  for (const field of fields) field.disabled = isJoined;
  mute.disabled = hold.disabled = !isJoined;
  byId("joined").hidden = !isJoined;
  if (isJoined && push.checked) hold.focus(); // the space bar must not press Leave
  if (!isJoined) byId("others").replaceChildren();
}

/** Send the voice unless it is muted, or only while the button is held. */
function applyTalking() {
  mute.hidden = push.checked;
  hold.hidden = !push.checked;
  const isHeld = hold.ariaPressed === "true";
  if (talk) talk.talks = push.checked ? isHeld : mute.ariaPressed !== "true";
}

function press(isPressed) {
  hold.ariaPressed = String(isPressed);
  hold.textContent = isPressed ? "Talking" : "Hold to talk";
  applyTalking();
}

// --- Meters

const kbps = (bps) => `${Number((bps / 1000).toFixed(1))} kbit/s`;
const decibels = (peak) => Math.max(-60, 20 * Math.log10(peak + 1e-9));

function show() {
  if (!talk) return;
  byId("level").value = decibels(talk.level);
  const isSent = talk.talks && !talk.isAlone;
  byId("sent").textContent = isSent ? `${(talk.bits_per_s / 1000).toFixed(1)} kbit/s` : "nothing";
  const reports = [...(talk.call?.reports.values() ?? [])], losses = reports.map(({ lossPercent }) => lossPercent);
  byId("sent-parts").textContent = losses.length
    ? `lost on the way: ${losses.map((loss) => `${loss.toFixed(0)} %`).join(", ")}` : "";
  if (talk.core_percent !== null) byId("cpu").textContent = `${talk.core_percent.toFixed(0)} % of a core`;
  showOthers(talk.shown());
  byId("nobody").hidden = !talk.isAlone;
  const warning = talk.warning ?? "";
  byId("warning").hidden = !warning;
  if (byId("warning").textContent !== warning) byId("warning").textContent = warning; // read aloud once
}

/** Show an item for each voice. The items of voices that stay are kept. */
function showOthers(voices) {
  const list = byId("others"), known = new Map([...list.children].map((item) => [item.dataset.source, item]));
  const items = voices.map((voice) => {
    const item = known.get(String(voice.source)) ?? newItem(voice.source);
    const [name, level, facts] = item.children;
    name.textContent = `${voice.model}, ${kbps(voice.bitrate_bps)}`;
    level.value = decibels(voice.level);
    const delay = voice.delay_ms === null ? "silent" : `delay about ${Math.round(voice.delay_ms)} ms`;
    facts.textContent = voice.fault ?? `${delay}, lost ${voice.lost_percent.toFixed(1)} %`;
    facts.classList.toggle("error", voice.fault !== null);
    return item;
  });
  if (items.length !== known.size || items.some((item, n) => list.children[n] !== item)) list.replaceChildren(...items);
}

function newItem(source) {
  const id = `voice-${source}`;
  return element("li", { "data-source": source }, element("strong", { id }),
    element("meter", { min: -60, max: 0, high: -3, "aria-labelledby": id }), element("p"));
}

// --- Events

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (talk) talk.end();
  else join();
});
modelChoice.addEventListener("change", chooseModel);
room.addEventListener("change", () => nameRoom(room.value));
byId("new-room").addEventListener("click", () => nameRoom(newRoomName()));
byId("copy").addEventListener("click", copyLink);
push.addEventListener("change", applyTalking);
mute.addEventListener("click", () => {
  mute.ariaPressed = String(mute.ariaPressed !== "true");
  applyTalking();
});
hold.addEventListener("pointerdown", (event) => {
  hold.setPointerCapture(event.pointerId);
  press(true);
});
for (const name of ["pointerup", "pointercancel", "blur"]) hold.addEventListener(name, () => press(false));
addEventListener("keydown", (event) => isSpace(event) && press(true));
addEventListener("keyup", (event) => isSpace(event) && press(false));
addEventListener("blur", () => press(false));
addEventListener("hashchange", () => talk || readAddress());
addEventListener("pagehide", () => talk?.end());

/** Return whether a key is the one of push-to-talk, and prevent its other use. */
function isSpace(event) {
  const isOther = event.target.closest?.("input, select, summary, a, button:not(#hold)");
  if (event.code !== "Space" || !talk || !push.checked || isOther) return false;
  event.preventDefault();
  return true;
}

relay.value = new URL(".", location.href).href;
readAddress();
try {
  models = (await listModels()).filter(({ channels }) => channels === 1);
  modelChoice.append(...offered(models).map(({ name }) => new Option(name)));
  chooseModel();
  joining.disabled = false;
} catch (error) {
  tell(error.message, true);
}
