// An adaptive jitter buffer: packets go in as they arrive, and come out in order, one a tick. It follows
// the rules of src/chirrup/live/jitter.py and delays.py, which docs/explanation/jitter.md explains.
// Times are in seconds of any clock, timestamps in samples.

import { peekPacket } from "./packets.js";

const QUANTILE = 0.97, WINDOW_S = 5, WINDOW_PACKETS = 1024, MARGIN_S = 0.002, FALL_S = 3, LONGEST_STEP_S = 0.1;
const SLACK_S = 0.01, PATIENCE_S = 1, GAP_S = 0.3, ROUNDING_S = 1e-6;
const BACK = 1024, AHEAD = 3000, MAX_WAITING = 1024;

/** Measure the delays of packets, and derive the depth that the buffer needs. */
class Delays {
  constructor(least, most, start) {
    this.minDepth = least;
    this.maxDepth = most;
    this.target = Math.min(Math.max(start, least), most);
    this.begin();
  }

  begin() {
    this.least = Infinity;
    this.forget();
  }

  forget() {
    this.window = []; // [arrival time, transit time]
    this.sorted = []; // the transit times
  }

  push(transit, arrival, redundancy) {
    const { window, sorted } = this;
    const last = window.length ? window[window.length - 1][0] : arrival;
    const elapsed = Math.min(Math.max(0, arrival - last), LONGEST_STEP_S);
    window.push([arrival, transit]);
    sorted.splice(place(sorted, transit), 0, transit);
    while (window[0][0] < arrival - WINDOW_S || window.length > WINDOW_PACKETS)
      sorted.splice(place(sorted, window.shift()[1]), 1);
    const moved = Math.max(0, sorted[0] - this.least);
    this.least = sorted[0];
    const covered = sorted[Math.ceil(QUANTILE * sorted.length) - 1] - this.least;
    const wanted = Math.max(covered + redundancy + MARGIN_S, this.minDepth);
    let held = this.target - moved;
    held -= ((held - wanted) * elapsed) / FALL_S;
    this.target = Math.min(Math.max(wanted, held), this.maxDepth);
  }
}

/**
 * A jitter buffer for the packets of one stream. While a stream plays, packets of another source, or
 * with numbers or times that do not fit, are discarded. After 0.3 s without a packet, the next packet
 * may begin a new stream.
 */
export class JitterBuffer {
  /**
   * @param {{frame_samples: number, sample_rate_hz: number}} model
   * @param {{least_s?: number, most_s?: number, start_s?: number}} [depth] lowest and highest target of
   *   the depth, and the target before anything is measured
   */
  constructor(model, { least_s = 0.02, most_s = 0.5, start_s = 0.04 } = {}) {
    this.frameSamples = model.frame_samples;
    this.rate = model.sample_rate_hz;
    this.maxDepth = most_s;
    this.delays = new Delays(least_s, most_s, start_s);
    this.step = this.frameSamples; // duration of the last packet
    this.depth = 0;
    this.counts = {
      received: 0, duplicates: 0, lost: 0, played: 0, late: 0, discarded: 0, recovered: 0, concealed: 0,
      inserted: 0, removed: 0, restarts: 0,
    };
    this.begin(0, 0, 0);
    this.started = false;
  }

  begin(source, sequence, timestamp) {
    this.started = true;
    this.source = source;
    this.first = sequence;
    this.highest = sequence - 1;
    this.timestamp = timestamp;
    this.seen = new Array(BACK).fill(null);
    this.waiting = []; // {timestamp, sequence, packet}, in the order of their timestamps
    this.next = null; // timestamp of the next tick; earlier packets are late
    this.leftOut = [0, 0]; // timestamps between which there was no tick
    this.ended = null; // timestamp of the end of the last packet that was played
    this.last = sequence - 1; // its sequence number
    this.empty = 0; // ticks since then in which no packet was there
    this.playing = false;
    this.missing = 0; // duration of the ticks without a packet, in seconds
    this.tooDeepSince = null;
    this.delays.begin();
  }

  /** Store a packet. `sequence` counts modulo 2**16 and `timestamp` modulo 2**32, as in RTP. */
  push(sequence, timestamp, packet, arrival, source = 0) {
    if (!this.belongs(sequence, timestamp, arrival, source)) {
      if (this.playing || this.waiting.length) return this.refuse(sequence, timestamp, arrival, source);
      this.counts.restarts += this.started ? 1 : 0;
      this.begin(source, sequence & 0xffff, timestamp >>> 0);
    }
    sequence = extended(sequence, this.highest, 2 ** 16);
    timestamp = extended(timestamp, this.timestamp, 2 ** 32);
    if (!this.note(sequence)) return;
    this.timestamp = timestamp;
    const { frames, isRedundant } = peekPacket(packet), duration = frames * this.frameSamples;
    const transit = arrival - timestamp / this.rate;
    // The delay has grown, and playout begins anew.
    if (!this.playing && !this.waiting.length && transit > this.delays.least + this.delays.target) this.delays.forget();
    this.delays.push(transit, arrival, isRedundant ? duration / this.rate : 0);
    const isLate = this.next !== null && timestamp + duration <= this.next;
    if (isLate || sequence !== this.last + 1) this.counts.concealed += this.empty;
    else if (timestamp === this.ended) this.counts.inserted += this.empty; // otherwise the sender has paused
    this.empty = 0;
    if (isLate) return this.noteLate(timestamp);
    let at = this.waiting.length;
    while (at && this.waiting[at - 1].timestamp > timestamp) --at;
    this.waiting.splice(at, 0, { timestamp, sequence, packet });
    if (this.waiting.length > MAX_WAITING) this.discard();
  }

  /**
   * Return the packet of the next tick, or null if nothing plays. A tick is as long as the audio that
   * the decoder returns for it.
   * @param {number} now time of the tick
   * @param {boolean} quiet whether a tick may be inserted or removed here
   * @returns {{packet: Uint8Array | null, following: Uint8Array | null, timestamp: number} | null}
   */
  pull(now, quiet) {
    if (!this.playing && !this.starts(now)) return null;
    this.dropEnded();
    const step = this.step / this.rate, { target, least } = this.delays;
    this.depth = now - this.next / this.rate - least;
    if (this.depth < target - ROUNDING_S && (quiet || !this.waiting.length)) {
      ++this.counts.inserted;
      return this.noteMissing(step, null);
    }
    if (this.waiting.length && this.depth > target + step + SLACK_S) this.reduce(now, quiet, step, target);
    else this.tooDeepSince = null;
    if (!this.waiting.length || !this.isDue()) return this.missed(step);
    const { timestamp, sequence, packet } = this.waiting.shift();
    this.step = peekPacket(packet).frames * this.frameSamples;
    this.next = this.ended = timestamp + this.step;
    this.last = sequence;
    this.missing = 0;
    ++this.counts.played;
    return { packet, following: null, timestamp };
  }

  belongs(sequence, timestamp, arrival, source) {
    if (!this.started || source !== this.source) return false;
    const transit = arrival - extended(timestamp, this.timestamp, 2 ** 32) / this.rate;
    const distance = extended(sequence, this.highest, 2 ** 16) - this.highest;
    return Math.abs(transit - this.delays.least) <= this.maxDepth && distance > -BACK && distance < AHEAD;
  }

  /** Count a packet that does not belong to the stream, or is much too late for it. */
  refuse(sequence, timestamp, arrival, source) {
    const number = extended(sequence, this.highest, 2 ** 16), distance = number - this.highest;
    timestamp = extended(timestamp, this.timestamp, 2 ** 32);
    const moved = timestamp - this.timestamp, isLate = arrival - timestamp / this.rate > this.delays.least;
    const isNear = Math.abs(moved) < 10 * this.rate && distance > -BACK && distance < AHEAD;
    if (source !== this.source || !isLate || !isNear) {
      ++this.counts.received;
      ++this.counts.discarded;
    } else if (this.note(number)) this.noteLate(timestamp);
  }

  /** Count a packet that comes after its tick. It is not late if there was no tick. */
  noteLate(timestamp) {
    const [start, end] = this.leftOut;
    ++this.counts[start <= timestamp && timestamp < end ? "discarded" : "late"];
  }

  /** Count a packet of the stream, and return whether it is new. */
  note(sequence) {
    const at = ((sequence % BACK) + BACK) % BACK;
    if (this.seen[at] === sequence) {
      ++this.counts.duplicates;
      return false;
    }
    this.seen[at] = sequence;
    ++this.counts.received;
    if (sequence > this.highest) {
      this.counts.lost += sequence - this.highest - 1;
      this.highest = sequence;
    } else if (sequence < this.first) {
      this.counts.lost += this.first - sequence - 1;
      this.first = sequence;
    } else --this.counts.lost;
    return true;
  }

  /** Begin to play if the first packet has waited long enough. */
  starts(now) {
    if (!this.waiting.length) return false;
    const { timestamp } = this.waiting[0];
    if (now - timestamp / this.rate - this.delays.least < this.delays.target - ROUNDING_S) return false;
    if (this.next === null) this.leftOut = [timestamp - 10 * this.rate, timestamp];
    this.playing = true;
    this.next = timestamp;
    this.missing = 0;
    return true;
  }

  /** Return whether the first packet begins with the next tick, to half a frame. */
  isDue() {
    return this.waiting[0].timestamp - this.next < this.frameSamples / 2;
  }

  /** Leave out a tick at a good moment, or several ticks if the buffer is far too deep. */
  reduce(now, quiet, step, target) {
    this.tooDeepSince ??= now;
    const isLost = !this.isDue() && !peekPacket(this.waiting[0].packet).isRedundant;
    const isFar = this.depth > this.maxDepth + step + SLACK_S;
    if (!(isFar || isLost || quiet || now - this.tooDeepSince > PATIENCE_S)) return;
    const steps = isFar ? Math.floor((this.depth - target) / step) : 1;
    this.leftOut = [this.next, this.next + steps * this.step];
    this.next += steps * this.step;
    this.counts.removed += steps;
    this.tooDeepSince = null;
    this.dropEnded();
  }

  /** Discard packets that end before the next tick. */
  dropEnded() {
    const ends = ({ timestamp, packet }) => timestamp + peekPacket(packet).frames * this.frameSamples;
    while (this.waiting.length && ends(this.waiting[0]) <= this.next) this.discard();
  }

  discard() {
    this.waiting.shift();
    ++this.counts.discarded;
  }

  /** Return the tick of a missing packet, or of a pause. */
  missed(step) {
    let isLost = false;
    if (this.waiting.length) {
      const { timestamp, sequence, packet } = this.waiting[0], { frames, isRedundant } = peekPacket(packet);
      const span = Math.max(this.step, frames * this.frameSamples);
      isLost = sequence !== this.last + 1;
      if (timestamp - this.next < span + this.frameSamples / 2) {
        this.next = timestamp;
        this.counts[isRedundant ? "recovered" : "concealed"] += isLost ? 1 : 0;
        return { packet: null, following: packet, timestamp };
      }
    }
    this.next += this.step;
    this.counts.concealed += isLost ? 1 : 0;
    this.empty += this.waiting.length ? 0 : 1;
    return this.noteMissing(step, null);
  }

  noteMissing(step, packet) {
    this.missing += step;
    if (this.missing >= GAP_S) {
      this.playing = false;
      this.next = this.ended;
    }
    return { packet, following: null, timestamp: 0 };
  }
}

/** Return the first place of a sorted array whose number is not below `value`. */
function place(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Return the integer nearest to `near` that equals `value` modulo `size`. */
function extended(value, near, size) {
  const moved = value - near + size / 2;
  return near + (moved - size * Math.floor(moved / size)) - size / 2;
}
