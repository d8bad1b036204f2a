// Encode and decode a signal as the page does: node coding.mjs FOLDER WASM JOB, a JSON file that
// test_coding.py writes. It prints nothing; the codes and the audio go to the files of the job.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, wasm, file] = process.argv.slice(2);
const job = JSON.parse(readFileSync(file));
const load = (path) => import(pathToFileURL(`${folder}/${path}`));
const { Engine } = await load("chirrup.js"), { Coding } = await load("modules/coding.js");
const { firstCodebooks } = await load("modules/codes.js");
const program = new Engine(new WebAssembly.Module(readFileSync(wasm))).open(new Uint8Array(readFileSync(job.program)));
const coding = new Coding(job.model, program);

const numbers = (path, Numbers) => {
  const bytes = readFileSync(path);
  return new Numbers(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const finished = (steps) => {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
};

for (const { input, codes, given, codebooks, audio, rate, samples } of job.signals) {
  let found = given ? numbers(given, Int32Array) : null;
  if (codes) {
    const all = finished(coding.encode(numbers(input, Float32Array), rate));
    writeFileSync(codes, all);
    found ??= firstCodebooks(all, job.model.codebooks, codebooks);
  }
  writeFileSync(audio, finished(coding.decode(found, codebooks, rate, samples)));
}
