// An AudioWorkletProcessor that codes and decodes its input, for an AudioContext at the sample rate of
// the model. `processorOptions` has `module`, the compiled chirrup.wasm, and `program`, the bytes of
// model.chirp. The output is late by one frame and by the delay of the model.
import { Engine } from "./chirrup.js";

class Codec extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    const program = new Engine(processorOptions.module).open(processorOptions.program);
    this.encoder = program.encoder();
    this.decoder = program.decoder();
    this.frame = new Float32Array(program.frameSamples);
    this.decoded = new Float32Array(program.frameSamples);
    this.filled = 0;
  }

  process([[input]], [[output]]) {
    for (let i = 0; i < output.length; ++i) {
      output[i] = this.decoded[this.filled];
      this.frame[this.filled++] = input ? input[i] : 0;
      if (this.filled < this.frame.length) continue;
      this.decoded = this.decoder.run(this.encoder.run(this.frame)); // a packet has these codes
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("chirrup", Codec);
