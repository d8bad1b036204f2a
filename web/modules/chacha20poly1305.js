// ChaCha20-Poly1305 (RFC 8439), which WebCrypto does not have. The tests run the vectors of the RFC.
//
// Large integers do not take constant time. An attacker would have to measure the time of single packets
// in this browser to use that.

const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];
const PRIME = (1n << 130n) - 5n, CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn, LOW = (1n << 128n) - 1n;
const TAG_BYTES = 16;

/**
 * Encrypt and authenticate.
 * @param {Uint8Array} key 32 bytes
 * @param {Uint8Array} nonce 12 bytes, never twice with a key
 * @param {Uint8Array} data
 * @param {Uint8Array} head authenticated, not encrypted
 * @returns {Uint8Array} the encrypted data and a tag of 16 bytes
 */
export function encrypt(key, nonce, data, head) {
  const sealed = new Uint8Array(data.length + TAG_BYTES), { words, once } = prepared(key, nonce);
  sealed.set(data);
  const coded = sealed.subarray(0, data.length);
  addStream(words, once, coded);
  sealed.set(tagOf(words, once, coded, head), data.length);
  return sealed;
}

/**
 * Check and decrypt what `encrypt` returned.
 * @returns {Uint8Array | null} the data, or null if the tag is wrong
 */
export function decrypt(key, nonce, sealed, head) {
  if (sealed.length < TAG_BYTES) return null;
  const { words, once } = prepared(key, nonce), data = sealed.slice(0, -TAG_BYTES);
  const tag = tagOf(words, once, data, head), given = sealed.subarray(data.length);
  let differs = 0;
  for (let n = 0; n < TAG_BYTES; ++n) differs |= tag[n] ^ given[n];
  if (differs) return null;
  addStream(words, once, data);
  return data;
}

function prepared(key, nonce) {
  const read = (bytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return Uint32Array.from({ length: bytes.length / 4 }, (_, n) => view.getUint32(4 * n, true));
  };
  return { words: read(key), once: read(nonce) };
}

/** Return the 64 bytes of one block of ChaCha20. */
function block(key, counter, nonce) {
  const first = Uint32Array.of(...CONSTANTS, ...key, counter, ...nonce), x = first.slice();
  for (let round = 0; round < 10; ++round) {
    for (let n = 0; n < 4; ++n) quarter(x, n, n + 4, n + 8, n + 12);
    for (let n = 0; n < 4; ++n) quarter(x, n, 4 + ((n + 1) & 3), 8 + ((n + 2) & 3), 12 + ((n + 3) & 3));
  }
  const bytes = new Uint8Array(64), view = new DataView(bytes.buffer);
  for (let n = 0; n < 16; ++n) view.setUint32(4 * n, x[n] + first[n], true);
  return bytes;
}

function quarter(x, a, b, c, d) {
  const turn = (place, other, bits) => {
    const value = x[place] ^ x[other];
    x[place] = (value << bits) | (value >>> (32 - bits));
  };
  x[a] += x[b];
  turn(d, a, 16);
  x[c] += x[d];
  turn(b, c, 12);
  x[a] += x[b];
  turn(d, a, 8);
  x[c] += x[d];
  turn(b, c, 7);
}

/** Encrypt or decrypt in place. */
function addStream(key, nonce, data) {
  for (let start = 0, counter = 1; start < data.length; start += 64, ++counter) {
    const stream = block(key, counter, nonce), part = data.subarray(start, start + 64);
    for (let n = 0; n < part.length; ++n) part[n] ^= stream[n];
  }
}

/** Return the tag of Poly1305 over the head and the encrypted data, each padded to 16 bytes, and their lengths. */
function tagOf(key, nonce, data, head) {
  const padded = (length) => Math.ceil(length / 16) * 16;
  const message = new Uint8Array(padded(head.length) + padded(data.length) + 16), view = new DataView(message.buffer);
  message.set(head);
  message.set(data, padded(head.length));
  view.setUint32(message.length - 16, head.length, true);
  view.setUint32(message.length - 8, data.length, true);
  const once = block(key, 0, nonce), keys = new DataView(once.buffer), r = number(keys, 0) & CLAMP;
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) sum = ((sum + number(view, at) + (1n << 128n)) * r) % PRIME;
  const tag = new Uint8Array(TAG_BYTES), result = (sum + number(keys, 16)) & LOW;
  new DataView(tag.buffer).setBigUint64(0, BigInt.asUintN(64, result), true);
  new DataView(tag.buffer).setBigUint64(8, result >> 64n, true);
  return tag;
}

/** Return 16 bytes as an integer, the lowest byte first. */
function number(view, at) {
  return view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);
}
