// `.chirrup` files: docs/reference/format.md describes them, and `chirrup.bitstream` is the reference.

import { joined, pack, packedSize, unpack } from "./bits.js";
import { decodeHeader, encodeHeader } from "./file-header.js";
import { crc32 } from "./checksum.js";

const SYNC = [0xa7, 0xc1], END_MAGIC = [0x8f, 0x45, 0x4e, 0x44];
const HEAD_BYTES = 11, CRC_BYTES = 4, COUNT_BYTES = 8, ENTRY_BYTES = 12, FOOTER_BYTES = 8;
const MOST_PAYLOAD = 0xffff, MOST_CHUNK_CODES = 1 << 18, MOST_FRAME = 0xffffffff, MOST_INDEX = 4096;
const CHUNK_SECONDS = 2, INDEX_EVERY_CHUNKS = 8;
const MOST_FALSE_BYTES = 1 << 24, FALSE_BYTES_PER_BYTE = 64; // against forged overlapping records
const MOST_NOTES = 100;

/** @typedef {import("./file-header.js").Header} Header */

/**
 * Write a file.
 * @param {Header} header
 * @param {Int32Array[]} streams codes [frames][codebooks] of each coded channel; -1 is absent
 * @returns {Uint8Array}
 */
export function writeFile(header, streams) {
  const { codebooks } = header, frames = streams[0].length / codebooks;
  const parts = [encodeHeader(header)], step = chunkFrames(header);
  let size = parts[0].length, index = [], every = INDEX_EVERY_CHUNKS;
  for (let start = 0, chunk = 0; start < frames; start += step, ++chunk) {
    if (chunk && chunk % every === 0) index.push([start, size]);
    if (index.length === MOST_INDEX) {
      index = index.filter((_, n) => n % 2);
      every *= 2;
    }
    parts.push(encodeChunk(header, streams, start, Math.min(step, frames - start)));
    size += parts.at(-1).length;
  }
  parts.push(encodeEnd(frames, header.sampleCount, index));
  return joined(parts);
}

/** A file that is read chunk by chunk. `damage` describes the damage that `chunks` has found. */
export class FileReader {
  /** @param {Uint8Array} bytes @throws {Error} there is no valid header */
  constructor(bytes) {
    const { header, size } = decodeHeader(bytes);
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.header = header;
    this.first = size;
    this.sampleCount = header.sampleCount;
    this.damage = [];
  }

  /**
   * Yield the codes [frames][codebooks] of each coded channel, chunk by chunk. Lost codes are -1.
   * @returns {Generator<Int32Array[]>}
   */
  *chunks() {
    this.damage = [];
    this.place = this.first;
    this.falseBytes = 0;
    for (let frame = 0; ; ) {
      const from = this.place, found = this.next();
      if (this.skipped) this.note(`bytes ${from} to ${from + this.skipped - 1} are not a chunk`);
      if (!found) return this.note(`the file is cut off at ${this.timeOf(frame)} s: frames from ${frame} on are missing`);
      if (found.start > frame) {
        yield* this.gap(frame, found.start);
        frame = found.start;
      }
      if (!found.streams) {
        this.sampleCount = found.sampleCount ?? this.header.sampleCount;
        return;
      }
      const known = (frame - found.start) * this.header.codebooks;
      if (known >= found.streams[0].length) continue;
      yield found.streams.map((codes) => codes.subarray(known));
      frame = found.start + found.frames;
    }
  }

  /** Return the next record, or null at the end of the file. */
  next() {
    const from = this.place;
    for (; this.place + HEAD_BYTES <= this.bytes.length; ++this.place) {
      this.place = this.bytes.indexOf(SYNC[0], this.place);
      if (this.place < 0) break;
      const record = this.record(this.place);
      if (record) {
        this.skipped = this.place - from;
        this.place += record.size;
        return record;
      }
      if (this.falseBytes > MOST_FALSE_BYTES + FALSE_BYTES_PER_BYTE * this.place) {
        this.note("the file has too many false chunks: the rest is not read");
        break;
      }
    }
    this.skipped = this.bytes.length - from;
    this.place = this.bytes.length;
    return null;
  }

  /** Return the record at a place, or null if none is there. */
  record(place) {
    const { view, header } = this;
    if (place + HEAD_BYTES > this.bytes.length || this.bytes[place + 1] !== SYNC[1]) return null;
    const start = view.getUint32(place + 2, true), frames = view.getUint16(place + 6, true);
    const depth = this.bytes[place + 8], payload = view.getUint16(place + 9, true);
    const size = HEAD_BYTES + payload + CRC_BYTES;
    if (!plausible(header, start, frames, depth, payload) || place + size > this.bytes.length) return null;
    const body = this.bytes.subarray(place, place + size - CRC_BYTES);
    const streams = crc32(body) === view.getUint32(place + size - CRC_BYTES, true)
      ? frames === 0 || decodeCodes(header, frames, depth, body.subarray(HEAD_BYTES))
      : null;
    if (!streams) {
      this.falseBytes += size;
      return null;
    }
    if (frames) return { size, start, frames, streams };
    return { size, start, sampleCount: sampleCountAt(view, place + HEAD_BYTES) };
  }

  /** Yield lost frames. Every frame takes some bits, so the size of the file limits their number. */
  *gap(start, end) {
    this.note(`frames ${start} to ${end - 1} are lost, ${this.timeOf(start)} to ${this.timeOf(end)} s`);
    const { channels, codebooks } = this.header, step = chunkFrames(this.header);
    const most = Math.floor((this.place * 8) / frameBits(this.header).least);
    if (end > most) this.note(`lost frames from ${Math.max(start, most)} on are too many and left out`);
    for (let frame = start; frame < Math.min(end, most); frame += step) {
      const count = Math.min(step, Math.min(end, most) - frame) * codebooks;
      yield Array.from({ length: channels }, () => new Int32Array(count).fill(-1));
    }
  }

  /** Return the time at which a frame begins to decode, in seconds, rounded down to 0.01 s. */
  timeOf(frame) {
    const { frameSamples, delaySamples, sampleRateHz } = this.header;
    const sample = Math.max(0, frame * frameSamples - delaySamples);
    return (Math.floor((sample * 100) / sampleRateHz) / 100).toFixed(2);
  }

  note(text) {
    if (this.damage.length < MOST_NOTES) this.damage.push(text);
  }
}

// --- Records

const depthBits = (header) => Math.floor(Math.log2(header.codebooks)) + 1;

/** Return the fewest and the most bits that a frame takes. */
function frameBits(header) {
  const depth = depthBits(header), { channels, codebooks, bitsPerCode } = header;
  return { least: channels * Math.min(depth, bitsPerCode), most: channels * (depth + codebooks * bitsPerCode) };
}

/** Return the number of frames in two seconds, or fewer if they do not fit in a chunk. */
function chunkFrames(header) {
  const payload = Math.floor(((MOST_PAYLOAD - 2) * 8) / frameBits(header).most);
  const codes = Math.floor(MOST_CHUNK_CODES / (header.channels * header.codebooks));
  const frames = Math.round((CHUNK_SECONDS * header.sampleRateHz) / header.frameSamples);
  return Math.max(1, Math.min(frames, payload, codes, 0xffff));
}

function plausible(header, start, frames, depth, payload) {
  const { channels, codebooks, bitsPerCode } = header, depths = frames * channels;
  if (start + frames > MOST_FRAME || depth > codebooks || depths * codebooks > MOST_CHUNK_CODES) return false;
  if (frames === 0) {
    const entries = (payload - COUNT_BYTES) / ENTRY_BYTES;
    return depth === 0 && Number.isInteger(entries) && entries >= 0 && entries <= MOST_INDEX;
  }
  if (depth) return payload === packedSize(depths * depth, bitsPerCode);
  const least = packedSize(depths, depthBits(header));
  return payload >= least && payload <= least + packedSize(depths * codebooks, bitsPerCode);
}

function encodeChunk(header, streams, start, frames) {
  const { codebooks, bitsPerCode } = header, values = [], depths = [];
  for (let frame = start; frame < start + frames; ++frame)
    for (const codes of streams) {
      const own = codes.subarray(frame * codebooks, (frame + 1) * codebooks);
      const absent = own.indexOf(-1), depth = absent < 0 ? codebooks : absent;
      depths.push(depth);
      for (let k = 0; k < depth; ++k) values.push(own[k]);
    }
  const same = depths[0] > 0 && depths.every((depth) => depth === depths[0]);
  const payload = pack(values, bitsPerCode);
  return encodeRecord(start, frames, same ? depths[0] : 0,
    same ? payload : joined([pack(depths, depthBits(header)), payload]));
}

function encodeRecord(start, frames, depth, payload) {
  const bytes = new Uint8Array(HEAD_BYTES + payload.length + CRC_BYTES), view = new DataView(bytes.buffer);
  bytes.set(SYNC);
  view.setUint32(2, start, true);
  view.setUint16(6, frames, true);
  view.setUint8(8, depth);
  view.setUint16(9, payload.length, true);
  bytes.set(payload, HEAD_BYTES);
  view.setUint32(bytes.length - CRC_BYTES, crc32(bytes.subarray(0, -CRC_BYTES)), true);
  return bytes;
}

function encodeEnd(frames, sampleCount, index) {
  const payload = new DataView(new ArrayBuffer(COUNT_BYTES + ENTRY_BYTES * index.length));
  payload.setBigUint64(0, sampleCount === null ? 0xffffffffffffffffn : BigInt(sampleCount), true);
  index.forEach(([start, offset], n) => {
    payload.setUint32(COUNT_BYTES + ENTRY_BYTES * n, start, true);
    payload.setBigUint64(COUNT_BYTES + ENTRY_BYTES * n + 4, BigInt(offset), true);
  });
  const record = encodeRecord(frames, 0, 0, new Uint8Array(payload.buffer));
  const footer = new Uint8Array(FOOTER_BYTES);
  new DataView(footer.buffer).setUint32(0, record.length, true);
  footer.set(END_MAGIC, 4);
  return joined([record, footer]);
}

function decodeCodes(header, frames, depth, payload) {
  const { channels, codebooks, bitsPerCode } = header;
  let depths = new Int32Array(frames * channels).fill(depth), start = 0;
  if (depth === 0) {
    const read = unpack(payload, depthBits(header), depths.length);
    if (!read || read.some((value) => value > codebooks)) return null;
    start = packedSize(depths.length, depthBits(header));
    depths = read;
  }
  const count = depths.reduce((sum, value) => sum + value, 0);
  if (start + packedSize(count, bitsPerCode) !== payload.length) return null;
  const values = unpack(payload, bitsPerCode, count, start);
  if (!values) return null;
  const streams = Array.from({ length: channels }, () => new Int32Array(frames * codebooks).fill(-1));
  for (let n = 0, place = 0; n < depths.length; place += depths[n++])
    streams[n % channels].set(values.subarray(place, place + depths[n]), Math.floor(n / channels) * codebooks);
  return streams;
}

function sampleCountAt(view, place) {
  const count = view.getBigUint64(place, true);
  return count === 0xffffffffffffffffn ? null : Number(count);
}
