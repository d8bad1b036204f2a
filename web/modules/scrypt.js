// Scrypt (RFC 7914), which WebCrypto does not have, for keys of passphrases.

const STEPS = 2048; // between two pauses, in which the page reacts

/**
 * Derive a key from a passphrase.
 * @param {Uint8Array} passphrase
 * @param {Uint8Array} salt
 * @param {{n: number, r: number, length: number}} cost n a power of two; it needs 128 n r bytes. p is 1.
 * @returns {Promise<Uint8Array>}
 */
export async function scrypt(passphrase, salt, { n, r, length }) {
  const words = 32 * r, secret = await crypto.subtle.importKey("raw", passphrase, "PBKDF2", false, ["deriveBits"]);
  const derived = async (saltBytes, bytes) => {
    const algorithm = { name: "PBKDF2", hash: "SHA-256", salt: saltBytes, iterations: 1 };
    return new Uint8Array(await crypto.subtle.deriveBits(algorithm, secret, 8 * bytes));
  };
  const bytes = await derived(salt, 4 * words), view = new DataView(bytes.buffer);
  let x = Uint32Array.from({ length: words }, (_, at) => view.getUint32(4 * at, true)), y = new Uint32Array(words);
  const kept = new Uint32Array(n * words);
  for (let step = 0; step < 2 * n; ++step) {
    if (step < n) kept.set(x, step * words);
    else {
      const at = (x[words - 16] % n) * words;
      for (let word = 0; word < words; ++word) x[word] ^= kept[at + word];
    }
    mix(x, y, r);
    [x, y] = [y, x];
    if (step % STEPS === 0) await new Promise((resume) => setTimeout(resume));
  }
  for (let at = 0; at < words; ++at) view.setUint32(4 * at, x[at], true);
  return derived(bytes, length);
}

/** BlockMix of scrypt, from x to y. */
function mix(x, y, r) {
  const state = x.slice(-16);
  for (let part = 0; part < 2 * r; ++part) {
    for (let n = 0; n < 16; ++n) state[n] ^= x[16 * part + n];
    salsa(state);
    y.set(state, 16 * ((part >> 1) + (part & 1) * r));
  }
}

const ROUND = Uint8Array.of( // columns, then rows
  0, 4, 8, 12, 5, 9, 13, 1, 10, 14, 2, 6, 15, 3, 7, 11, 0, 1, 2, 3, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14,
);
const work = new Uint32Array(16);

/** Salsa20/8 in place. */
function salsa(state) {
  const x = work;
  x.set(state);
  for (let round = 0; round < 4; ++round)
    for (let n = 0; n < ROUND.length; n += 4) {
      const a = ROUND[n], b = ROUND[n + 1], c = ROUND[n + 2], d = ROUND[n + 3];
      let sum = (x[a] + x[d]) | 0;
      x[b] ^= (sum << 7) | (sum >>> 25);
      sum = (x[b] + x[a]) | 0;
      x[c] ^= (sum << 9) | (sum >>> 23);
      sum = (x[c] + x[b]) | 0;
      x[d] ^= (sum << 13) | (sum >>> 19);
      sum = (x[d] + x[c]) | 0;
      x[a] ^= (sum << 18) | (sum >>> 14);
    }
  for (let n = 0; n < 16; ++n) state[n] += x[n];
}
