// Playout of a received stream: a jitter buffer and a decoder that conceals, which turn packets into
// audio. They follow src/chirrup/stream.py and src/chirrup/live/playout.py.

import { ConcealingDecoder } from "./concealment.js";
import { JitterBuffer } from "./jitter.js";
import { unpackPacket } from "./packets.js";

const ABSENT = -1;
const MOST_FRAMES = 4; // of a packet
const QUIET = 0.1; // level of a quiet tick, relative to the loudest recent one
const SILENCE = 1e-4; // level of a tick below which it is always quiet
const FORGET_S = 3; // time in which the level of the loudest recent tick halves

/** The receiver's end of a stream. */
export class Playout {
  /**
   * @param {import("./models.js").Model} model
   * @param {import("../chirrup.js").Program} program
   * @param {object} [depth] of the `JitterBuffer`
   */
  constructor(model, program, depth) {
    this.model = model;
    this.buffer = new JitterBuffer(model, depth);
    this.decoder = new ConcealingDecoder(model, program, MOST_FRAMES);
    this.frames = 1; // of the last packet
    this.malformed = 0; // packets that could not be unpacked; they were concealed
    this.quiet = true;
    this.loudest = 0;
    this.started = false; // whether a packet has been played
  }

  /**
   * Return the audio of the next tick, or null if nothing plays. The timestamp is null if the packet is
   * missing.
   * @param {number} now time of the tick, on the clock of the arrival times
   * @returns {{audio: Float32Array, frames: number, timestamp: number | null} | null}
   */
  pull(now) {
    const pulled = this.buffer.pull(now, this.quiet);
    if (!pulled) return null;
    const { packet, following } = pulled;
    let found = null;
    try {
      if (packet) found = unpackPacket(packet, this.model);
      else if (following) found = this.recovered(unpackPacket(following, this.model));
    } catch {
      this.malformed += packet ? 1 : 0;
    }
    if (found) this.frames = found.frames;
    const { frames } = this, codes = found?.codes ?? new Int32Array(frames).fill(ABSENT);
    const audio = this.decoder.run(codes, found?.codebooks ?? 1);
    if (!this.started && (packet || following)) {
      for (let n = 0; n < audio.length; ++n) audio[n] *= n / audio.length; // a decoder may begin with a burst
      this.started = true;
    }
    this.noteLevel(audio);
    return { audio, frames, timestamp: packet && found ? pulled.timestamp : null };
  }

  /** Return the codes of a lost packet that the packet after it repeats. Others are absent. */
  recovered({ frames: later, redundant }) {
    const frames = Math.max(this.frames, later), codebooks = redundant?.codebooks ?? 1;
    const codes = new Int32Array(frames * codebooks).fill(ABSENT);
    const repeated = redundant?.codes.slice(-frames * codebooks) ?? [];
    codes.set(repeated, codes.length - repeated.length);
    return { codes, codebooks, frames };
  }

  noteLevel(audio) {
    let sum = 0;
    for (const sample of audio) sum += sample * sample;
    const level = Math.sqrt(sum / audio.length);
    const faded = this.loudest * 0.5 ** (audio.length / this.model.sample_rate_hz / FORGET_S);
    this.loudest = Math.max(level, faded);
    this.quiet = level <= Math.max(QUIET * this.loudest, SILENCE);
  }
}
