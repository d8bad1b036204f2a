// Audio files: decoding by the browser at the file's own sample rate, and writing of WAV.

const OTHER_RATE_HZ = 48000; // if the rate of a file is not found
const RATES_HZ = [8000, 96000]; // which every browser supports
const MOST_BYTES = 500e6, MOST_CHANNELS = 16;

/** Read a file. @param {Blob} file @param {string} name @throws {Error} it is too large */
export async function readBytes(file, name) {
  if (file.size > MOST_BYTES) throw new Error(`${name} has ${Math.round(file.size / 1e6)} MB. Give a file of at most ${MOST_BYTES / 1e6} MB.`);
  return new Uint8Array(await file.arrayBuffer());
}

/**
 * Decode an audio file.
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<{channels: Float32Array[], rateHz: number, notes: string[]}>} notes state what decoding changed
 * @throws {Error} the browser cannot decode the file, or it has no samples or one that is not finite
 */
export async function readSound(file, name) {
  const bytes = await readBytes(file, name);
  if (!bytes.length) throw new Error(`${name} is empty.`);
  const found = sampleRateOf(bytes), rateHz = found >= RATES_HZ[0] && found <= RATES_HZ[1] ? found : OTHER_RATE_HZ;
  const empty = isEmptyWav(bytes); // decoding detaches the bytes
  const buffer = await new OfflineAudioContext(1, 1, rateHz).decodeAudioData(bytes.buffer).catch(() => null);
  if (buffer?.length === 0 || (!buffer && empty)) throw new Error(`${name} has no samples.`);
  if (!buffer)
    throw new Error(`${name} is not a .chirrup file, and this browser cannot decode it as audio. Give a WAV, FLAC, MP3, Ogg or .chirrup file.`);
  if (buffer.numberOfChannels > MOST_CHANNELS)
    throw new Error(`${name} has ${buffer.numberOfChannels} channels. Give a file of at most ${MOST_CHANNELS}.`);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, n) => buffer.getChannelData(n));
  const bad = Math.min(...channels.map(firstNotFinite));
  if (bad < Infinity) throw new Error(`${name} has a sample that is not a finite number at ${(bad / rateHz).toFixed(3)} s. Repair it first.`);
  return { channels, rateHz, notes: rateNotes(found || rateHz, rateHz) };
}

/** State that a sound was resampled. @param {number} fileHz @param {number} rateHz @returns {string[]} */
export const rateNotes = (fileHz, rateHz) =>
  fileHz === rateHz ? [] : [`The page resampled it from ${fileHz / 1000} kHz to ${rateHz / 1000} kHz.`];

function firstNotFinite(samples) {
  for (let n = 0; n < samples.length; ++n) if (!Number.isFinite(samples[n])) return n;
  return Infinity;
}

/** Return the sample rate in the header of a WAV, FLAC, Ogg or MP3 file, or 0. @param {Uint8Array} bytes */
export function sampleRateOf(bytes) {
  const text = (start, count) => textAt(bytes, start, count);
  if (isWav(bytes)) {
    const place = wavChunk(bytes, "fmt ");
    return place ? numberAt(bytes, place + 12) : 0;
  }
  if (text(0, 4) === "fLaC") return (bytes[18] << 12) | (bytes[19] << 4) | (bytes[20] >> 4);
  if (text(0, 4) === "OggS") {
    const start = 27 + bytes[26];
    return text(start, 8) === "OpusHead" ? 48000 : text(start + 1, 6) === "vorbis" ? numberAt(bytes, start + 12) : 0;
  }
  return mp3Rate(bytes, text);
}

const textAt = (bytes, start, count) => String.fromCharCode(...bytes.subarray(start, start + count));
const numberAt = (bytes, start) =>
  bytes.length < start + 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(start, true);
const isWav = (bytes) => textAt(bytes, 0, 4) === "RIFF" && textAt(bytes, 8, 4) === "WAVE";

/** Return the place of a chunk of a WAV file, or 0. */
function wavChunk(bytes, name) {
  for (let place = 12, size; place + 8 <= bytes.length; place += 8 + size + (size % 2)) {
    if (textAt(bytes, place, 4) === name) return place;
    size = numberAt(bytes, place + 4);
  }
  return 0;
}

/** Return whether a file is a WAV file without samples, which browsers refuse to decode. */
function isEmptyWav(bytes) {
  const place = isWav(bytes) && wavChunk(bytes, "data");
  return place > 0 && numberAt(bytes, place + 4) === 0;
}

function mp3Rate(bytes, text) {
  const tagged = text(0, 3) === "ID3";
  const size = (bytes[6] << 21) | (bytes[7] << 14) | (bytes[8] << 7) | bytes[9];
  const start = tagged ? 10 + size : 0;
  if (bytes[start] !== 0xff || (bytes[start + 1] & 0xe6) !== 0xe2) return 0; // layer III
  const divisor = { 3: 1, 2: 2, 0: 4 }[(bytes[start + 1] >> 3) & 3];
  const rate = [44100, 48000, 32000][(bytes[start + 2] >> 2) & 3];
  return divisor && rate ? rate / divisor : 0;
}

/** Return a WAV file of 16 bits. @param {Float32Array[]} channels @param {number} rateHz @returns {Uint8Array} */
export function writeWav(channels, rateHz) {
  const frame = 2 * channels.length, size = frame * channels[0].length, view = new DataView(new ArrayBuffer(44 + size));
  const text = (start, letters) => [...letters].forEach((letter, n) => view.setUint8(start + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, channels.length, true);
  view.setUint32(24, rateHz, true);
  view.setUint32(28, rateHz * frame, true);
  view.setUint16(32, frame, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, size, true);
  channels.forEach((samples, n) => {
    for (let i = 0, at = 44 + 2 * n; i < samples.length; ++i, at += frame)
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(32768 * samples[i]))), true);
  });
  return new Uint8Array(view.buffer);
}
