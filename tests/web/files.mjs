// Read and write .chirrup files as the page does: node files.mjs FOLDER JOB, which test_file.py writes.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, job] = process.argv.slice(2);
const { FileReader, writeFile } = await import(pathToFileURL(`${folder}/modules/file.js`));
const answers = JSON.parse(readFileSync(job)).map(({ read, write, header, codes }) => {
  if (write) {
    writeFileSync(write, writeFile(header, codes.map((each) => Int32Array.from(each))));
    return null;
  }
  try {
    const reader = new FileReader(new Uint8Array(readFileSync(read)));
    const found = [...reader.chunks()];
    return {
      header: reader.header,
      codes: Array.from({ length: reader.header.channels }, (_, n) => found.flatMap((chunk) => [...chunk[n]])),
      samples: reader.sampleCount,
      damage: reader.damage,
    };
  } catch (error) {
    return { error: error.message };
  }
});
console.log(JSON.stringify(answers));
