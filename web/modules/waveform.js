// A waveform on a canvas.

/**
 * Draw the range of the samples of each column.
 * @param {HTMLCanvasElement} canvas drawn in its CSS `color`
 * @param {Float32Array[]} channels all channels share the drawing
 * @param {number} [gain] factor of the samples
 */
export function drawWaveform(canvas, channels, gain = 1) {
  const { width, height } = fitted(canvas), context = canvas.getContext("2d"), count = channels[0].length;
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(canvas).color;
  for (let column = 0; column < width; ++column) {
    const from = Math.floor((column * count) / width), to = Math.max(from + 1, Math.floor(((column + 1) * count) / width));
    let low = 0, high = 0;
    for (const samples of channels)
      for (let n = from; n < to; ++n) {
        if (samples[n] < low) low = samples[n];
        if (samples[n] > high) high = samples[n];
      }
    const top = Math.max(0, ((1 - gain * high) * height) / 2), bottom = Math.min(height, ((1 - gain * low) * height) / 2);
    context.fillRect(column, Math.min(top, height - 1), 1, Math.max(1, bottom - top));
  }
}

/** Give a canvas the resolution of the screen, and return its size in pixels. */
export function fitted(canvas) {
  const box = canvas.getBoundingClientRect(), scale = globalThis.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(box.width * scale));
  canvas.height = Math.max(1, Math.round(box.height * scale));
  return canvas;
}
