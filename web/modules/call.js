// One end of a call in a room: the stream that it sends, and the streams of the others. It has no
// socket, no audio and no clock: the caller passes datagrams, packets and times. Times are in seconds.

import {
  DESCRIPTION, SEALED, VOICE_TYPE, describe, isControl, packControl, packVoice, parseControl,
  parseDescription, parseVoice,
} from "./rtp.js";

const GONE_S = 5; // silence of a stream after which it has ended
const CONFIRMED_S = 2.5; // age of a report up to which its sender is known to receive
const MAX_STREAMS = 8;

/**
 * A stream of another end.
 * @typedef {{source: number, description: ReturnType<typeof parseDescription>, seen: number,
 *   reception: Reception, sent: {ntp: number, time: number} | null}} Stream
 */

/** Counts of the RTP packets of one stream, for its reports (RFC 3550, section 6.4 and appendix A). */
class Reception {
  constructor(rate) {
    this.rate = rate;
    this.received = 0;
    this.first = this.highest = null; // sequence numbers, with their overflows above 16 bits
    this.before = [0, 0]; // expected and lost at the last report
    this.jitter = 0; // in seconds
    this.transit = null;
  }

  note({ sequence, timestamp }, now) {
    if (this.highest === null) this.first = this.highest = sequence;
    const ahead = ((sequence - this.highest + 0x8000) & 0xffff) - 0x8000;
    this.highest = Math.max(this.highest, this.highest + ahead);
    ++this.received;
    const transit = now - timestamp / this.rate;
    const change = this.transit === null ? 0 : Math.abs(transit - this.transit);
    if (change < 60) this.jitter += (change - this.jitter) / 16; // the timestamp has not overflowed
    this.transit = transit;
  }

  get lost() {
    return this.highest === null ? 0 : this.highest - this.first + 1 - this.received;
  }

  /** Return the share that was lost since the last call. */
  lostShare() {
    const expected = this.received + this.lost, [expectedBefore, lostBefore] = this.before;
    this.before = [expected, this.lost];
    return expected > expectedBefore ? Math.max(0, (this.lost - lostBefore) / (expected - expectedBefore)) : 0;
  }
}

/** One end of a call. */
export class Call {
  /**
   * @param {import("./models.js").Model} model model of the stream that this end sends
   * @param {{codebooks: number, frames: number, redundancy: number}} settings of it; they may change
   * @param {{onStream?: (stream: Stream) => void, onEnd?: (stream: Stream) => void,
   *   onVoice?: (stream: Stream, voice: import("./rtp.js").Voice) => void}} calls `onStream` is called
   *   when another end describes its stream
   * @param {{voice: Function, control: Function, open: Function} | null} [seal] encrypts datagrams, see seal.js
   */
  constructor(model, settings, calls, seal = null) {
    this.model = model;
    this.settings = settings;
    this.calls = calls;
    this.seal = seal;
    const [source, sequence, timestamp] = crypto.getRandomValues(new Uint32Array(3));
    this.source = source;
    this.sequence = sequence & 0xffff; // of the next packet
    this.offset = timestamp; // RTP timestamp of the beginning
    this.position = 0; // in samples, after the last packet
    this.starts = true;
    this.packets = this.payloadBytes = 0; // sent
    this.ignored = 0; // datagrams that were malformed, or of another program
    this.locked = 0; // control datagrams among them that are sealed with another key, or this end has none
    this.clear = 0; // control datagrams among them that are not sealed, if this end has a key
    /** @type {Map<number, Stream>} */
    this.streams = new Map();
    /** What the others report of the stream of this end, by their SSRC. */
    this.reports = new Map();
  }

  /**
   * Return the datagram of a packet of the encoder.
   * @param {{payload: Uint8Array, timestamp: number}} packet its timestamp counts from 0
   * @param {boolean} talks whether it is to be sent; otherwise the result is null
   */
  voice({ payload, timestamp }, talks) {
    this.position = timestamp;
    if (!talks) {
      this.starts = true;
      return null;
    }
    const voice = {
      sequence: this.sequence, timestamp: (this.offset + timestamp) >>> 0, source: this.source, payload,
      starts: this.starts,
    };
    this.starts = false;
    this.sequence = (this.sequence + 1) & 0xffff;
    ++this.packets;
    this.payloadBytes += payload.length;
    return this.seal ? this.seal.voice(voice) : packVoice(voice);
  }

  /** Return the datagram of reports, which is to be sent once a second and when somebody joins. */
  control(now) {
    const description = new TextEncoder().encode(describe(this.model, this.settings));
    const messages = [
      {
        type: "sent", ntp: ntp(now), timestamp: (this.offset + this.position) >>> 0, packets: this.packets,
        payloadBytes: this.payloadBytes,
      },
      { type: "application", kind: DESCRIPTION, data: description },
    ];
    for (const { source, reception, sent } of this.streams.values()) {
      if (reception.highest === null) continue;
      messages.push({
        type: "report", source, lostShare: reception.lostShare(), lost: reception.lost,
        highest: reception.highest, jitter: Math.round(reception.jitter * reception.rate),
        lastReport: sent ? sent.ntp : 0, sinceLastReport: sent ? Math.round((now - sent.time) * 65536) : 0,
      });
    }
    return this.packed(messages);
  }

  /** Return the datagram that ends the stream of this end. */
  leave() {
    return this.packed([{ type: "bye" }]);
  }

  packed(messages) {
    const control = { source: this.source, messages };
    return this.seal ? this.seal.control(control) : packControl(control);
  }

  /** Take a datagram. One that does not belong to the call is counted and ignored. */
  receive(bytes, now) {
    try {
      const packet = this.opened(bytes, now);
      if (!packet || packet.source === this.source) return;
      if (packet.messages?.some(({ type, kind }) => type === "application" && kind === SEALED)) this.ignore(bytes);
      else if (packet.messages) this.take(packet, now);
      else this.hear(packet, now);
    } catch {
      this.ignore(bytes);
    }
  }

  /** Count a datagram that is ignored, and why. */
  ignore(bytes) {
    ++this.ignored;
    if (!isControl(bytes)) return;
    if ((bytes[0] & 31) === SEALED) ++this.locked;
    else if (this.seal) ++this.clear;
  }

  /** Return the content of a datagram, or null if it comes again when its key is there. */
  opened(bytes, now) {
    if (this.seal) return this.seal.open(bytes, () => this.receive(bytes, now));
    return isControl(bytes) ? parseControl(bytes) : parseVoice(bytes);
  }

  hear(voice, now) {
    const stream = this.streams.get(voice.source);
    if (!stream || voice.kind !== VOICE_TYPE) {
      ++this.ignored;
      return;
    }
    stream.seen = now;
    stream.reception.note(voice, now);
    this.calls.onVoice?.(stream, voice);
  }

  take({ source, messages }, now) {
    const ends = messages.some(({ type }) => type === "bye");
    for (const message of messages) {
      if (message.type === "application" && message.kind === DESCRIPTION) {
        if (!ends) this.offer(source, new TextDecoder("utf-8", { fatal: true }).decode(message.data), now);
      } else if (message.type === "report" && message.source === this.source) this.noteReport(source, message, now);
    }
    const stream = this.streams.get(source);
    if (!stream) return;
    stream.seen = now;
    for (const message of messages)
      if (message.type === "sent") stream.sent = { ntp: middle(message.ntp), time: now };
    if (ends) this.end(stream);
  }

  offer(source, text, now) {
    const description = parseDescription(text), stream = this.streams.get(source);
    if (stream) stream.description = description;
    else if (this.streams.size < MAX_STREAMS) {
      const begun = { source, description, seen: now, reception: new Reception(description.rate), sent: null };
      this.streams.set(source, begun);
      this.calls.onStream?.(begun);
    }
  }

  noteReport(source, report, now) {
    const passed = (middle(ntp(now)) - report.lastReport - report.sinceLastReport) >>> 0;
    this.reports.set(source, {
      time: now,
      lossPercent: 100 * report.lostShare,
      roundTripMs: report.lastReport && passed < 60 * 65536 ? (1000 * passed) / 65536 : null,
    });
  }

  /** End the streams of which nothing has arrived for a while, and forget old reports. */
  tick(now) {
    for (const stream of [...this.streams.values()]) if (now > stream.seen + GONE_S) this.end(stream);
    for (const [source, { time }] of this.reports) if (now > time + CONFIRMED_S) this.reports.delete(source);
  }

  end(stream) {
    this.streams.delete(stream.source);
    this.reports.delete(stream.source);
    this.calls.onEnd?.(stream);
  }
}

/** Return a time as an NTP timestamp, in 1/2**32 s. */
const ntp = (now) => BigInt.asUintN(64, BigInt(Math.round(now * 65536)) << 16n);
/** Return the middle 32 bits of an NTP timestamp, which reports contain. */
const middle = (time) => Number((time >> 16n) & 0xffffffffn);
