// Sources of live audio: the microphone, and a clip that repeats.

const MICROPHONE_ERRORS = {
  NotAllowedError:
    "The microphone is blocked. Allow it for this page in the browser (the icon beside the address), then start again.",
  NotFoundError: "There is no microphone. Connect one, then start again.",
  NotReadableError: "The microphone cannot be opened. Close other programs that use it, then start again.",
};

/**
 * Open the microphone, by default without the browser's processing, which is made for other codecs.
 * @param {AudioContext} context
 * @param {() => void} ended is called when the device is disconnected
 * @param {MediaTrackConstraints} [processing] such as {echoCancellation: true}
 * @returns {Promise<{node: AudioNode, latency_s: number, stop: () => void}>}
 * @throws {Error} with what to do
 */
export async function openMicrophone(context, ended, processing = {}) {
  if (!navigator.mediaDevices)
    throw new Error("This browser allows a microphone only on https:// and localhost. Open the page there.");
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, ...processing };
  const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
    throw new Error(MICROPHONE_ERRORS[error.name] ?? `The microphone cannot be opened: ${error.message}`);
  });
  const [track] = stream.getAudioTracks();
  track.addEventListener("ended", ended);
  return {
    node: new MediaStreamAudioSourceNode(context, { mediaStream: stream }),
    latency_s: track.getSettings().latency ?? 0,
    stop: () => track.stop(),
  };
}

/**
 * Play a clip again and again.
 * @param {AudioContext} context
 * @param {string} url
 * @returns {Promise<{node: AudioNode, latency_s: number, stop: () => void}>}
 * @throws {Error} the clip cannot be loaded or decoded
 */
export async function openClip(context, url) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new Error("The clip cannot be loaded. Check the connection and try again.");
  const buffer = await context.decodeAudioData(await response.arrayBuffer()).catch(() => {
    throw new Error("This browser cannot decode the clip. Use the microphone.");
  });
  const node = new AudioBufferSourceNode(context, { buffer, loop: true });
  node.start();
  return { node, latency_s: 0, stop: () => node.stop() };
}
