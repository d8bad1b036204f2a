// The sounds of the page Hear: a card each, and the player that they share.

import { byId, download, element, kilobits } from "../modules/dom.js";
import { equalGains, loudness } from "../modules/loudness.js";
import { Player, Sound, audioBuffer } from "../modules/player.js";
import { writeWav } from "../modules/sound-file.js";
import { drawSpectrogram, spectrum } from "../modules/spectrogram.js";
import { drawWaveform } from "../modules/waveform.js";

const COLUMNS = 480; // of a spectrogram
const LEAST_TOP_DB = -80;
const LEAST_RATED_S = 0.1; // the bitrate and the speed of a shorter sound mean nothing
const STAGES = { wait: "Waiting", load: "Loading the model", encode: "Encoding", decode: "Decoding" };

/** A sound on the page: its card, and its samples when they are there. */
class Track {
  constructor(tracks, name, choice) {
    this.tracks = tracks;
    this.name = name;
    this.choice = choice;
    this.abort = new AbortController();
    this.signal = this.abort.signal;
    this.kbd = element("kbd", { "aria-hidden": "true" });
    this.pick = element("button", { type: "button", class: "pick", disabled: true, "aria-pressed": "false" }, this.kbd, ` ${name}`);
    this.pick.addEventListener("click", () => tracks.play(this));
    this.body = element("div");
    const heading = element("header", {}, this.pick);
    if (choice) {
      const remove = element("button", { type: "button", class: "plain", "aria-label": `Remove ${name}` }, "✕");
      remove.addEventListener("click", () => tracks.page.remove(choice));
      heading.append(remove);
    }
    this.card = element("article", { class: "card track", "aria-label": name }, heading, this.body);
    this.progress = (stage, share) => this.showProgress(stage, share);
    if (choice) this.showProgress("wait", 0);
  }

  showProgress(stage, share) {
    if (!this.bar) {
      this.stage = element("p", { class: "facts" });
      this.bar = element("progress", { max: 1, "aria-label": `Progress of ${this.name}` });
      const cancel = element("button", { type: "button" }, "Cancel");
      cancel.addEventListener("click", () => {
        this.tracks.page.announce(`${this.name} was cancelled.`);
        this.tracks.page.remove(this.choice);
      });
      this.body.replaceChildren(this.stage, this.bar, element("div", { class: "row" }, cancel));
    }
    const text = stage === "wait" ? STAGES.wait : `${STAGES[stage]}: ${Math.round(100 * share)} %`;
    if (this.stage.textContent !== text) this.stage.textContent = text;
    this.bar.value = share;
  }

  fail(text) {
    this.bar = null;
    const again = element("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => this.tracks.page.again(this.choice));
    this.body.replaceChildren(element("p", { class: "error" }, text), element("div", { class: "row" }, again));
  }

  /** Show the samples. @param {import("./hear-copies.js").Copy} copy */
  finish(copy) {
    const { tracks } = this, { rateHz, seconds } = tracks;
    const buffer = audioBuffer(copy.channels, rateHz); // the only place of the samples: they may be large
    this.channels = copy.channels.map((_, n) => buffer.getChannelData(n));
    this.sound = new Sound(() => buffer);
    this.loudness = loudness(this.channels, rateHz);
    this.waveform = element("canvas", { class: "waveform", role: "img", "aria-label": `Waveform of ${this.name}` });
    this.spectrogram = element("canvas", { class: "spectrogram", role: "img", "aria-label": `Spectrogram of ${this.name}` });
    const seek = element("div", { class: "seek" }, this.waveform, this.spectrogram);
    seek.addEventListener("click", (event) => {
      const box = seek.getBoundingClientRect();
      tracks.play(this, (event.clientX - box.left) / box.width);
    });
    const buttons = element("div", { class: "row" });
    const file = tracks.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_.-]+/gu, "-");
    const stem = this.choice ? `${file}.${this.name.replace(/[^a-z0-9.-]+/gi, "-")}` : file;
    const add = (label, make) => {
      const button = element("button", { type: "button", "aria-label": `Download ${this.name} as ${label}` }, label);
      button.addEventListener("click", make);
      buttons.append(button);
    };
    if (copy.file) add(".chirrup", () => download(copy.file, `${stem}.chirrup`, "application/octet-stream"));
    add("WAV", () => download(writeWav(this.channels, rateHz), `${stem}.wav`, "audio/wav"));
    this.bar = null;
    this.body.replaceChildren(seek, element("p", { class: "facts" }, facts(copy, seconds)), buttons);
    this.pick.disabled = false;
    tracks.ready();
    setTimeout(() => { // the sound can be played, and other copies begin, before it is drawn
      this.levels = spectrum(this.channels, rateHz, COLUMNS);
      tracks.draw();
    });
  }

  draw() {
    drawWaveform(this.waveform, this.channels, this.sound.gain);
    const { levels } = this.tracks.original;
    if (this.levels && levels) drawSpectrogram(this.spectrogram, this.levels, top(levels));
  }
}

export class Tracks {
  /**
   * @param {{announce: (text: string) => void, remove: (choice: object) => void,
   *   again: (choice: object) => void}} page
   */
  constructor(page) {
    this.page = page;
    this.list = [];
    this.sound = false; // whether there is a sound
    byId("toggle").addEventListener("click", () => this.play());
    byId("position").addEventListener("input", ({ target }) => this.player.seek(Number(target.value)));
    byId("repeat").addEventListener("change", ({ target }) => this.player.repeat(target.checked));
    addEventListener("keydown", (event) => this.key(event));
    let width = innerWidth;
    addEventListener("resize", () => {
      if (width === innerWidth) return; // a phone's address bar
      width = innerWidth;
      this.draw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Begin with another sound, and return its channels as they are kept. */
  begin(channels, rateHz, name, about) {
    for (const track of this.list) track.abort.abort();
    this.player?.pause();
    Object.assign(this, { rateHz, name, seconds: channels[0].length / rateHz, sound: true });
    this.player = new Player({ rateHz, show: () => this.show() });
    this.player.repeat(byId("repeat").checked);
    this.original = new Track(this, about.file ? name : "Original", null);
    this.list = [];
    this.current = this.original;
    byId("tracks").replaceChildren();
    this.append(this.original);
    for (const id of ["transport", "keys"]) byId(id).hidden = false;
    byId("nothing").hidden = true;
    byId("scale").textContent = `Spectrograms: 0 to ${rateHz / 2000} kHz over 80 dB, the same scale for all.`;
    this.original.finish({ bytes: 0, file: null, ...about, channels });
    return this.original.channels;
  }

  /** Add the card of a copy that is being made. */
  add(choice) {
    const track = new Track(this, choice.label, choice);
    this.append(track);
    return track;
  }

  append(track) {
    this.list.push(track);
    byId("tracks").append(track.card);
    this.number();
  }

  remove(choice) {
    const track = this.list.find((each) => each.choice === choice);
    if (!track) return;
    track.abort.abort();
    if (track === this.current) {
      this.player.pause();
      this.current = this.original;
    }
    this.list = this.list.filter((each) => each !== track);
    const focused = track.card.contains(document.activeElement);
    track.card.remove();
    if (focused) this.original.pick.focus();
    this.number();
    this.equalise();
    this.show();
  }

  number() {
    this.list.forEach((track, n) => {
      const key = n < 9 ? String(n + 1) : "";
      track.kbd.textContent = key;
      track.pick.setAttribute("aria-keyshortcuts", key);
    });
  }

  /** A track has its samples. */
  ready() {
    this.equalise();
    this.show();
  }

  /** Give all sounds the loudness of the quietest. */
  equalise() {
    const ready = this.list.filter(({ sound }) => sound), gains = equalGains(ready.map((each) => each.loudness));
    const before = this.current.sound?.gain;
    ready.forEach(({ sound }, n) => (sound.gain = gains[n]));
    if (this.player.playing && this.current.sound.gain !== before) this.player.play(this.current.sound);
    this.draw();
  }

  draw() {
    for (const track of this.list) if (track.sound) track.draw();
  }

  /** Play a track, from a place or from the present one. The track that plays pauses. */
  async play(track = this.current, place = undefined) {
    const same = track === this.current && place === undefined;
    this.current = track;
    if (same && this.player.playing) return this.player.pause();
    try {
      await this.player.play(track.sound, place);
    } catch (error) {
      this.page.announce(`The sound cannot be played: ${error.message}`, true);
    }
  }

  show() {
    const { player, seconds } = this, place = player.now(), time = `${(place * seconds).toFixed(1)} of ${seconds.toFixed(1)} s`;
    byId("tracks").style.setProperty("--at", place);
    byId("position").value = place;
    byId("position").ariaValueText = byId("time").textContent = time;
    byId("toggle").textContent = player.playing ? "Pause" : "Play";
    for (const track of this.list) {
      const playing = track === this.current;
      track.card.classList.toggle("playing", playing);
      track.pick.ariaPressed = String(playing && player.playing);
    }
  }

  key(event) {
    if (!this.sound || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("select")) return;
    const field = event.target.closest("button, input, a");
    const ready = this.list.filter(({ sound }) => sound), step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const chosen = /^[1-9]$/.test(event.key) ? this.list[Number(event.key) - 1] : undefined;
    if (chosen?.sound) {
      if (chosen !== this.current || !this.player.playing) this.play(chosen);
    } else if (step && !event.target.closest("input")) {
      this.play(ready[(ready.indexOf(this.current) + step + ready.length) % ready.length]);
    } else if (event.key === " " && !field) {
      this.play();
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** Return the highest level, which all spectrograms share. */
const top = (levels) => levels.reduce((most, level) => Math.max(most, level), LEAST_TOP_DB);

/** Describe what a copy took. */
function facts({ bytes, encodeSeconds, decodeSeconds, seconds }, duration) {
  if (!bytes) return "Not coded.";
  const packets = decodeSeconds === null ? " in packets" : ""; // a file has a header and checksums too
  const parts = [`${bytes.toLocaleString("en")} bytes${packets}`], rated = duration >= LEAST_RATED_S;
  if (rated) parts.push(kilobits((8 * bytes) / duration));
  const took = (value) => `${value.toFixed(2)} s`;
  const times = rated ? `: ${(duration / seconds).toFixed(1)} × real time` : "";
  if (encodeSeconds !== null) parts.push(`encoded in ${took(encodeSeconds)}, decoded in ${took(decodeSeconds)}${times}`);
  else parts.push(`${decodeSeconds === null ? "encoded and decoded" : "decoded"} in ${took(seconds)}${times}`);
  return parts.join(" · ");
}
