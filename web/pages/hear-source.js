// The source of the page Hear: a file, the microphone, or the example.

import { byId } from "../modules/dom.js";
import { Recorder } from "../modules/recorder.js";

const EXAMPLE = new URL("../clip.flac", import.meta.url), EXAMPLE_NAME = "joe.flac";

export class Source {
  /**
   * @param {{announce: (text: string, wrong?: boolean) => void,
   *   open: (file: Blob, name: string) => Promise<void>,
   *   opened: (sound: {channels: Float32Array[], rateHz: number}, name: string) => void}} page
   */
  constructor({ announce, open, opened }) {
    this.announce = announce;
    this.open = open;
    this.opened = opened;
    const area = byId("source"), input = byId("file");
    this.recordButton = byId("record");
    byId("choose").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.take(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
    byId("example").addEventListener("click", () => this.attempt(() => this.example()));
    this.recordButton.addEventListener("click", () => this.attempt(() => this.record()));
    for (const name of ["dragover", "dragenter"])
      addEventListener(name, (event) => {
        event.preventDefault();
        area.classList.add("over");
      });
    addEventListener("dragleave", (event) => event.relatedTarget || area.classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      area.classList.remove("over");
      this.take(event.dataTransfer.files[0]);
    });
  }

  take(file) {
    if (!file) return;
    this.announce(`Loading ${file.name}.`);
    this.attempt(() => this.open(file, file.name));
  }

  /** Do something, and state its error. */
  async attempt(task) {
    try {
      await task();
    } catch (error) {
      this.announce(error.message, true);
    }
  }

  async example() {
    this.announce("Loading the example.");
    const answer = await fetch(EXAMPLE).catch(() => null);
    if (!answer?.ok) throw new Error("The example cannot be loaded. Check the connection and try again.");
    await this.open(await answer.blob(), EXAMPLE_NAME);
  }

  async record() {
    if (this.recorder) return this.stop();
    this.recordButton.disabled = true;
    try {
      this.recorder = await Recorder.start({
        progress: (seconds) => this.show(`Recording: ${seconds.toFixed(1)} s.`),
        ended: () => this.recorder && this.attempt(() => this.stop()), // the microphone was disconnected
      });
      this.recordButton.textContent = "Stop";
      this.recordButton.ariaPressed = "true";
      this.announce("Recording. Press Stop to end.");
    } finally {
      this.recordButton.disabled = false;
    }
  }

  stop() {
    const sound = this.recorder.stop();
    this.recorder = null;
    this.recordButton.textContent = "Record";
    this.recordButton.ariaPressed = "false";
    if (!sound) throw new Error("The microphone gave no samples. Check that it is connected.");
    this.opened(sound, `recording ${new Date().toLocaleTimeString()}`);
  }

  show(text) {
    byId("about").textContent = text;
  }
}
