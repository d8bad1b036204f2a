// Recording from a microphone.

import { openMicrophone } from "./sources.js";

/** A recording in progress. */
export class Recorder {
  /**
   * Begin to record. Browsers ask the user first.
   * @param {{progress: (seconds: number) => void, ended: () => void}} report receives the duration so
   *   far, and is called when the microphone is disconnected
   * @returns {Promise<Recorder>}
   * @throws {Error} there is no microphone, or the user refuses
   */
  static async start(report) {
    const context = new AudioContext();
    try {
      await context.audioWorklet?.addModule(new URL("./recorder-worklet.js", import.meta.url));
      return new Recorder(await openMicrophone(context, report.ended), context, report);
    } catch (error) {
      context.close();
      throw error;
    }
  }

  constructor(microphone, context, { progress }) {
    this.microphone = microphone;
    this.context = context;
    this.blocks = [];
    this.samples = 0;
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    this.port = node.port;
    this.port.onmessage = ({ data }) => {
      this.blocks.push(data);
      this.samples += data[0].length;
      progress(this.samples / context.sampleRate);
    };
    microphone.node.connect(node);
  }

  /** End the recording. @returns {{channels: Float32Array[], rateHz: number} | null} null without samples */
  stop() {
    this.port.onmessage = null; // messages may still come
    this.microphone.stop();
    const rateHz = this.context.sampleRate;
    this.context.close();
    if (!this.samples) return null;
    const channels = Array.from({ length: this.blocks[0].length }, () => new Float32Array(this.samples));
    let place = 0;
    for (const block of this.blocks) {
      channels.forEach((samples, n) => samples.set(block[Math.min(n, block.length - 1)], place));
      place += block[0].length;
    }
    return { channels: mono(channels), rateHz };
  }
}

/** Return one channel if both are the same, as those of most microphones. */
function mono(channels) {
  const [first, ...others] = channels;
  return others.every((other) => other.every((value, n) => value === first[n])) ? [first] : channels;
}
