// Run a program over audio, one frame at a time: node frames.mjs CHIRRUP.JS WASM PROGRAM IN CODES OUT.
// It does what driver.c does, and prints the CPU time of a frame in milliseconds.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [script, wasm, file, input, coded, decoded] = process.argv.slice(2);
const { Engine } = await import(pathToFileURL(script));
const engine = new Engine(new WebAssembly.Module(readFileSync(wasm)));
let damaged = "";
try {
  engine.open(new Uint8Array(readFileSync(file)).subarray(0, 1000));
} catch (error) {
  damaged = error.message;
}
if (!damaged.includes("the size in its header")) throw new Error(`a part of a program: "${damaged}"`);
const program = engine.open(new Uint8Array(readFileSync(file)));
const encoder = program.encoder(), decoder = program.decoder();
const bytes = readFileSync(input);
const audio = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const step = program.frameSamples, count = Math.floor(audio.length / step);
const codes = new Int32Array(count * program.codebooks), sound = new Float32Array(count * step);
const before = process.cpuUsage();
for (let n = 0; n < count; ++n) {
  const found = encoder.run(audio.subarray(n * step, (n + 1) * step));
  codes.set(found, n * program.codebooks);
  sound.set(decoder.run(found), n * step);
  if (n === 5) program.decoder(); // another stream, which makes the memory grow
}
const { user, system } = process.cpuUsage(before);
console.log(((user + system) / 1000 / count).toFixed(3));
writeFileSync(coded, codes);
writeFileSync(decoded, sound);
