// The trials of the three kinds of listening tests: what a listener sees, plays and answers.

import { element } from "../modules/dom.js";
import { Player, Sound } from "../modules/player.js";
import { fetched } from "../modules/fetched.js";
import { ordered } from "../modules/listening-test.js";

const RATE_HZ = 48000;
const SCALE = ["Bad", "Poor", "Fair", "Good", "Excellent"]; // of BS.1534, 20 points each
const DIGITS = "123456789";

/** Decode sounds of a test, so that switching needs no time. @returns {Promise<Map<string, Sound>>} */
export async function loadSounds(test, names) {
  const decoder = new OfflineAudioContext(1, 1, RATE_HZ);
  const load = async (name) => {
    const answer = await fetched(new URL(`audio/${name}`, test.folder), `The sound ${name}`);
    const buffer = await decoder.decodeAudioData(await answer.arrayBuffer()).catch(() => {
      throw new Error(`This browser cannot decode the sound ${name}. Try another browser.`);
    });
    return [name, new Sound(() => buffer)];
  };
  return new Map(await Promise.all(names.map(load)));
}

/** The names of the sounds of a trial. */
export function soundsOf({ reference, sounds = [], choices = [], x, sound }) {
  return [reference, ...sounds, ...choices, x, sound].filter((name) => name !== undefined);
}

/**
 * A trial on the page. A kind has `body`, the elements; `keys`, what a key does; and calls `done`.
 * @typedef {{trial: object, sounds: Map<string, Sound>, progress: object, done: (given: object) => void}} Setting
 */
class Trial {
  /** @param {Setting} setting */
  constructor(setting) {
    Object.assign(this, setting);
    this.player = new Player({ rateHz: RATE_HZ, show: () => this.show() });
    this.buttons = new Map(); // play buttons by sound
    this.position = element("input", { type: "range", className: "position", min: 0, max: 1, step: 0.001, value: 0, "aria-label": "Position in the sounds" });
    this.position.addEventListener("input", () => this.player.seek(Number(this.position.value)));
    this.toggle = element("button", { type: "button", className: "toggle" }, "Play");
    this.toggle.addEventListener("click", () => this.player.toggle());
    this.player.sound = [...this.sounds.values()][0];
    this.player.repeat(true);
    this.keys = { " ": () => this.player.toggle() };
  }

  /** Make a button that plays a sound. */
  playButton(name, label, key) {
    const button = element("button", { type: "button", className: "play", "aria-label": key ? `Play ${label}, key ${key}` : `Play ${label}`, "aria-pressed": "false" }, label);
    button.addEventListener("click", () => this.play(name));
    this.buttons.set(name, button);
    if (key) this.keys[key.toLowerCase()] = () => this.play(name);
    return button;
  }

  play(name) {
    this.player.play(this.sounds.get(name));
  }

  transport() {
    return element("div", { className: "row transport" }, this.toggle, this.position);
  }

  show() {
    this.toggle.textContent = this.player.playing ? "Pause" : "Play";
    this.position.value = this.player.now();
    for (const [name, button] of this.buttons) {
      const now = this.player.playing && this.player.sound === this.sounds.get(name);
      button.setAttribute("aria-pressed", String(now));
    }
  }

  close() {
    this.player.pause();
  }
}

/** MUSHRA: a score from 0 to 100 for each sound, compared with the reference. */
export class Mushra extends Trial {
  constructor(setting) {
    super(setting);
    const { trial, progress } = this;
    this.scores = new Map(Object.entries(progress.draftOf(trial.id) ?? {}));
    this.next = element("button", { type: "button", className: "first next" }, "Next");
    this.next.addEventListener("click", () => this.finish());
    this.keys.enter = () => this.finish();
    const shown = ordered(trial.sounds, progress.orderOf(trial.id));
    this.missing = element("p", { className: "hint", role: "status" });
    this.body = [
      element("p", { className: "hint" }, "Score each sound against the reference. One of them is the reference itself: score it 100."),
      element("div", { className: "row" }, this.playButton(trial.reference, "Reference", "0"), this.transport()),
      element("div", { className: "scale", "aria-hidden": "true" }, ...SCALE.map((word) => element("span", {}, word))),
      ...shown.map((name, n) => this.line(name, n)),
      element("div", { className: "row" }, this.next, this.missing),
    ];
    this.showMissing();
  }

  line(name, n) {
    const label = `Sound ${n + 1}`, key = DIGITS[n]; // no key for more than nine sounds
    const slider = element("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": `Score of sound ${n + 1}` });
    const output = element("output", { className: "score" });
    const show = () => {
      const score = this.scores.get(name);
      slider.value = score ?? 50;
      slider.classList.toggle("unset", score === undefined);
      output.textContent = score ?? "-";
      const word = score === undefined ? "not scored" : `${score}, ${SCALE[Math.min(4, Math.floor(score / 20))]}`;
      slider.setAttribute("aria-valuetext", word);
    };
    const score = () => {
      this.scores.set(name, Number(slider.value));
      this.progress.sketch(this.trial.id, Object.fromEntries(this.scores));
      show();
      this.showMissing();
    };
    slider.addEventListener("input", score);
    slider.addEventListener("click", score); // on the present value, which is no input
    show();
    const button = this.playButton(name, label, key);
    const choose = () => {
      this.play(name);
      slider.focus();
    };
    if (key) this.keys[key] = choose;
    return element("div", { className: "line" }, button, slider, output);
  }

  showMissing() {
    const left = this.trial.sounds.length - this.scores.size;
    this.next.disabled = left > 0;
    this.missing.textContent = left > 0 ? `${left} of ${this.trial.sounds.length} sounds have no score yet.` : "";
  }

  finish() {
    if (!this.next.disabled) this.done({ scores: Object.fromEntries(this.scores) });
  }
}

/** ABX: which of two sounds X is. */
export class Abx extends Trial {
  constructor(setting) {
    super(setting);
    const { trial, progress } = this;
    const [a, b] = ordered(trial.choices, progress.orderOf(trial.id));
    this.played = new Set();
    this.answers = [["1", "X is A", a], ["2", "X is B", b]].map(([key, text, name]) => {
      const button = element("button", { type: "button", className: "answer", disabled: true, "aria-label": `${text}, key ${key}` }, text);
      button.addEventListener("click", () => this.done({ choice: name }));
      this.keys[key] = () => button.click();
      return button;
    });
    const plays = [["A", a], ["B", b], ["X", trial.x]].map(([letter, name]) => this.playButton(name, letter, letter));
    this.body = [
      element("p", { className: "hint" }, "X is the same sound as A or as B. Play all three, then answer."),
      element("div", { className: "row" }, ...plays, this.transport()),
      element("div", { className: "row answers" }, ...this.answers),
    ];
  }

  play(name) {
    super.play(name);
    this.played.add(name);
    for (const answer of this.answers) answer.disabled = this.played.size < 3;
  }
}

/** The diagnostic rhyme test: which of two words was played. The words appear after the sound. */
export class Drt extends Trial {
  constructor(setting) {
    super(setting);
    const { trial, progress } = this;
    this.player.repeat(false);
    this.answers = ordered(trial.words, progress.orderOf(trial.id)).map((word, n) => {
      const key = DIGITS[n];
      const button = element("button", { type: "button", className: "answer word", "aria-label": `${word}, key ${key}` }, word);
      button.addEventListener("click", () => this.done({ choice: word }));
      this.keys[key] = () => this.words.hidden || button.click();
      return button;
    });
    this.words = element("div", { className: "row answers", hidden: true, tabIndex: -1, role: "group", "aria-label": "Which word was it?" }, ...this.answers);
    this.body = [
      element("p", { className: "hint" }, "A word is played once. Then two words appear: choose the one that it was. If you are not sure, guess."),
      this.words,
    ];
    this.keys = { 1: this.keys[1], 2: this.keys[2] };
    this.ran = false;
  }

  /** Play the word. */
  begin() {
    this.play(this.trial.sound);
  }

  show() {
    if (!this.words) return; // while it is made
    if (this.player.playing) this.ran = true;
    else if (this.ran && this.words.hidden) {
      this.words.hidden = false;
      this.words.focus(); // not an answer, which would seem chosen
    }
  }
}

export const KINDS = { mushra: Mushra, abx: Abx, drt: Drt };
