// A simulated network, which loses, delays and damages packets. docs/reference/network.md describes
// the effects, and src/chirrup/live/network.py has the same; the random numbers are others.

/**
 * @typedef {{loss_percent: number, bursts_percent: number, burst_packets: number,
 *   bit_errors_percent: number, jitter_ms: number, delay_ms: number}} Conditions
 */

/** Conditions of a network without effects. */
export const CLEAR = {
  loss_percent: 0, bursts_percent: 0, burst_packets: 3, bit_errors_percent: 0, jitter_ms: 0, delay_ms: 0,
};

/** A network without a clock: the caller gives the times. Its conditions may change at any time. */
export class Network {
  /** @param {number} seed the same seed and times lose the same packets */
  constructor(seed = 0) {
    /** @type {Conditions} */
    this.conditions = { ...CLEAR };
    this.random = {};
    for (const [number, kind] of ["loss", "bursts", "jitter", "bits"].entries())
      this.random[kind] = generator(seed * 4 + number);
    this.inBurst = false;
    this.queueEnd = -Infinity; // arrival time of the last packet: packets do not overtake each other
    this.underWay = []; // {time, label, packet}, in the order of time
    this.sent = this.lost = 0;
  }

  /** Send a packet at a time in seconds, with a label that arrives with it. */
  send(packet, time, label) {
    ++this.sent;
    const lost = this.loses(), arrival = this.arrival(time);
    if (lost) ++this.lost;
    else this.underWay.push({ time: arrival, label, packet: this.damaged(packet) });
  }

  /** Return the packets that arrive up to a time, in order. */
  receive(until) {
    let count = 0;
    while (count < this.underWay.length && this.underWay[count].time <= until) ++count;
    return this.underWay.splice(0, count);
  }

  loses() {
    const { loss_percent, bursts_percent, burst_packets } = this.conditions;
    const lost = this.random.loss() < loss_percent / 100 || this.inBurst;
    // The model of Gilbert and Elliott; its bad state loses every packet.
    const share = bursts_percent / 100, leaves = 1 / burst_packets;
    const enters = share < 1 ? (leaves * share) / (1 - share) : 1;
    const changes = this.random.bursts() < (this.inBurst ? leaves : enters);
    if (changes) this.inBurst = !this.inBurst;
    if (!share) this.inBurst = false;
    return lost;
  }

  arrival(time) {
    const { jitter_ms, delay_ms } = this.conditions;
    const held = time - (Math.log(1 - this.random.jitter()) * jitter_ms) / 1000 + delay_ms / 1000;
    this.queueEnd = Math.max(held, this.queueEnd);
    return this.queueEnd;
  }

  damaged(packet) {
    const share = this.conditions.bit_errors_percent / 100;
    if (!share) return packet;
    const bytes = packet.slice();
    for (let bit = 0; bit < 8 * bytes.length; ++bit)
      if (this.random.bits() < share) bytes[bit >> 3] ^= 0x80 >> (bit & 7);
    return bytes;
  }
}

/** Return a function of uniform random numbers from 0 to 1: Mulberry32. */
function generator(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b9);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
