// Bytes: packing of integers of 1 to 16 bits, most significant bit first (docs/reference/format.md).

/** Return the number of bytes that `count` integers of `bits` bits take. */
export const packedSize = (count, bits) => Math.ceil((count * bits) / 8);

/**
 * Pack integers. The last byte is filled up with zero bits.
 * @param {ArrayLike<number>} values integers from 0 to 2^bits - 1
 * @param {number} bits
 * @returns {Uint8Array}
 */
export function pack(values, bits) {
  const packed = new Uint8Array(packedSize(values.length, bits));
  let held = 0, count = 0, place = 0;
  for (let n = 0; n < values.length; ++n) {
    if (!(values[n] >= 0 && values[n] < 1 << bits))
      throw new RangeError(`code ${values[n]} does not fit in ${bits} bits`);
    held = ((held << bits) | values[n]) & 0xffffff;
    for (count += bits; count >= 8; count -= 8) packed[place++] = held >> (count - 8);
  }
  if (count) packed[place] = held << (8 - count);
  return packed;
}

/**
 * Unpack integers.
 * @param {Uint8Array} bytes
 * @param {number} bits
 * @param {number} count
 * @param {number} [start] the first byte
 * @returns {Int32Array | null} null if the bytes end too early, or a bit of the padding is not zero
 */
export function unpack(bytes, bits, count, start = 0) {
  const stop = start + packedSize(count, bits);
  if (stop > bytes.length) return null;
  const values = new Int32Array(count);
  let held = 0, ready = 0, place = start;
  for (let n = 0; n < count; ++n) {
    for (; ready < bits; ready += 8) held = ((held << 8) | bytes[place++]) & 0xffffff;
    ready -= bits;
    values[n] = (held >> ready) & ((1 << bits) - 1);
  }
  return held & ((1 << ready) - 1) ? null : values;
}

/** Return the bytes of several arrays, one after the other. @param {Uint8Array[]} parts @returns {Uint8Array} */
export function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}
