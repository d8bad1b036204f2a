// A spectrogram on a canvas, as `chirrup.evaluate.report.spectrogram` draws it.

const WINDOW_S = 0.032, RANGE_DB = 80, BANDS = 128;
const ANCHORS = [
  [0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100], [251, 135, 97],
  [254, 194, 135], [252, 253, 191],
]; // colours from silent to loud

/**
 * Compute the power of bands of equal width over time.
 * @param {Float32Array[]} channels
 * @param {number} rateHz
 * @param {number} columns
 * @returns {Float32Array} dB [columns][BANDS], the lowest band first
 */
export function spectrum(channels, rateHz, columns) {
  const size = 2 ** Math.max(8, Math.round(Math.log2(WINDOW_S * rateHz))), half = size / 2;
  const window = Float64Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
  const total = window.reduce((sum, value) => sum + value, 0), length = channels[0].length;
  const levels = new Float32Array(columns * BANDS), real = new Float64Array(size), imaginary = new Float64Array(size);
  const transform = fourier(size);
  for (let column = 0; column < columns; ++column) {
    const start = Math.round(((column + 0.5) * length) / columns) - half, power = new Float64Array(BANDS);
    for (const samples of channels) {
      for (let n = 0; n < size; ++n) real[n] = window[n] * (samples[start + n] ?? 0);
      imaginary.fill(0);
      transform(real, imaginary);
      for (let n = 0; n < half; ++n) power[Math.floor((n * BANDS) / half)] += real[n] ** 2 + imaginary[n] ** 2;
    }
    const scale = BANDS / half / channels.length / total ** 2;
    for (let band = 0; band < BANDS; ++band) levels[column * BANDS + band] = 10 * Math.log10(power[band] * scale + 1e-20);
  }
  return levels;
}

/**
 * Draw levels. Spectrograms with the same top have the same scale.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} levels of `spectrum`
 * @param {number} topDb level of the brightest colour
 */
export function drawSpectrogram(canvas, levels, topDb) {
  const columns = levels.length / BANDS;
  canvas.width = columns;
  canvas.height = BANDS;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, BANDS);
  for (let column = 0; column < columns; ++column)
    for (let band = 0; band < BANDS; ++band) {
      const colour = shade((levels[column * BANDS + band] - topDb) / RANGE_DB + 1);
      image.data.set([...colour, 255], 4 * ((BANDS - 1 - band) * columns + column));
    }
  context.putImageData(image, 0, 0);
}

function shade(share) {
  const place = Math.max(0, Math.min(1, share)) * (ANCHORS.length - 1), low = Math.min(Math.floor(place), ANCHORS.length - 2);
  return ANCHORS[low].map((value, n) => value + (place - low) * (ANCHORS[low + 1][n] - value));
}

/** Return a Fourier transform in place of `size` values, a power of two. */
function fourier(size) {
  const bits = Math.log2(size), cosines = new Float64Array(size / 2), sines = new Float64Array(size / 2);
  for (let n = 0; n < size / 2; ++n) {
    cosines[n] = Math.cos((2 * Math.PI * n) / size);
    sines[n] = -Math.sin((2 * Math.PI * n) / size);
  }
  const reversed = Uint32Array.from({ length: size }, (_, n) => {
    let value = 0;
    for (let bit = 0; bit < bits; ++bit) value |= ((n >> bit) & 1) << (bits - 1 - bit);
    return value;
  });
  return (real, imaginary) => {
    reversed.forEach((other, n) => {
      if (other > n) {
        [real[n], real[other]] = [real[other], real[n]];
        [imaginary[n], imaginary[other]] = [imaginary[other], imaginary[n]];
      }
    });
    for (let half = 1; half < size; half *= 2)
      for (let start = 0; start < size; start += 2 * half)
        for (let k = 0, turn = 0; k < half; ++k, turn += size / 2 / half) {
          const low = start + k, high = low + half;
          const r = real[high] * cosines[turn] - imaginary[high] * sines[turn];
          const i = real[high] * sines[turn] + imaginary[high] * cosines[turn];
          real[high] = real[low] - r;
          imaginary[high] = imaginary[low] - i;
          real[low] += r;
          imaginary[low] += i;
        }
  };
}
