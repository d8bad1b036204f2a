// A player that switches between sounds at the same sample, with a short crossfade. The pages and
// the report of `chirrup evaluate` use it; the report includes this file, so it imports nothing.

const LEAD_S = 0.03; // lead of the schedule beside the buffers, so that a switch is exact to the sample
const FADE_S = 0.008;
const DEVICE = "device"; // the sample rate of the device
const contexts = new Map(); // AudioContexts by sample rate, made at the first click as browsers require

function contextAt(rateHz) {
  if (!contexts.has(rateHz)) contexts.set(rateHz, new AudioContext(rateHz === DEVICE ? {} : { sampleRate: rateHz }));
  return contexts.get(rateHz);
}

/** Return a buffer with a copy of samples. @param {Float32Array[]} channels @param {number} rateHz */
export function audioBuffer(channels, rateHz) {
  const shape = { numberOfChannels: channels.length, length: channels[0].length, sampleRate: rateHz };
  const buffer = new AudioBuffer(shape);
  channels.forEach((samples, n) => buffer.copyToChannel(samples, n));
  return buffer;
}

/** A sound that a player plays. Sounds that are compared have the same length. */
export class Sound {
  /**
   * @param {(context: BaseAudioContext) => Promise<AudioBuffer> | AudioBuffer} decode
   * @param {number} [gain] factor
   */
  constructor(decode, gain = 1) {
    this.decode = decode;
    this.gain = gain;
    this.decoded = null;
  }

  /** A sound of samples. @param {Float32Array[]} channels @param {number} rateHz @param {number} [gain] */
  static of(channels, rateHz, gain) {
    const buffer = audioBuffer(channels, rateHz);
    return new Sound(() => buffer, gain);
  }

  /** A sound of an audio file that the browser decodes. @param {string} address @param {number} [gain] */
  static at(address, gain) {
    return new Sound(async (context) => {
      const answer = await fetch(address);
      if (!answer.ok) throw new Error(`${address} cannot be loaded: status ${answer.status}.`);
      return context.decodeAudioData(await answer.arrayBuffer());
    }, gain);
  }

  /** Return the decoded audio, which is kept. @returns {Promise<AudioBuffer>} */
  buffer(context) {
    this.decoded ??= Promise.resolve(this.decode(context));
    this.decoded.catch(() => this.forget()); // a next attempt may succeed
    return this.decoded;
  }

  /** Free the decoded audio. */
  forget() {
    this.decoded = null;
  }
}

/** A player of one sound at a time. Another sound continues at the same sample. */
export class Player {
  /**
   * @param {{rateHz?: number, show?: () => void}} [options] the sample rate of the sounds, which are
   *   else resampled to the device's; and what to call when a value of the player changes, and on
   *   each animation frame while it plays
   */
  constructor({ rateHz = DEVICE, show = () => {} } = {}) {
    this.rateHz = rateHz;
    this.show = show;
    this.sound = null; // the sound that plays, or plays next
    this.voice = null; // {source, gain, level, started, offset, buffer} while playing
    this.place = 0; // position while nothing plays, 0 to 1
    this.region = [0, 1]; // what is repeated
    this.repeats = false;
    this.requests = 0; // the last of several requests counts
  }

  /** Whether a sound is playing. */
  get playing() {
    return this.voice !== null;
  }

  /**
   * Play a sound from a place, 0 to 1, or from the present position when the sound is ready.
   * @param {Sound} [sound]
   * @param {number} [place]
   * @throws {Error} the sound cannot be decoded
   */
  async play(sound = this.sound, place = undefined) {
    const context = contextAt(this.rateHz), request = ++this.requests;
    this.sound = sound;
    this.show();
    const [buffer] = await Promise.all([sound.buffer(context), context.resume()]);
    if (request === this.requests) this.start(buffer, place);
  }

  /** Decode sounds, so that a switch to them is immediate. @param {Iterable<Sound>} sounds */
  prepare(sounds) {
    for (const sound of sounds) sound.buffer(contextAt(this.rateHz)).catch(() => {});
  }

  /** Play the present sound, or pause. */
  async toggle() {
    if (this.playing) this.pause();
    else await this.play();
  }

  /** Stop at the present position, or at a given one. */
  pause(place = this.now()) {
    this.requests++;
    this.fadeOut(contexts.get(this.rateHz)?.currentTime);
    this.place = place;
    this.show();
  }

  /** Go to a place, 0 to 1. */
  seek(place) {
    if (this.voice) return this.start(this.voice.buffer, place);
    this.place = place;
    this.show();
  }

  /**
   * Repeat a part of the sounds without end, or play them to their end.
   * @param {boolean} repeats
   * @param {[number, number]} [region] the part, in places from 0 to 1
   */
  repeat(repeats, region = [0, 1]) {
    const now = this.now(); // by the region until now
    this.repeats = repeats;
    this.region = region;
    if (this.voice) this.start(this.voice.buffer, now);
    else this.show();
  }

  /** Position, 0 to 1, now or at a time of the context. */
  now(time = contexts.get(this.rateHz)?.currentTime) {
    if (!this.voice) return this.place;
    const { source, started, offset, buffer } = this.voice;
    const place = (offset + Math.max(0, time - started)) / buffer.duration;
    const [from, to] = this.region;
    return source.loop && place >= to ? from + ((place - from) % (to - from)) : Math.min(place, 1);
  }

  start(buffer, place) {
    const context = contextAt(this.rateHz), { duration } = buffer;
    const [from, to] = this.repeats ? this.region : [0, 1];
    const started = context.currentTime + LEAD_S + 2 * context.baseLatency;
    const begin = place ?? this.now(started);
    const offset = (begin >= from && begin < to ? begin : from) * duration;
    const loop = { loop: this.repeats, loopStart: from * duration, loopEnd: to * duration };
    const source = new AudioBufferSourceNode(context, { buffer, ...loop });
    const gain = new GainNode(context, { gain: 0 });
    gain.gain.setValueAtTime(0, started);
    gain.gain.linearRampToValueAtTime(this.sound.gain, started + FADE_S);
    source.connect(gain).connect(context.destination);
    this.fadeOut(started);
    source.start(started, offset);
    this.voice = { source, gain, level: this.sound.gain, started, offset, buffer };
    source.addEventListener("ended", () => {
      if (this.voice?.source === source) this.pause(0);
    });
    this.follow(source);
  }

  fadeOut(time) {
    if (!this.voice) return;
    const { source, gain, started, level } = this.voice;
    gain.gain.cancelScheduledValues(time); // also the end of a fade in that is not over
    gain.gain.setValueAtTime(time < started + FADE_S ? 0 : level, time);
    gain.gain.linearRampToValueAtTime(0, time + FADE_S);
    source.stop(time + FADE_S);
    this.voice = null;
  }

  follow(source) {
    if (this.voice?.source !== source) return;
    this.show();
    requestAnimationFrame(() => this.follow(source));
  }
}
