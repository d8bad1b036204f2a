// A meter of the time that frames take in an audio worklet, which has no performance.now().
//
// Date.now() has a resolution of 1 ms, and the calls of the audio thread may always come at the same
// place between two milliseconds. A mean of differences would then be wrong. The meter therefore waits
// for a random part of a millisecond before a sample. The mean of the differences is then the mean of
// the times, whatever the place. A sample costs 0.5 ms on average, and few frames are sampled.

const EVERY_MS = 160; // of audio, on average, between two samples of a part
const MEMORY_S = 8; // older samples count less
const FEWEST = 8; // samples of a mean
const COARSE_MS = 4; // longest step of the clock; some browsers make it coarser, and nothing is measured

/** Means of the times of parts of the work, by their names. */
export class Meter {
  /** @param {number} frameMs duration of a frame */
  constructor(frameMs) {
    this.frameMs = frameMs;
    this.calls = callsPerMs();
    this.parts = {};
  }

  /** Begin to measure, or not: return a value for `end`. `frames` is the length of the work. */
  begin(frames) {
    if (!this.calls || Math.random() * EVERY_MS >= frames * this.frameMs) return null;
    for (let n = Math.random() * this.calls; n > 0; --n) Date.now();
    return Date.now();
  }

  /** Count the work since `begun` as `frames` frames of a part. */
  end(begun, part, frames) {
    if (begun === null) return;
    const sums = (this.parts[part] ??= { ms: 0, frames: 0, samples: 0 });
    sums.ms += Date.now() - begun;
    sums.frames += frames;
    ++sums.samples;
  }

  /** Return the mean time of a frame of a part in milliseconds, or null before there are enough samples. */
  mean(part) {
    const { ms, frames, samples } = this.parts[part] ?? { samples: 0 };
    return samples < FEWEST ? null : ms / frames;
  }

  /** Let a time pass, so that older samples count less. */
  forget(seconds) {
    const kept = Math.exp(-seconds / MEMORY_S);
    for (const sums of Object.values(this.parts)) for (const name of ["ms", "frames"]) sums[name] *= kept;
  }
}

/** Return the calls of Date.now() in a millisecond, or 0 if the browser makes the clock coarser. */
function callsPerMs() {
  let most = 0, step = Infinity;
  for (let tick = Date.now(), round = 0; round < 6; ++round) {
    let calls = 0;
    while (Date.now() === tick) ++calls;
    const before = tick;
    tick = Date.now();
    if (round === 0) continue; // it began within a millisecond
    step = Math.min(step, tick - before);
    if (step > COARSE_MS) return 0;
    most = Math.max(most, calls);
  }
  return most;
}
