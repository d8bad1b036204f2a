// The engine in WebAssembly, for Node, browsers and audio worklets.
//
//     const engine = new Engine(new WebAssembly.Module(wasm));  // bytes of chirrup.wasm
//     const program = engine.open(bytes);                       // a file model.chirp
//     const encoder = program.encoder(), decoder = program.decoder();
//     const codes = encoder.run(samples);  // Float32Array [frames * samples of a frame]
//     const sound = decoder.run(codes);    // Int32Array [codebooks][frames]
//
// `run` allocates nothing. Its result is a view, which is valid until the next call.

const PAGE = 65536, ALIGNMENT = 64;
const PART_HEADER = 96, PART_BYTES = 32, OPERATIONS = 0, INPUT_SIZE = 24, OUTPUT_SIZE = 28; // docs/reference/program.md
const STRUCT_BYTES = 256; // more than a chirrup_program has
const ENCODER = 0, DECODER = 1;

/** An instance of chirrup.wasm with memory of its own. */
export class Engine {
  /** @param {WebAssembly.Module} module compiled chirrup.wasm */
  constructor(module) {
    this.exports = new WebAssembly.Instance(module, {}).exports;
    this.end = this.exports.__heap_base.value;
  }

  /** Open a program. @param {Uint8Array} file @throws {Error} the file is not valid */
  open(file) {
    return new Program(this, file);
  }

  /** Reserve zeros, aligned to 64 bytes, and return their address. Nothing is ever freed. */
  reserve(bytes) {
    const start = align(this.end);
    this.end = start + bytes;
    this.grow(this.end);
    new Uint8Array(this.exports.memory.buffer, start, bytes).fill(0);
    return start;
  }

  /** Make the memory at least `bytes` long. */
  grow(bytes) {
    const missing = bytes - this.exports.memory.buffer.byteLength;
    if (missing > 0) this.exports.memory.grow(Math.ceil(missing / PAGE));
  }

  /** Throw an Error if `code` is an error code. */
  check(code) {
    if (!code) return;
    let at = this.exports.chirrup_error(code), text = "";
    const bytes = new Uint8Array(this.exports.memory.buffer);
    for (; bytes[at]; ++at) text += String.fromCharCode(bytes[at]); // a worklet has no TextDecoder
    throw new Error(text);
  }
}

/** An opened program. */
export class Program {
  constructor(engine, file) {
    if (!(file instanceof Uint8Array)) throw new TypeError("give the program file as a Uint8Array");
    this.engine = engine;
    // The file goes behind the opened program, where its memory is used again afterwards.
    const { chirrup_memory_size, chirrup_open, memory } = engine.exports;
    const before = engine.end;
    this.handle = engine.reserve(STRUCT_BYTES);
    const start = align(engine.end);
    engine.grow(start + file.length);
    new Uint8Array(memory.buffer).set(file, start);
    const size = chirrup_memory_size(start, file.length);
    const copy = align(start + size);
    engine.grow(copy + file.length);
    new Uint8Array(memory.buffer).copyWithin(copy, start, start + file.length);
    const code = chirrup_open(this.handle, copy, file.length, start);
    engine.end = code ? before : start + size;
    engine.check(code);
    const header = new DataView(file.buffer, file.byteOffset);
    const number = (part, at) => header.getUint32(PART_HEADER + PART_BYTES * part + at, true);
    this.sizes = [ENCODER, DECODER].map((part) => ({
      input: number(part, INPUT_SIZE),
      output: number(part, OUTPUT_SIZE),
      operations: number(part, OPERATIONS),
      state: engine.exports.chirrup_state_size(this.handle, part),
    }));
    const scratch = [ENCODER, DECODER].map((part) => engine.exports.chirrup_scratch_size(this.handle, part));
    this.scratch = engine.reserve(Math.max(...scratch));
    this.frameSamples = this.sizes[ENCODER].input;
    this.codebooks = this.sizes[ENCODER].output;
  }

  /**
   * Return a new stream of the encoder, for calls of at most `frames` frames.
   * @throws {Error} the program only decodes
   */
  encoder(frames = 1) {
    if (!this.sizes[ENCODER].operations) throw new Error("the program has no encoder, it only decodes");
    return new Stream(this, ENCODER, Float32Array, Int32Array, frames);
  }

  /** Return a new stream of the decoder, for calls of at most `frames` frames. */
  decoder(frames = 1) {
    return new Stream(this, DECODER, Int32Array, Float32Array, frames);
  }
}

/** The state of one stream. */
class Stream {
  constructor(program, part, Input, Output, frames) {
    this.program = program;
    this.part = part;
    this.Input = Input;
    this.Output = Output;
    this.frames = frames;
    this.sizes = program.sizes[part];
    this.state = program.engine.reserve(this.sizes.state);
    this.inputAt = program.engine.reserve(4 * frames * this.sizes.input);
    this.outputAt = program.engine.reserve(4 * frames * this.sizes.output);
    this.look();
  }

  /** Make the views of the memory, also again after it has grown. */
  look() {
    const { buffer } = this.program.engine.exports.memory;
    this.input = new this.Input(buffer, this.inputAt, this.frames * this.sizes.input);
    this.output = new this.Output(buffer, this.outputAt, this.frames * this.sizes.output);
  }

  /**
   * Run the next frames.
   * @param {Float32Array|Int32Array} input samples of an encoder, or codes [codebooks][frames] of a
   *   decoder; a code that was not received is -1
   * @returns {Int32Array|Float32Array} codes [codebooks][frames], or samples
   */
  run(input) {
    const count = input.length / this.sizes.input, { engine } = this.program;
    if (!Number.isInteger(count) || count < 1 || count > this.frames)
      throw new RangeError(
        `the input has ${input.length} numbers; give 1 to ${this.frames} frames of ${this.sizes.input}`,
      );
    if (this.input.buffer !== engine.exports.memory.buffer) this.look();
    this.input.set(input);
    engine.check(
      engine.exports.chirrup_run(
        this.program.handle, this.part, this.inputAt, this.outputAt, count, this.state, this.program.scratch,
      ),
    );
    return count === this.frames ? this.output : this.output.subarray(0, count * this.sizes.output);
  }

  /** Begin a new stream. */
  reset() {
    const { buffer } = this.program.engine.exports.memory;
    new Uint8Array(buffer, this.state, this.sizes.state).fill(0);
  }
}

function align(address) {
  return Math.ceil(address / ALIGNMENT) * ALIGNMENT;
}
