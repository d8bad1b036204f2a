// A room of a relay: a WebSocket whose binary messages are datagrams, opened again if it breaks.
// docs/reference/format.md describes the messages and the close codes.

const PROTOCOL = "chirrup.relay";
const WRONG_TOKEN = 4401;
const AGAIN_MS = [500, 8000]; // shortest and longest time until the next attempt
const MAX_BUFFERED = 8192; // bytes that may wait in the WebSocket; voice that waits longer is too late

export const ROOM_PATTERN = "[A-Za-z0-9_\\-]{1,64}";

/** Return a name for a room that others do not guess. */
export function newRoomName() {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789"; // 32, without those that look alike
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => letters[byte % 32]).join("");
}

/**
 * Return the address of a room.
 * @param {string} relay address of the relay, such as wss://talk.example.org/
 * @param {string} name
 * @throws {Error} one of them has a wrong form
 */
export function roomAddress(relay, name) {
  if (!new RegExp(`^${ROOM_PATTERN}$`).test(name))
    throw new Error(`The room "${name}" needs 1 to 64 letters, digits, - or _.`);
  let url = null;
  try {
    url = new URL(relay);
  } catch {
    // The error below states the form.
  }
  if (!url || !["ws:", "wss:", "http:", "https:"].includes(url.protocol))
    throw new Error(`"${relay}" is not an address of a relay. It has the form wss://talk.example.org.`);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = url.hash = "";
  url.pathname = `${url.pathname.replace(/\/*$/, "")}/relay/${name}`;
  return url.href;
}

/** A connection to a room. */
export class Room {
  /**
   * @param {string} address from `roomAddress`
   * @param {string} token of the relay, or ""
   * @param {{onDatagram: (bytes: Uint8Array) => void, onPeople: (people: number) => void,
   *   onTrouble: (text: string, isFinal: boolean) => void}} calls `onPeople` receives the number of people
   *   in the room, with this one; `onTrouble` a text for people, and whether no other attempt follows
   */
  constructor(address, token, calls) {
    this.address = address;
    this.protocols = [PROTOCOL];
    if (token) this.protocols.push(`token.${base64url(new TextEncoder().encode(token))}`);
    this.calls = calls;
    this.pause = AGAIN_MS[0];
    this.joined = this.closed = false;
    this.dropped = 0; // datagrams that were not sent, because the connection is too slow
    this.open();
  }

  open() {
    const socket = new WebSocket(this.address, this.protocols);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.notePeople(data);
      else this.calls.onDatagram(new Uint8Array(data));
    };
    socket.onclose = (event) => this.noteEnd(event);
    this.socket = socket;
  }

  notePeople(text) {
    const { people } = JSON.parse(text);
    if (!(people >= 1)) return;
    this.joined = true;
    this.pause = AGAIN_MS[0];
    this.calls.onPeople(people);
  }

  noteEnd({ code, reason }) {
    if (this.closed) return;
    const isFinal = !this.joined || code === WRONG_TOKEN;
    const what = reason || (this.joined ? "the connection broke" : "the relay cannot be reached, or is not for this page");
    const text = `${what[0].toUpperCase()}${what.slice(1)}.`;
    if (isFinal) {
      this.closed = true;
      this.calls.onTrouble(text, true);
      return;
    }
    this.calls.onPeople(0);
    this.calls.onTrouble(`${text} Trying again.`, false);
    this.timer = setTimeout(() => this.open(), this.pause);
    this.pause = Math.min(2 * this.pause, AGAIN_MS[1]);
  }

  /** Send a datagram, or drop it if the connection is too slow or away. */
  send(bytes) {
    const { socket } = this;
    if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < MAX_BUFFERED) socket.send(bytes);
    else ++this.dropped;
  }

  /** Leave the room. */
  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
