// The main thread's end of worklet.js.

import { engineModule, programBytes } from "./models.js";

/**
 * Make the node of a model. worklet.js describes `options` and the messages.
 * @param {BaseAudioContext} context
 * @param {import("./models.js").Model} model
 * @param {{loop?: boolean, encodes?: boolean, depth?: object, settings?: object}} [options]
 * @param {{progress?: (share: number) => void, onReport?: (report: object) => void,
 *   onPacket?: (packet: {payload: Uint8Array, timestamp: number, starts: boolean}) => void,
 *   onError?: (text: string) => void}} [calls]
 * @returns {Promise<LiveNode>}
 * @throws {Error} the model or the worklet cannot be loaded
 */
export async function openLive(context, model, options = {}, calls = {}) {
  if (!context.audioWorklet)
    throw new Error("This browser allows audio processing only on https:// and localhost. Open the page there.");
  const [module, program] = await Promise.all([
    engineModule(),
    programBytes(model, calls.progress),
    context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url).href).catch(() => {
      throw new Error("The audio worklet cannot be loaded. Check the connection and load the page again.");
    }),
  ]);
  const { loop = false, encodes = true, depth, settings } = options;
  const node = new AudioWorkletNode(context, "chirrup-live", {
    numberOfInputs: 1,
    numberOfOutputs: 1,
    outputChannelCount: [1],
    channelCount: 1,
    channelCountMode: "explicit",
    processorOptions: { module, program, model, loop, encodes, depth, settings },
  });
  node.port.onmessage = ({ data }) => {
    if (data.report) calls.onReport?.(data.report);
    if (data.packet) calls.onPacket?.(data.packet);
    if (data.error) calls.onError?.(data.error);
  };
  node.onprocessorerror = () => calls.onError?.("The audio thread has failed. Start again.");
  return new LiveNode(node);
}

/** A node that encodes its input and plays decoded packets; connect `node` like any other. */
class LiveNode {
  constructor(node) {
    this.node = node;
  }

  /** Change settings, such as {codebooks: 6}. */
  set(settings) {
    this.node.port.postMessage({ settings });
  }

  /** Give a packet to the decoder. */
  push(sequence, timestamp, payload, source = 0) {
    this.node.port.postMessage({ packet: { sequence, timestamp, payload, source } });
  }

  /** End the node. */
  stop() {
    this.node.port.postMessage({ stop: true });
    this.node.disconnect();
  }
}
