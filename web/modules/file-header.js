// The header of a `.chirrup` file: `chirrup.bitstream.header` describes its fields.

import { crc32 } from "./checksum.js";

const MAGIC = [0x8f, 0x43, 0x48, 0x49, 0x52, 0x52, 0x55, 0x50];
const MAJOR = 1, PREFIX_BYTES = 12, FIXED_BYTES = 49, CRC_BYTES = 4;
const MODES = ["separate", "joint", "downmix", "mid-side"];
const UNKNOWN_COUNT = 0xffffffffffffffffn;
const MOST_METADATA_BYTES = 65000, MOST_NAME_BYTES = 255;
const LIMITS = {
  sampleRateHz: [1, 1e7], originalSampleRateHz: [1, 1e7], bitrateBps: [0, 0xffffffff], delaySamples: [0, 1e7],
  frameSamples: [1, 0xffff], prerollFrames: [0, 0xffff], channels: [1, 16], originalChannels: [1, 16],
  codebooks: [1, 128], bitsPerCode: [1, 16],
};

/**
 * @typedef {{model: string, weightsHash: string, sampleRateHz: number, originalSampleRateHz: number,
 *   channels: number, originalChannels: number, channelMode: string, codebooks: number,
 *   bitsPerCode: number, frameSamples: number, delaySamples: number, prerollFrames: number,
 *   bitrateBps: number, sampleCount: number | null, metadata: Record<string, string>}} Header
 */

/** Return the header as bytes. @param {Header} header @throws {Error} a value is not valid */
export function encodeHeader(header) {
  check(header);
  const name = new TextEncoder().encode(header.model), entries = Object.entries(header.metadata);
  const texts = entries.flat().map((text) => new TextEncoder().encode(text));
  const body = FIXED_BYTES + 1 + name.length + 2 + texts.reduce((sum, text) => sum + 2 + text.length, 0);
  const bytes = new Uint8Array(PREFIX_BYTES + body + CRC_BYTES), view = new DataView(bytes.buffer);
  const mode = MODES.indexOf(header.channelMode);
  bytes.set(MAGIC);
  bytes.set([MAJOR, mode === 3 ? 1 : 0], 8);
  view.setUint16(10, body, true);
  view.setUint32(12, header.sampleRateHz, true);
  view.setUint32(16, header.originalSampleRateHz, true);
  view.setBigUint64(20, header.sampleCount === null ? UNKNOWN_COUNT : BigInt(header.sampleCount), true);
  view.setUint32(28, header.bitrateBps, true);
  view.setUint32(32, header.delaySamples, true);
  view.setUint16(36, header.frameSamples, true);
  view.setUint16(38, header.prerollFrames, true);
  bytes.set([header.channels, header.originalChannels, mode, header.codebooks, header.bitsPerCode], 40);
  for (let n = 0; n < 16; ++n) bytes[45 + n] = parseInt(header.weightsHash.slice(2 * n, 2 * n + 2), 16);
  bytes[61] = name.length;
  bytes.set(name, 62);
  let place = 62 + name.length;
  view.setUint16(place, entries.length, true);
  place += 2;
  for (const text of texts) {
    view.setUint16(place, text.length, true);
    bytes.set(text, place + 2);
    place += 2 + text.length;
  }
  view.setUint32(place, crc32(bytes.subarray(0, place)), true);
  return bytes;
}

/**
 * Read the header at the start of a file.
 * @param {Uint8Array} bytes
 * @returns {{header: Header, size: number}} the header, and its size in bytes
 * @throws {Error} there is no header, or it is damaged or of another major version
 */
export function decodeHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < PREFIX_BYTES) throw new Error("The file is too short for a .chirrup file.");
  if (!isChirrup(bytes)) throw new Error("This is not a .chirrup file.");
  if (bytes[8] !== MAJOR)
    throw new Error(`Format version ${bytes[8]} is not supported. Use a newer version of this page.`);
  const size = PREFIX_BYTES + view.getUint16(10, true);
  if (bytes.length < size + CRC_BYTES) throw new Error("The file ends inside its header. Get a fresh copy.");
  if (crc32(bytes.subarray(0, size)) !== view.getUint32(size, true))
    throw new Error("The header of the file is damaged: its CRC-32 is wrong. Get a fresh copy.");
  try {
    return { header: parsed(bytes.subarray(0, size), view), size: size + CRC_BYTES };
  } catch (error) {
    throw new Error(`The header of the file is not valid: ${error.message}.`);
  }
}

/** Return whether bytes begin as a `.chirrup` file does. @param {Uint8Array} bytes */
export const isChirrup = (bytes) => MAGIC.every((byte, n) => bytes[n] === byte);

function parsed(bytes, view) {
  let place = PREFIX_BYTES;
  const take = (size) => {
    place += size;
    if (place > bytes.length) throw new Error("it ends too early");
    return bytes.subarray(place - size, place);
  };
  const text = (size) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(take(size));
  const short = () => take(2)[0] + 256 * bytes[place - 1];
  const [channels, originalChannels, mode, codebooks, bitsPerCode] = take(FIXED_BYTES).subarray(28, 33);
  const count = view.getBigUint64(20, true);
  if (mode >= MODES.length) throw new Error(`channel mode ${mode} is not known`);
  const model = text(take(1)[0]), metadata = {};
  for (let left = short(); left > 0; --left) {
    const key = text(short());
    Object.defineProperty(metadata, key, { value: text(short()), enumerable: true, configurable: true, writable: true });
  }
  const header = {
    model,
    weightsHash: Array.from(bytes.subarray(45, 61), (byte) => byte.toString(16).padStart(2, "0")).join(""),
    sampleRateHz: view.getUint32(12, true),
    originalSampleRateHz: view.getUint32(16, true),
    channels, originalChannels, channelMode: MODES[mode], codebooks, bitsPerCode,
    frameSamples: view.getUint16(36, true),
    delaySamples: view.getUint32(32, true),
    prerollFrames: view.getUint16(38, true),
    bitrateBps: view.getUint32(28, true),
    sampleCount: count === UNKNOWN_COUNT ? null : Number(count),
    metadata,
  };
  check(header);
  return header;
}

function check(header) {
  for (const [name, [low, high]] of Object.entries(LIMITS)) {
    const value = header[name];
    if (!Number.isInteger(value) || value < low || value > high)
      throw new Error(`${name} is ${value}, must be a whole number from ${low} to ${high}`);
  }
  const { channelMode, originalChannels, channels, sampleCount } = header;
  if (sampleCount !== null && !(sampleCount >= 0 && sampleCount < 2 ** 63))
    throw new Error(`sampleCount is ${sampleCount}, must be 0 to 2^63 - 1 or null`);
  if (!MODES.includes(channelMode)) throw new Error(`channel mode ${channelMode} is not known`);
  if (channelMode === "mid-side" && originalChannels !== 2)
    throw new Error(`channel mode mid-side needs 2 original channels, not ${originalChannels}`);
  const each = channelMode === "separate" || channelMode === "mid-side", expected = each ? originalChannels : 1;
  if (channels !== expected)
    throw new Error(`channel mode ${channelMode} has ${expected} coded channels, not ${channels}`);
  const bytes = (text) => new TextEncoder().encode(text).length, name = bytes(header.model);
  if (name < 1 || name > MOST_NAME_BYTES) throw new Error("the name of the model must be 1 to 255 bytes");
  const size = Object.entries(header.metadata).flat().reduce((sum, text) => sum + 2 + bytes(text), 0);
  if (size > MOST_METADATA_BYTES)
    throw new Error(`the metadata take ${size} bytes, must be at most ${MOST_METADATA_BYTES}`);
}
