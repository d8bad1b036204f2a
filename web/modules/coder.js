// Encoding and decoding of whole signals in a worker.

/**
 * Progress of a task: what it does, and the share that is done.
 * @typedef {(stage: "load" | "encode" | "decode", share: number) => void} Progress
 * @typedef {import("./models.js").Model} Model
 */

/** A worker that codes one signal at a time; further tasks wait. */
export class Coder {
  constructor() {
    this.waiting = new Map();
    this.count = 0;
    this.worker = new Worker(new URL("./coder-worker.js", import.meta.url), { type: "module" });
    this.worker.addEventListener("message", ({ data }) => this.receive(data));
    this.worker.addEventListener("error", () => this.fail(new Error("The codec could not be started. Load the page again.")));
  }

  /** Fetch and open a model before it is used. @param {Model} model @param {{progress?: Progress}} [options] */
  open(model, options) {
    return this.ask({ task: "open", model }, options);
  }

  /**
   * Encode channels with all codebooks of a model; the codes of lower bitrates are their first ones.
   * @param {Model} model
   * @param {Float32Array[]} channels
   * @param {number} rateHz
   * @param {{progress?: Progress, signal?: AbortSignal}} [options]
   * @returns {Promise<{results: Int32Array[], seconds: number}>} codes [frames][codebooks] of each
   *   channel, and the time that coding took
   */
  encode(model, channels, rateHz, options) {
    return this.ask({ task: "encode", model, channels, rateHz }, options);
  }

  /**
   * Decode channels, without the delay of the model.
   * @param {Model} model
   * @param {Int32Array[]} streams codes [frames][codebooks] of each channel; -1 is absent
   * @param {number} codebooks
   * @param {number} rateHz sample rate of the result
   * @param {number | null} samples length of the result; null is all there are
   * @param {{progress?: Progress, signal?: AbortSignal}} [options]
   * @returns {Promise<{results: Float32Array[], seconds: number}>}
   */
  decode(model, streams, codebooks, rateHz, samples, options) {
    return this.ask({ task: "decode", model, streams, codebooks, rateHz, samples }, options);
  }

  /**
   * Encode channels with the browser's Opus and decode them.
   * @param {Float32Array[]} channels
   * @param {number} rateHz
   * @param {number} bitrateBps
   * @param {{progress?: Progress, signal?: AbortSignal}} [options]
   * @returns {Promise<{results: Float32Array[], bytes: number, seconds: number}>}
   */
  opus(channels, rateHz, bitrateBps, options) {
    return this.ask({ task: "opus", channels, rateHz, bitrateBps }, options);
  }

  /** End the worker. Tasks that wait fail. */
  close() {
    this.worker.terminate();
    this.fail(new DOMException("The task was cancelled.", "AbortError"));
  }

  ask(task, { progress = () => {}, signal } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const id = this.count++;
      const cancel = () => {
        this.worker.postMessage({ task: "cancel", id });
        this.settle(id)?.reject(signal.reason);
      };
      signal?.addEventListener("abort", cancel);
      const release = () => signal?.removeEventListener("abort", cancel);
      this.waiting.set(id, { resolve, reject, progress, release });
      this.worker.postMessage({ ...task, id });
    });
  }

  receive({ id, stage, share, error, ...found }) {
    if (stage) this.waiting.get(id)?.progress(stage, share);
    else if (error) this.settle(id)?.reject(new Error(error));
    else this.settle(id)?.resolve(found);
  }

  /** Take a task from those that wait. */
  settle(id) {
    const task = this.waiting.get(id);
    this.waiting.delete(id);
    task?.release();
    return task;
  }

  fail(error) {
    for (const id of [...this.waiting.keys()]) this.settle(id).reject(error);
  }
}
