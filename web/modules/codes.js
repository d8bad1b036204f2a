// Arrays of codes: the order of the engine, and the codes of lower bitrates.

/** Return codes [codebooks][frames] of the engine as [frames][codebooks]. */
export function byFrame(codes, codebooks) {
  const frames = codes.length / codebooks, turned = new Int32Array(codes.length);
  for (let n = 0; n < frames; ++n)
    for (let k = 0; k < codebooks; ++k) turned[n * codebooks + k] = codes[k * frames + n];
  return turned;
}

/** Return the first codebooks of codes [frames][all]. */
export function firstCodebooks(codes, all, codebooks) {
  const frames = codes.length / all, kept = new Int32Array(frames * codebooks);
  for (let n = 0; n < frames; ++n) kept.set(codes.subarray(n * all, n * all + codebooks), n * codebooks);
  return kept;
}
