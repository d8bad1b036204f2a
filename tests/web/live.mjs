// Run modules of live use on the values of a job: node live.mjs FOLDER WASM JOB, a JSON file that
// test_live_modules.py writes. It prints the results as JSON.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, wasm, file] = process.argv.slice(2);
const { task, ...given } = JSON.parse(readFileSync(file));
const load = (path) => import(pathToFileURL(`${folder}/${path}`));
const fromHex = (text) => Uint8Array.from(Buffer.from(text, "hex"));
const toHex = (bytes) => Buffer.from(bytes).toString("hex");
const plain = (found) => found && { codes: [...found.codes], codebooks: found.codebooks };

const tasks = {
  async pack({ packets, bits }) {
    const { packPacket } = await load("modules/packets.js");
    return packets.map(([codes, redundant]) => toHex(packPacket(codes, redundant, bits)));
  },

  async unpack({ packets, model }) {
    const { unpackPacket } = await load("modules/packets.js");
    return packets.map((packet) => {
      try {
        const found = unpackPacket(fromHex(packet), model);
        return { present: plain(found), redundant: plain(found.redundant) };
      } catch (error) {
        return error.message;
      }
    });
  },

  async jitter({ model, events }) {
    const { JitterBuffer } = await load("modules/jitter.js");
    const buffer = new JitterBuffer(model), pulled = [];
    for (const { push, pull } of events) {
      if (push) buffer.push(push[0], push[1], fromHex(push[2]), push[3], push[4]);
      else {
        const { packet, following } = buffer.pull(...pull) ?? {};
        pulled.push([packet ? toHex(packet) : null, following ? toHex(following) : null]);
      }
    }
    return { pulled, counts: buffer.counts, depth: buffer.depth, target: buffer.delays.target };
  },

  async play({ model, program, arrivals, ticks }) {
    const { Engine } = await load("chirrup.js"), { Playout } = await load("modules/playout.js");
    const opened = new Engine(new WebAssembly.Module(readFileSync(wasm))).open(new Uint8Array(readFileSync(program)));
    const playout = new Playout(model, opened), audio = [];
    let next = 0;
    for (const now of ticks) {
      for (; next < arrivals.length && arrivals[next][3] <= now; ++next) {
        const [sequence, timestamp, packet, time] = arrivals[next];
        playout.buffer.push(sequence, timestamp, fromHex(packet), time);
      }
      const tick = playout.pull(now);
      audio.push(...(tick?.audio ?? new Float32Array(playout.frames * model.frame_samples)));
    }
    return { audio, counts: { ...playout.buffer.counts, malformed: playout.malformed } };
  },

  async resample({ signal, rates, pieces }) {
    const { StreamResampler } = await load("modules/stream-resampler.js");
    return pieces.map((size) => {
      const resampler = new StreamResampler(...rates), output = [];
      for (let at = 0; at < signal.length; at += size)
        output.push(...resampler.push(Float32Array.from(signal.slice(at, at + size))));
      return output;
    });
  },

  async meter({ work_ms, place_ms, frames }) {
    const { Meter } = await load("modules/meter.js"), { now } = Date;
    let time = 0; // a clock of which each call takes 100 ns
    Date.now = () => Math.floor((time += 1e-4));
    const meter = new Meter(20);
    for (let n = 1; n <= frames; ++n) {
      time = 20 * n + place_ms;
      const begun = meter.begin(1);
      time += work_ms;
      meter.end(begun, "part", 1);
    }
    Date.now = now;
    return meter.mean("part");
  },

  async network({ conditions, packets }) {
    const { Network } = await load("modules/network.js");
    const network = new Network(1), packet = new Uint8Array(16), arrivals = [];
    Object.assign(network.conditions, conditions);
    for (let n = 0; n < packets; ++n) network.send(packet, n / 50, n);
    for (const { label, time, packet: arrived } of network.receive(Infinity)) {
      let wrong = 0;
      for (const byte of arrived) for (let bits = byte; bits; bits >>= 1) wrong += bits & 1;
      arrivals.push([label, time - label / 50, wrong]);
    }
    return arrivals;
  },
};

console.log(JSON.stringify(await tasks[task](given)));
