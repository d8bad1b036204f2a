// The processor of recorder.js: it posts the samples of the microphone.

registerProcessor("recorder", class extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input.map((samples) => samples.slice()));
    return true;
  }
});
