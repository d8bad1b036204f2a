// Run modules of calls on the values of a job: node talk.mjs FOLDER JOB, a JSON file that test_rtp.py
// writes. It prints the results as JSON.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, file] = process.argv.slice(2);
const { task, ...given } = JSON.parse(readFileSync(file));
const load = (name) => import(pathToFileURL(`${folder}/modules/${name}`));
const fromHex = (text) => Uint8Array.from(Buffer.from(text, "hex"));
const toHex = (bytes) => Buffer.from(bytes).toString("hex");

/** Return a packet with hexadecimal digits for bytes, and decimal ones for big integers. */
function plain(packet) {
  const text = JSON.stringify(packet, (_, value) =>
    value instanceof Uint8Array ? toHex(value) : typeof value === "bigint" ? String(value) : value);
  return JSON.parse(text);
}

function fromPlain(packet) {
  if (!packet.messages) return { ...packet, payload: fromHex(packet.payload) };
  const messages = packet.messages.map((message) => ({
    ...message, ...(message.data !== undefined && { data: fromHex(message.data) }),
    ...(message.ntp !== undefined && { ntp: BigInt(message.ntp) }),
  }));
  return { ...packet, messages };
}

const tasks = {
  async pack({ packets }) {
    const { packControl, packVoice } = await load("rtp.js");
    return packets.map(fromPlain).map((packet) => toHex(packet.messages ? packControl(packet) : packVoice(packet)));
  },

  async parse({ datagrams }) {
    const { isControl, parseControl, parseVoice } = await load("rtp.js");
    return datagrams.map(fromHex).map((bytes) => {
      try {
        return plain(isControl(bytes) ? parseControl(bytes) : parseVoice(bytes));
      } catch (error) {
        return error.message;
      }
    });
  },

  async describe({ model, settings, texts }) {
    const { describe, isOf, parseDescription } = await load("rtp.js");
    const found = texts.map((text) => {
      try {
        const description = parseDescription(text);
        return { ...description, isOf: isOf(description, model) };
      } catch (error) {
        return error.message;
      }
    });
    return [describe(model, settings), found];
  },

  async cipher({ vectors }) {
    const { decrypt, encrypt } = await load("chacha20poly1305.js");
    return vectors.map((vector) => {
      const [key, nonce, data, head] = vector.map(fromHex), sealed = encrypt(key, nonce, data, head);
      const damaged = sealed.map((byte, n) => (n === sealed.length - 3 ? byte ^ 1 : byte));
      return [toHex(sealed), toHex(decrypt(key, nonce, sealed, head) ?? []), decrypt(key, nonce, damaged, head)];
    });
  },

  async scrypt({ vectors }) {
    const { scrypt } = await load("scrypt.js"), found = [];
    for (const [passphrase, salt, n, r, length] of vectors)
      found.push(toHex(await scrypt(fromHex(passphrase), fromHex(salt), { n, r, length })));
    return found;
  },

  /** Open datagrams with a key, then seal packets with it. */
  async seal({ key, datagrams, packets }) {
    const { Seal } = await load("seal.js"), seal = await Seal.make(fromHex(key)), opened = [];
    for (const bytes of datagrams.map(fromHex)) {
      let found = null, again;
      const later = new Promise((resume) => (again = resume));
      try {
        found = seal.open(bytes, again);
        if (!found) {
          await later;
          found = seal.open(bytes, again);
        }
        opened.push(plain(found));
      } catch (error) {
        opened.push(error.message);
      }
    }
    const sealed = packets.map(fromPlain).map((one) => toHex(one.messages ? seal.control(one) : seal.voice(one)));
    return { opened, sealed };
  },

  async passphrase({ text }) {
    const { keyOfPassphrase } = await load("seal.js");
    return keyOfPassphrase(text).then(toHex, (error) => error.message);
  },

  async addresses({ pairs }) {
    const { newRoomName, roomAddress } = await load("room.js");
    const found = pairs.map(([relay, name]) => {
      try {
        return roomAddress(relay, name);
      } catch (error) {
        return error.message;
      }
    });
    return [found, [newRoomName(), newRoomName()]];
  },

  /** A room whose WebSocket does what a script states. Timers run at once. */
  async room({ token, script }) {
    const { Room } = await load("room.js"), sockets = [], log = [];
    globalThis.WebSocket = class {
      static OPEN = 1;
      constructor(address, protocols) {
        Object.assign(this, { readyState: 0, bufferedAmount: 0, sent: 0 });
        sockets.push(this);
        log.push(["opened", address, protocols]);
      }
      send = () => ++this.sent;
      close = () => log.push(["closed"]);
    };
    globalThis.setTimeout = (run, pause) => {
      log.push(["pause", pause]);
      run();
    };
    const room = new Room("ws://relay/relay/lab", token, {
      onDatagram: (bytes) => log.push(["datagram", toHex(bytes)]),
      onPeople: (people) => log.push(["people", people]),
      onTrouble: (text, isFinal) => log.push(["trouble", text, isFinal]),
    });
    for (const [what, value] of script) {
      const socket = sockets.at(-1);
      if (what === "text") socket.onmessage({ data: value });
      else if (what === "binary") socket.onmessage({ data: fromHex(value).buffer });
      else if (what === "end") socket.onclose(value);
      else if (what === "send") {
        Object.assign(socket, value);
        room.send(new Uint8Array(1));
        log.push(["sent", socket.sent, room.dropped]);
      } else room.close();
    }
    return log;
  },

  /** One end of a call: datagrams in and out at the times of a script. */
  async call({ model, settings, script }) {
    const { Call } = await load("call.js"), { packControl } = await load("rtp.js");
    const heard = [], ended = [], begun = [];
    const call = new Call(model, settings, {
      onStream: ({ source }) => begun.push(source),
      onEnd: ({ source }) => ended.push(source),
      onVoice: ({ source }, voice) => heard.push([source, voice.sequence, toHex(voice.payload)]),
    });
    const sent = script.map(([what, now, value]) => {
      if (what === "receive") call.receive(fromHex(value), now);
      else if (what === "echo") call.receive(call.control(now), now);
      else if (what === "report") {
        const report = { ...value, type: "report", source: call.source };
        call.receive(packControl({ source: 5, messages: [report] }), now);
      } else if (what === "tick") call.tick(now);
      else if (what === "leave") return toHex(call.leave());
      else if (what === "control") return toHex(call.control(now));
      else return toHex(call.voice({ payload: fromHex(value[0]), timestamp: value[1] }, value[2]) ?? []);
      return null;
    });
    const { source, ignored, locked } = call;
    return { source, sent, heard, begun, ended, ignored, locked, reports: [...call.reports] };
  },
};

console.log(JSON.stringify(await tasks[task](given)));
