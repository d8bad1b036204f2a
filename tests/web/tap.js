// Record the levels of a page's microphone and of its output, with the times of the machine's clock, in
// `taps`, for the last seconds. It replaces `connect` before the page's own scripts run.
window.taps = { input: [], output: [] };
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (this instanceof MediaStreamAudioSourceNode) tap(this, window.taps.input);
  if (target instanceof AudioDestinationNode && this instanceof GainNode) tap(this, window.taps.output);
  return connect.call(this, target, ...rest);
};

function tap(node, levels) {
  const analyser = new AnalyserNode(node.context, { fftSize: 1024 }), samples = new Float32Array(1024);
  connect.call(node, analyser);
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    levels.push([performance.timeOrigin + performance.now(), Math.sqrt(power)]);
    if (levels.length > 700) levels.shift();
  }, 10);
}
