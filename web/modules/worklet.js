// The AudioWorkletProcessor "chirrup-live": the encoder and the decoder of a model in the audio thread.
// It resamples between the rates of the context and the model, so the context may have any rate.
// `openLive` of live.js makes its node.
//
// processorOptions:
//     module     the compiled chirrup.wasm
//     program    the bytes of model.chirp, Uint8Array
//     model      the model's values, as models.json has them
//     loop       true: the packets go through a simulated network to the decoder of this processor;
//                false: they are posted, and the decoder takes packets that are posted to it
//     encodes    false: this processor only decodes packets that are posted to it
//     depth      depth of the jitter buffer, see jitter.js: {least_s, most_s, start_s}
//     settings   first values of the settings below
//
// Messages to the processor:
//     {settings: {...}}  new values of any of these, which act from the next packet on
//         codebooks   of a packet: the bitrate is model.bitrates_bps[codebooks - 1]
//         frames      of a packet, 1 to 4; see packetFrames of packets.js
//         redundancy  first codebooks of the previous packet that each packet repeats, 0 to 16
//         gain        factor of the input; samples beyond full scale are limited to it
//         muted       true: the encoder's input is silence
//         bypass      true: the output is the input, as late as the decoded audio is
//         network     conditions of the simulated network, see network.js
//     {packet: {sequence, timestamp, payload, source}}  a packet for the decoder, the values as in RTP
//     {stop: true}  end the processor
//
// Messages from the processor:
//     {packet: {payload, timestamp, starts}}  a new packet, if `loop` is false. The timestamp counts
//         samples of the decoded audio, from 0 on. `starts` is true for the first packet.
//     {report: {...}}  four times a second
//         encode_ms, decode_ms  time of the audio thread for a frame, measured by meter.js, with the time
//                        of other threads that interrupt it; null in the first seconds
//         core_percent   the sum of both, relative to the duration of a frame; null likewise
//         bits_per_s     bits of the packets of the last second, with their headers
//         delay_ms       delay from input to output, with the model's own delay: exact in a loop,
//                        otherwise null, because the clock of the other end is unknown
//         framing_ms, model_ms  parts of it: duration of a packet, delay of the model
//         buffer_ms, target_ms  depth of the jitter buffer, and its target
//         waiting        packets in the jitter buffer;  underway  packets in the simulated network
//         sent, dropped  packets sent, and those that the simulated network lost
//         counts         counts of the jitter buffer, see live/jitter.py, and `malformed`
//         input_peak, output_peak  largest absolute sample since the last report
//         input_rms      root mean square of the input since the last report
//     {error: "..."}  the processor has failed and ended

import { Engine } from "../chirrup.js";
import { byFrame, firstCodebooks } from "./codes.js";
import { Conditioner } from "./conditioning.js";
import { Meter } from "./meter.js";
import { Network } from "./network.js";
import { packPacket, packetFrames } from "./packets.js";
import { Playout } from "./playout.js";
import { StreamResampler } from "./stream-resampler.js";

const MOST_FRAMES = 4, MOST_REDUNDANT = 16; // of a packet
const REPORT_S = 0.25;
const BYPASS_S = 2; // longest delay of the bypass

class Live extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.port.onmessage = ({ data }) => this.attempt(() => this.told(data));
    this.running = true;
    this.attempt(() => this.begin(processorOptions));
  }

  begin({ module, program, model, loop, encodes = true, depth, settings }) {
    const opened = new Engine(module).open(program);
    this.model = model;
    this.loop = loop;
    this.settings = {
      codebooks: model.codebooks, frames: packetFrames(model), redundancy: 0, gain: 1, muted: false,
      bypass: false, network: {},
    };
    this.encoder = encodes ? opened.encoder(MOST_FRAMES) : null;
    this.frameInput = opened.frameSamples;
    this.conditioner = new Conditioner(this.frameInput, model.input_rate_hz);
    this.playout = new Playout(model, opened, depth);
    this.network = new Network(Math.floor(Math.random() * 2 ** 30));
    this.down = new StreamResampler(sampleRate, model.input_rate_hz);
    this.up = new StreamResampler(model.sample_rate_hz, sampleRate);
    this.input = new Float32Array(MOST_FRAMES * this.frameInput);
    this.filled = 0; // samples of `input`
    this.before = null; // codes of the last packet, [frames][codebooks], all codebooks
    this.timestamp = 0; // of the next packet
    this.quanta = 0; // samples of the context that were processed
    this.queue = new Float32Array(0); // output samples that are ready
    this.queued = 0;
    this.pulled = 0; // samples of decoded audio that went into the queue
    this.silence = new Float32Array(32);
    this.samples = new Float32Array(0); // the input with the gain
    this.delay = null; // from input to output in seconds
    this.ring = new Float32Array(Math.ceil(BYPASS_S * sampleRate)); // the last input, for the bypass
    this.share = 0; // of the bypass in the output
    this.bypassDelay = 0; // in samples
    this.meter = new Meter((1000 * model.frame_samples) / model.sample_rate_hz);
    this.sizes = []; // [time, bytes] of the packets of the last second
    this.starts = true;
    this.peaks = [0, 0];
    this.energy = 0; // sum of the squares of the input
    this.nextReport = REPORT_S;
    this.set(settings ?? {});
  }

  /** Call `run`; an exception ends the processor, with a message. */
  attempt(run) {
    try {
      run();
    } catch (error) {
      this.running = false;
      this.port.postMessage({ error: error.message });
    }
  }

  told({ settings, packet, stop }) {
    if (stop) this.running = false;
    if (!this.running) return;
    if (settings) this.set(settings);
    if (packet)
      this.playout.buffer.push(packet.sequence, packet.timestamp, packet.payload, this.time(), packet.source);
  }

  set(settings) {
    if (settings.bypass && !this.settings.bypass) {
      const most = this.ring.length - 2 * 128;
      this.bypassDelay = Math.min(most, Math.round((this.delay ?? 0) * sampleRate));
    }
    Object.assign(this.settings, settings);
    for (const [name, least, most] of [["codebooks", 1, this.model.codebooks], ["frames", 1, MOST_FRAMES]])
      this.settings[name] = Math.min(most, Math.max(least, this.settings[name]));
    Object.assign(this.network.conditions, this.settings.network);
  }

  /** Time in seconds since the first sample. */
  time() {
    return this.quanta / sampleRate;
  }

  process([[input]], [[output]]) {
    if (this.running) this.attempt(() => this.quantum(input, output));
    return this.running;
  }

  quantum(input, output) {
    const samples = this.amplified(input, output.length);
    this.keep(samples);
    if (this.encoder) this.encode(this.down.push(samples));
    for (const { time, label, packet } of this.network.receive(this.time()))
      this.playout.buffer.push(label.sequence, label.timestamp, packet, time);
    this.play(output);
    this.mixBypass(output);
    this.quanta += output.length;
    this.notePeak(0, samples);
    for (const sample of samples) this.energy += sample * sample;
    this.notePeak(1, output);
    if (this.time() >= this.nextReport) this.report();
  }

  /** Return the input with the gain. */
  amplified(input, length) {
    if (this.samples.length !== length) this.samples = new Float32Array(length);
    const { samples } = this, { gain, muted } = this.settings;
    if (!input || muted) return samples.fill(0);
    for (let n = 0; n < length; ++n) {
      const sample = input[n] * gain;
      samples[n] = Number.isFinite(sample) ? sample : 0; // the encoder would keep it in its state for ever
    }
    return samples;
  }

  encode(samples) {
    const needed = this.settings.frames * this.frameInput;
    for (let at = 0; at < samples.length; ) {
      const part = samples.subarray(at, at + Math.max(0, needed - this.filled));
      this.input.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
      if (this.filled >= needed) this.send();
    }
  }

  /** Encode the frames that are filled, and send their packet. */
  send() {
    const frames = Math.floor(this.filled / this.frameInput), { codebooks: books, redundancy } = this.settings;
    const begun = this.meter.begin(frames), { codebooks } = this.model;
    const samples = this.conditioner.run(this.input.subarray(0, frames * this.frameInput));
    const all = byFrame(this.encoder.run(samples), codebooks);
    this.meter.end(begun, "encode", frames);
    this.input.copyWithin(0, frames * this.frameInput, this.filled);
    this.filled -= frames * this.frameInput;
    const again = Math.min(redundancy, books, MOST_REDUNDANT);
    const first = (codes, count) => ({ codes: firstCodebooks(codes, codebooks, count), codebooks: count });
    const repeated = this.before && again ? first(this.before, again) : null;
    const payload = packPacket(first(all, books), repeated, this.model.bits_per_code);
    this.before = all;
    const { timestamp } = this;
    this.timestamp = (timestamp + frames * this.model.frame_samples) % 2 ** 32;
    this.sizes.push([this.time(), payload.length]);
    if (this.loop) this.network.send(payload, this.time(), { sequence: this.network.sent & 0xffff, timestamp });
    else this.port.postMessage({ packet: { payload, timestamp, starts: this.starts } });
    this.starts = false;
  }

  /** Fill the output from the queue, and the queue from the playout. */
  play(output) {
    while (this.queued < output.length) {
      const begun = this.meter.begin(this.playout.frames);
      const tick = this.playout.pull(this.pulled / this.model.sample_rate_hz);
      if (tick) this.meter.end(begun, "decode", tick.frames);
      if (tick && tick.timestamp !== null && this.loop)
        this.delay = (this.pulled - tick.timestamp + this.model.delay_samples) / this.model.sample_rate_hz;
      const audio = tick ? tick.audio : this.silence;
      this.pulled += audio.length;
      const ready = this.up.push(audio);
      if (this.queued + ready.length > this.queue.length) {
        const longer = new Float32Array(2 * (this.queued + ready.length));
        longer.set(this.queue.subarray(0, this.queued));
        this.queue = longer;
      }
      this.queue.set(ready, this.queued);
      this.queued += ready.length;
    }
    output.set(this.queue.subarray(0, output.length));
    this.queue.copyWithin(0, output.length, this.queued);
    this.queued -= output.length;
  }

  keep(samples) {
    for (let n = 0; n < samples.length; ++n) this.ring[(this.quanta + n) % this.ring.length] = samples[n];
  }

  /** Fade between the decoded audio and the input within one quantum. */
  mixBypass(output) {
    const wanted = this.settings.bypass ? 1 : 0, { ring, share } = this;
    if (!wanted && !share) return;
    const first = this.quanta - this.bypassDelay + ring.length;
    for (let n = 0; n < output.length; ++n) {
      const part = share + ((wanted - share) * (n + 1)) / output.length;
      output[n] += part * (ring[(first + n) % ring.length] - output[n]);
    }
    this.share = wanted;
  }

  notePeak(at, samples) {
    for (const sample of samples) this.peaks[at] = Math.max(this.peaks[at], Math.abs(sample));
  }

  report() {
    const { model, playout, network } = this, { buffer } = playout, now = this.time();
    while (this.sizes.length && this.sizes[0][0] < now - 1) this.sizes.shift();
    const { frameMs } = this.meter, encode = this.encoder ? this.meter.mean("encode") : 0, decode = this.meter.mean("decode");
    this.meter.forget(REPORT_S);
    this.port.postMessage({
      report: {
        encode_ms: encode,
        decode_ms: decode,
        core_percent: encode === null || decode === null ? null : (100 * (encode + decode)) / frameMs,
        bits_per_s: this.sizes.reduce((sum, [, bytes]) => sum + 8 * bytes, 0),
        delay_ms: this.delay === null ? null : 1000 * this.delay,
        framing_ms: this.settings.frames * frameMs,
        model_ms: (1000 * model.delay_samples) / model.sample_rate_hz,
        buffer_ms: buffer.playing ? 1000 * buffer.depth : null,
        target_ms: 1000 * buffer.delays.target,
        waiting: buffer.waiting.length,
        underway: network.underWay.length,
        sent: network.sent,
        dropped: network.lost,
        counts: { ...buffer.counts, malformed: playout.malformed },
        input_peak: this.peaks[0],
        output_peak: this.peaks[1],
        input_rms: Math.sqrt(this.energy / (REPORT_S * sampleRate)),
      },
    });
    this.peaks = [0, 0];
    this.energy = 0;
    this.nextReport += REPORT_S;
  }
}

registerProcessor("chirrup-live", Live);
