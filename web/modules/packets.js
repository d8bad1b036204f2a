// Live packets: one byte of header and bit-packed codes. docs/reference/format.md describes them, and
// src/chirrup/bitstream/packets.py writes and reads the same.

import { pack, unpack } from "./bits.js";

const MAX_PACKET_FRAMES = 4;
const MAX_REDUNDANT = 16; // for frames and for codebooks
const VERSION = 0, PROFILE = 0;

/**
 * Codes of some frames.
 * @typedef {{codes: Int32Array, codebooks: number}} Codes codes [frames][codebooks]
 */

/**
 * Pack the codes of a packet.
 * @param {Codes} present 1 to 4 frames without an absent code
 * @param {Codes | null} redundant codes that repeat the first codebooks of the frames directly before
 * @param {number} bitsPerCode
 * @returns {Uint8Array}
 * @throws {RangeError} a number of frames or codebooks, or a code, does not fit
 */
export function packPacket(present, redundant, bitsPerCode) {
  const frames = present.codes.length / present.codebooks;
  if (!(frames >= 1 && frames <= MAX_PACKET_FRAMES) || frames * bitsPerCode < 8)
    throw new RangeError(`a packet cannot have ${frames} frames of ${bitsPerCode}-bit codes`);
  const books = redundant?.codebooks ?? 0, earlier = redundant ? redundant.codes.length / books : 0;
  if (redundant && !(books >= 1 && books <= MAX_REDUNDANT && earlier >= 1 && earlier <= MAX_REDUNDANT))
    throw new RangeError(`a packet cannot repeat ${books} codebooks of ${earlier} frames`);
  const head = [(VERSION << 6) | (PROFILE << 3) | ((frames - 1) << 1) | (redundant ? 1 : 0)];
  if (redundant) head.push(((earlier - 1) << 4) | (books - 1));
  const packed = pack([...present.codes, ...(redundant?.codes ?? [])], bitsPerCode);
  const bytes = new Uint8Array(head.length + packed.length);
  bytes.set(head);
  bytes.set(packed, head.length);
  return bytes;
}

/**
 * Unpack a packet.
 * @param {Uint8Array} bytes
 * @param {{bits_per_code: number, codebooks: number, codebook_size: number}} model
 * @returns {Codes & {frames: number, redundant: Codes | null}}
 * @throws {Error} the packet is malformed, or does not fit the model
 */
export function unpackPacket(bytes, model) {
  const bits = model.bits_per_code;
  if (!bytes.length) throw new Error("the packet is empty");
  const version = bytes[0] >> 6, profile = (bytes[0] >> 3) & 7;
  if (version !== VERSION || profile !== PROFILE)
    throw new Error(`packet version ${version} profile ${profile} is not supported`);
  const { frames, isRedundant } = peekPacket(bytes);
  if (frames * bits < 8) throw new Error(`a packet has too few frames of ${bits}-bit codes: ${frames}`);
  if (isRedundant && bytes.length < 2) throw new Error("the packet ends before its redundancy byte");
  const start = isRedundant ? 2 : 1;
  const earlier = isRedundant ? (bytes[1] >> 4) + 1 : 0, books = isRedundant ? (bytes[1] & 15) + 1 : 0;
  const free = (bytes.length - start) * 8 - earlier * books * bits;
  const codebooks = Math.floor(free / (frames * bits));
  if (codebooks < 1 || free - codebooks * frames * bits > 7)
    throw new Error("the length of the packet fits no number of codebooks");
  if (Math.max(codebooks, books) > model.codebooks)
    throw new Error(`the packet has more codebooks than the ${model.codebooks} of the model`);
  const count = frames * codebooks, all = unpack(bytes, bits, count + earlier * books, start);
  if (!all) throw new Error("the bits after the last code are not zero");
  for (const code of all)
    if (code >= model.codebook_size)
      throw new Error(`code ${code} is too large for a codebook of ${model.codebook_size} entries`);
  const redundant = isRedundant ? { codes: all.slice(count), codebooks: books } : null;
  return { codes: all.slice(0, count), codebooks, frames, redundant };
}

/**
 * Read the header byte of a packet without checks; an empty packet counts as one frame.
 * @returns {{frames: number, isRedundant: boolean}}
 */
export function peekPacket(bytes) {
  const toc = bytes.length ? bytes[0] : 0;
  return { frames: ((toc >> 1) & 3) + 1, isRedundant: (toc & 1) === 1 };
}

/** Return the default number of frames in a packet of a model: 8 bits or more of each codebook. */
export function packetFrames(model) {
  return Math.min(MAX_PACKET_FRAMES, Math.ceil(8 / model.bits_per_code));
}
