// Encryption of the datagrams in a room, with a key that all ends have. docs/explanation/encryption.md
// describes it, and src/chirrup/live/seal.py does the same.

import { decrypt, encrypt } from "./chacha20poly1305.js";
import { HEADER_BYTES, MAX_DATAGRAM, SEALED, isControl, packControl, packVoice, parseControl, parseVoice } from "./rtp.js";
import { scrypt } from "./scrypt.js";

const DOMAIN = "chirrup live 1", INFORMATION = "chirrup live 1 room";
const SCRYPT_COST = { n: 65536, r: 8, length: 32 }; // 64 MiB of memory for each guess of a passphrase
const SHORTEST_PASSPHRASE = 12;
const SALT_BYTES = 16, TAG_BYTES = 16, COUNTER_BYTES = 4, SEAL_BYTES = TAG_BYTES + COUNTER_BYTES;
const KEY_BYTES = [32, 4096];
const START = 12 + SALT_BYTES; // bytes of a sealed control datagram in clear
const MAX_COUNTER = 2 ** 32 - 1; // of a session: 2 years of 64 datagrams a second
const WINDOW = 1024n; // datagrams by which one may be overtaken
const MAX_SESSIONS = 1024, MAX_CANDIDATES = 16;

const text = new TextEncoder();

/**
 * Derive a key from a passphrase, which takes seconds.
 * @param {string} passphrase
 * @returns {Promise<Uint8Array>}
 * @throws {Error} it is too short
 */
export async function keyOfPassphrase(passphrase) {
  const { length } = [...passphrase];
  if (length < SHORTEST_PASSPHRASE)
    throw new Error(
      `The passphrase has ${length} characters. Use ${SHORTEST_PASSPHRASE} or more, for example five random words.`,
    );
  return scrypt(text.encode(passphrase), text.encode(DOMAIN), SCRYPT_COST);
}

/** The session of another end: its key, and the counters that were accepted. */
class Session {
  constructor(key) {
    this.key = key;
    this.next = 0; // one above the highest counter
    this.accepted = 0n; // bit i is counter next - 1 - i
  }

  /** Return the data of a datagram whose clear bytes end at `start`. */
  opened(bytes, start) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const counter = view.getUint32(bytes.length - COUNTER_BYTES), age = BigInt(this.next - 1 - counter);
    if (age >= WINDOW || (age >= 0n && (this.accepted >> age) & 1n)) throw new Error("a datagram has arrived before");
    const data = decrypt(this.key, nonce(counter), bytes.subarray(start, -COUNTER_BYTES), bytes.subarray(0, start));
    if (!data) throw new Error("a datagram is not sealed with this key");
    if (age < 0n) {
      this.accepted = (this.accepted << (-age < WINDOW ? -age : WINDOW)) & ((1n << WINDOW) - 1n);
      this.next = counter + 1;
    }
    this.accepted |= 1n << BigInt(this.next - 1 - counter);
    return data;
  }
}

/** The key of a room: it seals the datagrams of this end and opens those of the others. */
export class Seal {
  /**
   * Begin a session.
   * @param {Uint8Array} key 32 to 4096 bytes, or 32 of `keyOfPassphrase`
   * @throws {Error} the key has a wrong length
   */
  static async make(key) {
    const [shortest, longest] = KEY_BYTES;
    if (key.length < shortest || key.length > longest)
      throw new Error(`The key has ${key.length} bytes, not ${shortest} to ${longest}. Give the key file of the others.`);
    const shared = await crypto.subtle.importKey("raw", key, "HKDF", false, ["deriveBits"]);
    const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES)), made = new Seal(shared, salt);
    made.key = await made.sessionKey(salt);
    return made;
  }

  constructor(shared, salt) {
    this.shared = shared;
    this.salt = salt;
    this.counter = 0;
    this.sessions = new Map(); // by salt, the last used last
    this.ofSource = new Map(); // by SSRC, likewise
    this.candidates = new Map(); // sessions without a datagram that was right, by salt
    this.deriving = new Set();
  }

  async sessionKey(salt) {
    const algorithm = { name: "HKDF", hash: "SHA-256", salt, info: text.encode(INFORMATION) };
    return new Uint8Array(await crypto.subtle.deriveBits(algorithm, this.shared, 256));
  }

  /** Return a sealed RTP packet. @param {import("./rtp.js").Voice} voice */
  voice(voice) {
    return this.sealed(packVoice({ ...voice, payload: new Uint8Array(0) }), voice.payload);
  }

  /** Return a sealed RTCP datagram. @param {import("./rtp.js").Control} control */
  control(control) {
    const data = packControl(control), { salt } = this;
    const head = packControl({ source: control.source, messages: [{ type: "application", kind: SEALED, data: salt }] });
    new DataView(head.buffer).setUint16(2, (START + data.length + SEAL_BYTES) / 4 - 1);
    return this.sealed(head, data);
  }

  sealed(head, data) {
    if (this.counter >= MAX_COUNTER) throw new Error("The key has sealed 2^32 datagrams. Join again.");
    const counter = this.counter++, sealed = encrypt(this.key, nonce(counter), data, head);
    const bytes = new Uint8Array(head.length + sealed.length + COUNTER_BYTES);
    bytes.set(head);
    bytes.set(sealed, head.length);
    new DataView(bytes.buffer).setUint32(head.length + sealed.length, counter);
    return bytes;
  }

  /**
   * Return the content of a sealed datagram.
   * @param {Uint8Array} bytes
   * @param {() => void} again is called when the key of the session is there, if the result is null
   * @returns {import("./rtp.js").Voice | import("./rtp.js").Control | null}
   * @throws {Error} the key is another one, or the datagram is damaged, or has arrived before
   */
  open(bytes, again) {
    if (bytes.length > MAX_DATAGRAM || bytes.length < HEADER_BYTES + SEAL_BYTES) throw new Error("a datagram is not sealed");
    return isControl(bytes) ? this.openControl(bytes, again) : this.openVoice(bytes);
  }

  openVoice(bytes) {
    const source = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8), session = this.ofSource.get(source);
    if (!session) throw new Error("no control packet of this session has arrived");
    const payload = session.opened(bytes, HEADER_BYTES), whole = new Uint8Array(HEADER_BYTES + payload.length);
    whole.set(bytes.subarray(0, HEADER_BYTES));
    whole.set(payload, HEADER_BYTES);
    return parseVoice(whole);
  }

  openControl(bytes, again) {
    const isSealed = bytes[0] === (0x80 | SEALED) && String.fromCharCode(...bytes.subarray(8, 12)) === "CHRP";
    if (!isSealed || bytes[1] !== 204 || bytes.length < START + SEAL_BYTES) throw new Error("a datagram is not sealed");
    const salt = bytes.slice(12, START), name = String(salt);
    const session = this.sessions.get(name) ?? this.candidates.get(name);
    if (!session) {
      this.derive(salt, name, again);
      return null;
    }
    const control = parseControl(session.opened(bytes, START));
    const source = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4);
    if (control.source !== source) throw new Error("a sealed control packet is not RTCP of its source");
    this.candidates.delete(name);
    moveToEnd(this.sessions, name, session);
    moveToEnd(this.ofSource, source, session);
    return control;
  }

  async derive(salt, name, again) {
    if (this.deriving.has(name) || this.deriving.size >= MAX_CANDIDATES) return;
    this.deriving.add(name);
    const session = new Session(await this.sessionKey(salt));
    this.deriving.delete(name);
    moveToEnd(this.candidates, name, session, MAX_CANDIDATES);
    again();
  }
}

/** Set a value of a map, as the one used last, and forget those used longest ago. */
function moveToEnd(map, key, value, most = MAX_SESSIONS) {
  map.delete(key);
  map.set(key, value);
  while (map.size > most) map.delete(map.keys().next().value);
}

function nonce(counter) {
  const bytes = new Uint8Array(12);
  new DataView(bytes.buffer).setUint32(8, counter);
  return bytes;
}
