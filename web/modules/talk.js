// A talk in a room: the microphone, an encoder, the room, and a decoder for each stream of the others.
// It belongs to the page's main thread and has no elements of a page.

import { Call } from "./call.js";
import { openLive } from "./live.js";
import { packetFrames } from "./packets.js";
import { Room } from "./room.js";
import { isOf } from "./rtp.js";
import { openMicrophone } from "./sources.js";

const PACKET_MS = 10; // packets of short frames are longer than one frame
const CONTROL_S = 1; // between two reports

const now = () => performance.now() / 1000;

/**
 * A voice of another end, as a page shows it. The texts and numbers are null if they are not known.
 * @typedef {{source: number, model: string, fault: string | null, level: number, delay_ms: number | null,
 *   lost_percent: number, bitrate_bps: number}} Voice
 */

export class Talk {
  /**
   * @param {{models: import("./models.js").Model[], model: import("./models.js").Model, codebooks: number,
   *   address: string, token: string, seal: object | null}} options
   * @param {{onChange: () => void, onStatus: (text: string) => void, onEnd: (text: string) => void}} calls
   *   `onChange` is called several times a second; `onEnd` once, with an error or an empty text
   */
  constructor(options, calls) {
    this.options = options;
    this.calls = calls;
    this.talks = true; // whether the voice is sent
    this.ended = false;
    this.people = 0; // in the room, with this one; 0 while it is not connected
    this.level = 0; // largest sample of the microphone since the last report
    this.core_percent = null;
    this.controlled = -Infinity;
    this.sentBits = [0, now(), 0]; // payload bytes and time of the last report, bits a second
    /** The decoders, by the SSRC of their streams: {stream, model, live, gain, report, fault}. */
    this.voices = new Map();
  }

  /** Open the microphone and the model, and join the room. */
  async start() {
    const { model, codebooks } = this.options;
    try {
      this.context = new AudioContext({ latencyHint: "interactive" });
      const end = () => this.end("The microphone was disconnected. Connect it, then join again.");
      const input = await openMicrophone(this.context, end, { echoCancellation: true, autoGainControl: true });
      this.input = input;
      if (this.ended) return input.stop();
      this.calls.onStatus(`Loading ${model.name}`);
      const frames = Math.round((PACKET_MS * model.sample_rate_hz) / 1000 / model.frame_samples);
      this.settings = { codebooks, frames: Math.max(packetFrames(model), Math.min(4, frames)), redundancy: 0 };
      this.live = await openLive(this.context, model, { settings: this.settings }, {
        progress: (share) => this.ended || this.calls.onStatus(`Loading ${model.name}: ${Math.round(100 * share)} %`),
        onPacket: (packet) => this.sendVoice(packet),
        onReport: (report) => this.tick(report),
        onError: (text) => this.end(text),
      });
      if (this.ended) return this.live.stop();
      this.join();
      input.node.connect(this.live.node).connect(this.context.destination); // its output is silence
      await this.context.resume();
    } catch (error) {
      this.end(error.message);
    }
  }

  join() {
    const { model, address, token, seal } = this.options;
    this.call = new Call(model, this.settings, {
      onStream: (stream) => this.addVoice(stream),
      onVoice: ({ source }, { sequence, timestamp, payload }) =>
        this.voices.get(source)?.live?.push(sequence, timestamp, payload, source),
      onEnd: ({ source }) => this.removeVoice(source),
    }, seal);
    this.calls.onStatus("Joining the room");
    this.room = new Room(address, token, {
      onDatagram: (bytes) => this.call.receive(bytes, now()),
      onPeople: (people) => this.notePeople(people),
      onTrouble: (text, isFinal) => (isFinal ? this.end(text) : this.calls.onStatus(text)),
    });
  }

  get isAlone() {
    return this.people < 2;
  }

  notePeople(people) {
    const joined = people > this.people;
    this.people = people;
    if (people) this.calls.onStatus(people > 1 ? `${people} people are in the room.` : "Nobody else is in the room.");
    if (joined && !this.isAlone) this.sendControl();
    this.calls.onChange();
  }

  sendVoice(packet) {
    const datagram = this.call?.voice(packet, this.talks && !this.isAlone);
    if (datagram) this.room.send(datagram);
  }

  sendControl() {
    this.controlled = now();
    this.room.send(this.call.control(this.controlled));
  }

  /** Take a report of the encoder, which comes several times a second, also if the page is hidden. */
  tick(report) {
    if (this.ended || !this.call) return;
    this.level = report.input_peak;
    const cores = [...this.voices.values()].map((voice) => voice.report?.core_percent ?? 0);
    const { frame_samples, sample_rate_hz } = this.options.model;
    const own = report.encode_ms === null ? null : (report.encode_ms * sample_rate_hz) / frame_samples / 10;
    this.core_percent = own === null ? null : cores.reduce((sum, core) => sum + core, own);
    if (now() >= this.controlled + CONTROL_S) {
      const [bytes, time] = this.sentBits, { payloadBytes } = this.call;
      this.sentBits = [payloadBytes, now(), (8 * (payloadBytes - bytes)) / (now() - time)];
      if (!this.isAlone) this.sendControl();
      else this.controlled = now();
    }
    this.call.tick(now());
    this.calls.onChange();
  }

  /** Make the decoder of a stream. */
  async addVoice(stream) {
    const model = this.options.models.find((one) => isOf(stream.description, one));
    const voice = { stream, model, live: null, gain: null, report: null, fault: null };
    this.voices.set(stream.source, voice);
    try {
      if (!model) throw new Error(`This page does not have ${stream.description.model} with these weights.`);
      const live = await openLive(this.context, model, { encodes: false }, {
        onReport: (report) => (voice.report = report),
        onError: (text) => (voice.fault = text),
      });
      if (this.voices.get(stream.source) !== voice) return live.stop();
      voice.live = live;
      voice.gain = new GainNode(this.context);
      live.node.connect(voice.gain).connect(this.context.destination);
    } catch (error) {
      voice.fault = error.message;
    }
    this.calls.onChange();
  }

  removeVoice(source) {
    const voice = this.voices.get(source);
    this.voices.delete(source);
    voice?.live?.stop();
    voice?.gain?.disconnect();
    this.calls.onChange();
  }

  /** Return the voices of the others. @returns {Voice[]} */
  shown() {
    return [...this.voices.values()].map(({ stream, model, report, fault }) => {
      const { reception, description } = stream, expected = reception.received + reception.lost;
      const trip = this.call.reports.get(stream.source)?.roundTripMs ?? null;
      const devices = 1000 * ((this.context.baseLatency ?? 0) + (this.context.outputLatency ?? 0));
      let delay = null;
      if (report && report.buffer_ms !== null) {
        const packet = (1000 * description.frames * model.frame_samples) / description.rate;
        delay = packet + report.model_ms + report.buffer_ms + devices + (trip ?? 0) / 2;
      }
      return {
        source: stream.source, model: description.model, fault, level: report?.output_peak ?? 0, delay_ms: delay,
        lost_percent: expected ? Math.max(0, (100 * reception.lost) / expected) : 0, bitrate_bps: description.bitrate,
      };
    });
  }

  /** Why voices of the room cannot be played, or null. */
  get warning() {
    if (!this.call || this.call.streams.size) return null;
    if (this.call.clear) return "Others send without encryption, and are ignored. Give them the key too.";
    if (!this.call.locked) return null;
    const fault = this.options.seal ? "with another key" : "with a key, and this page has none";
    return `Others send ${fault}. Leave, give the key of the others, and join again.`;
  }

  /** Bits a second of the packets that are sent. */
  get bits_per_s() {
    return this.sentBits[2];
  }

  /** Leave the room. The text is an error, or empty. */
  end(text = "") {
    if (this.ended) return;
    this.ended = true;
    if (this.room && !this.isAlone) this.room.send(this.call.leave());
    this.room?.close();
    for (const source of [...this.voices.keys()]) this.removeVoice(source);
    this.live?.stop();
    this.input?.stop();
    if (this.context && this.context.state !== "closed") this.context.close();
    this.calls.onEnd(text);
  }
}
