// RTP and RTCP packets of calls, and descriptions of streams. docs/reference/format.md describes them,
// and src/chirrup/live/rtp.py and description.py write and read the same.

import { joined } from "./bits.js";

export const VOICE_TYPE = 96, MAX_DATAGRAM = 1400, HEADER_BYTES = 12;
export const DESCRIPTION = 0, COMFORT_NOISE = 1, SEALED = 2; // subtypes of application packets
const VERSION = 2, SENDER_REPORT = 200, RECEIVER_REPORT = 201, BYE = 203, APPLICATION = 204;
const NAME = [0x43, 0x48, 0x52, 0x50]; // "CHRP"
const SENT_BYTES = 20, BLOCK_BYTES = 24;
const HASH_DIGITS = 32;
const RANGES = {
  rate: [1000, 1_000_000], channels: [1, 16], bitrate: [1, 10_000_000], codebooks: [1, 128], frames: [1, 4],
  redundancy: [0, 16],
};

/**
 * An RTP packet. `starts` is the marker: the first packet of a talk spurt.
 * @typedef {{sequence: number, timestamp: number, source: number, payload: Uint8Array, starts: boolean,
 *   kind?: number}} Voice
 * A message of RTCP. `lost_share` is 0 to 1, `ntp` is in 1/2**32 s.
 * @typedef {{type: "sent", ntp: bigint, timestamp: number, packets: number, payloadBytes: number}
 *   | {type: "report", source: number, lostShare: number, lost: number, highest: number, jitter: number,
 *      lastReport: number, sinceLastReport: number}
 *   | {type: "application", kind: number, data: Uint8Array} | {type: "bye"}} Message
 * @typedef {{source: number, messages: Message[]}} Control
 */

/** Return the datagram of an RTP packet. @param {Voice} voice @returns {Uint8Array} */
export function packVoice({ sequence, timestamp, source, payload, starts, kind = VOICE_TYPE }) {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length), view = new DataView(bytes.buffer);
  bytes[0] = VERSION << 6;
  bytes[1] = (starts ? 0x80 : 0) | kind;
  view.setUint16(2, sequence & 0xffff);
  view.setUint32(4, timestamp >>> 0);
  view.setUint32(8, source);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** Return an RTCP datagram. @param {Control} control @returns {Uint8Array} */
export function packControl({ source, messages }) {
  return joined(messages.map((message) => packed(source, message)));
}

function packed(source, message) {
  const body = new Uint8Array(BLOCK_BYTES), view = new DataView(body.buffer);
  switch (message.type) {
    case "sent":
      view.setBigUint64(0, BigInt.asUintN(64, message.ntp));
      view.setUint32(8, message.timestamp >>> 0);
      view.setUint32(12, message.packets >>> 0);
      view.setUint32(16, message.payloadBytes >>> 0);
      return framed(SENDER_REPORT, 0, source, body.subarray(0, SENT_BYTES));
    case "report": {
      const share = Math.min(255, Math.max(0, Math.trunc(message.lostShare * 256)));
      const lost = Math.min(0x7fffff, Math.max(-0x800000, message.lost)) & 0xffffff;
      view.setUint32(0, message.source);
      view.setUint32(4, ((share << 24) | lost) >>> 0);
      view.setUint32(8, message.highest >>> 0);
      view.setUint32(12, Math.min(message.jitter, 0xffffffff));
      view.setUint32(16, message.lastReport >>> 0);
      view.setUint32(20, Math.min(message.sinceLastReport, 0xffffffff));
      return framed(RECEIVER_REPORT, 1, source, body);
    }
    case "application":
      return framed(APPLICATION, message.kind, source, Uint8Array.of(...NAME, ...message.data));
    default:
      return framed(BYE, 1, source, new Uint8Array(0));
  }
}

/** Return an RTCP packet, padded to a multiple of 4 bytes. */
function framed(kind, count, source, body) {
  const padding = (4 - (body.length % 4)) % 4, size = 8 + body.length + padding;
  const bytes = new Uint8Array(size), view = new DataView(bytes.buffer);
  bytes[0] = (VERSION << 6) | (padding ? 0x20 : 0) | count;
  bytes[1] = kind;
  view.setUint16(2, size / 4 - 1);
  view.setUint32(4, source);
  bytes.set(body, 8);
  if (padding) bytes[size - 1] = padding;
  return bytes;
}

/** Return whether a datagram is RTCP if it is RTP or RTCP (RFC 5761). */
export function isControl(bytes) {
  return bytes.length > 1 && bytes[1] >= 192 && bytes[1] <= 223;
}

/** Parse an RTP packet. @param {Uint8Array} bytes @returns {Voice} @throws {Error} it is malformed */
export function parseVoice(bytes) {
  if (bytes.length > MAX_DATAGRAM || bytes.length < HEADER_BYTES) throw new Error(`an RTP packet has ${bytes.length} bytes`);
  const view = viewOf(bytes);
  check(bytes[0]);
  let start = HEADER_BYTES + 4 * (bytes[0] & 15), end = bytes.length;
  if (bytes[0] & 0x10) {
    if (end < start + 4) throw new Error("an RTP packet ends before its header extension");
    start += 4 + 4 * view.getUint16(start + 2);
  }
  if (bytes[0] & 0x20) end -= paddingOf(bytes, start, end);
  if (end < start) throw new Error("an RTP packet ends within its header");
  return {
    sequence: view.getUint16(2), timestamp: view.getUint32(4), source: view.getUint32(8),
    payload: bytes.slice(start, end), starts: (bytes[1] & 0x80) !== 0, kind: bytes[1] & 0x7f,
  };
}

/** Parse an RTCP datagram. @param {Uint8Array} bytes @returns {Control} @throws {Error} it is malformed */
export function parseControl(bytes) {
  if (bytes.length > MAX_DATAGRAM) throw new Error(`a datagram has ${bytes.length} bytes`);
  const view = viewOf(bytes), messages = [], sources = new Set();
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < 8) throw new Error("an RTCP packet ends within its header");
    check(bytes[at]);
    const end = at + 4 * (view.getUint16(at + 2) + 1);
    if (end < at + 8 || end > bytes.length) throw new Error(`an RTCP packet states ${end - at} bytes`);
    const stop = bytes[at] & 0x20 ? end - paddingOf(bytes, at + 8, end) : end;
    messages.push(...messagesOf(bytes[at + 1], bytes[at] & 31, bytes.subarray(at + 8, stop)));
    sources.add(view.getUint32(at + 4));
    at = end;
  }
  if (sources.size !== 1) throw new Error("the RTCP packets of a datagram have several sources");
  return { source: [...sources][0], messages };
}

/** Return the messages of one RTCP packet. Kinds that Chirrup does not use are left out. */
function messagesOf(kind, count, body) {
  const view = viewOf(body), found = [];
  let start = 0;
  if (kind === SENDER_REPORT) {
    if (body.length < SENT_BYTES) throw new Error("a sender report is too short");
    found.push({
      type: "sent", ntp: view.getBigUint64(0), timestamp: view.getUint32(8), packets: view.getUint32(12),
      payloadBytes: view.getUint32(16),
    });
    start = SENT_BYTES;
  }
  if (kind === SENDER_REPORT || kind === RECEIVER_REPORT) {
    if (body.length - start < count * BLOCK_BYTES) throw new Error(`an RTCP packet is too short for its ${count} reports`);
    for (let at = start; at < start + count * BLOCK_BYTES; at += BLOCK_BYTES) {
      const loss = view.getUint32(at + 4);
      found.push({
        type: "report", source: view.getUint32(at), lostShare: (loss >>> 24) / 256, lost: (loss << 8) >> 8,
        highest: view.getUint32(at + 8), jitter: view.getUint32(at + 12), lastReport: view.getUint32(at + 16),
        sinceLastReport: view.getUint32(at + 20),
      });
    }
  } else if (kind === APPLICATION) {
    if (body.length < 4) throw new Error("an application packet has no name");
    if (NAME.every((byte, n) => body[n] === byte)) found.push({ type: "application", kind: count, data: body.slice(4) });
  } else if (kind === BYE) found.push({ type: "bye" });
  return found;
}

function check(first) {
  if (first >> 6 !== VERSION) throw new Error(`the RTP version is ${first >> 6}, not ${VERSION}`);
}

function paddingOf(bytes, start, end) {
  const count = bytes[end - 1];
  if (!(count >= 1 && count <= end - start)) throw new Error(`a packet states ${count} bytes of padding`);
  return count;
}

/**
 * Return the text of a stream's description.
 * @param {import("./models.js").Model} model
 * @param {{codebooks: number, frames: number, redundancy: number}} settings as worklet.js has them
 */
export function describe(model, { codebooks, frames, redundancy }) {
  const values = {
    model: model.name, weights: model.codes_sha256.slice(0, HASH_DIGITS), rate: model.sample_rate_hz,
    channels: model.channels, bitrate: model.bitrates_bps[codebooks - 1], codebooks, frames, redundancy,
  };
  return Object.entries(values).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join(";");
}

/**
 * Parse the text of a description. Parameters that are not known are ignored.
 * @param {string} text
 * @returns {{model: string, weights: string, rate: number, channels: number, bitrate: number,
 *   codebooks: number, frames: number, redundancy: number}}
 * @throws {Error} a parameter is missing or out of range
 */
export function parseDescription(text) {
  const given = new Map(text.split(";").map((part) => {
    const [name, ...value] = part.trim().split("=");
    return [name, value.join("=")];
  }));
  const model = decodeURIComponent(given.get("model") ?? ""), weights = given.get("weights") ?? "";
  if (!model || model.length > 255) throw new Error("the description of a stream has no name of a model");
  if (!/^[0-9a-f]{32}$/.test(weights)) throw new Error("the description of a stream has no hash of the weights");
  const numbers = {};
  for (const [name, [low, high]] of Object.entries(RANGES)) {
    const word = given.get(name) ?? "";
    if (!/^[0-9]{1,8}$/.test(word) || Number(word) < low || Number(word) > high)
      throw new Error(`the description of a stream has ${name}=${word.slice(0, 20)}`);
    numbers[name] = Number(word);
  }
  return { model, weights, ...numbers };
}

/** Return whether a stream was made with the weights of a model. */
export function isOf(description, model) {
  return description.model === model.name && description.weights === model.codes_sha256.slice(0, HASH_DIGITS)
    && description.rate === model.sample_rate_hz && description.channels === model.channels;
}

function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
