"use strict";

// Tables that sort, a legend that picks, and players that share one clock.

document.documentElement.classList.add("scripted");

// --- Tables: the first click on a heading sorts from the largest, the next click reverses the order.

for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const order = head.ariaSort === "descending" ? "ascending" : "descending";
      for (const other of heads) other.ariaSort = null;
      head.ariaSort = order;
      const sign = order === "ascending" ? 1 : -1;
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column], sign));
      body.append(...rows);
    });
  });
}

// Numbers sort by size, titles by name; blanks are always last.
function compare(a, b, sign) {
  if (a.tagName === "TH") return -sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  const [x, y] = [a, b].map((cell) => ("value" in cell.dataset ? Number(cell.dataset.value) : null));
  if (x === null || y === null) return (x === null) - (y === null);
  return sign * (x - y);
}

// --- Legends: a pressed codec is highlighted in all plots of its condition.

for (const legend of document.querySelectorAll(".legend")) {
  const plots = legend.nextElementSibling;
  const buttons = [...legend.querySelectorAll("button")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.ariaPressed = String(button.ariaPressed !== "true");
      const picked = buttons.filter((each) => each.ariaPressed === "true").map((each) => each.dataset.codec);
      plots.classList.toggle("picked", picked.length > 0);
      for (const line of plots.querySelectorAll(".codec")) {
        line.classList.toggle("pick", picked.includes(line.dataset.codec));
      }
    });
  }
}

// --- Players: one clip plays at a time. Another player of the clip continues at the same sample,
// after a short crossfade.

const LEAD_S = 0.02; // lead of the schedule, so that a switch is exact to the sample
const FADE_S = 0.008;
let context = null; // AudioContext, created at the first click because browsers require it
let current = null; // the Clip that was used last

class Clip {
  constructor(section) {
    this.section = section;
    this.players = [...section.querySelectorAll(".player:has(audio)")];
    this.player = this.players[0]; // the player that plays, or plays next
    this.buffers = new Map(); // promises of decoded audio by player, while this clip is current
    this.buffer = null; // of the player that plays
    this.sound = null; // {source, gain, started, offset} while playing
    this.place = 0; // position while the clip does not play, 0 to 1
    this.requests = 0; // the last of several requests counts
    for (const part of ["toggle", "position", "time", "repeat"]) {
      this[part] = section.querySelector(`.transport .${part}`);
    }
    this.toggle.addEventListener("click", () => this.playOrPause());
    this.position.addEventListener("input", () => this.seek(Number(this.position.value)));
    this.repeat.addEventListener("change", () => this.sound && this.start());
    for (const player of this.players) {
      const button = document.createElement("button");
      button.type = "button";
      button.ariaLabel = `Play ${player.querySelector(".name").textContent}`;
      button.addEventListener("click", (event) => this.clicked(player, event));
      player.querySelector(".seek").append(button);
    }
  }

  // A pointer's click plays from its position; a key's click switches, or pauses the playing one.
  clicked(player, event) {
    const box = event.currentTarget.getBoundingClientRect();
    if (event.detail > 0) this.play(player, (event.clientX - box.left) / box.width);
    else if (player === this.player) this.playOrPause();
    else this.play(player);
  }

  playOrPause() {
    if (this.sound) this.pause();
    else this.play(this.player);
  }

  seek(place) {
    if (this.sound) {
      this.start(place);
    } else {
      this.place = place;
      this.show();
    }
  }

  // Play from `place`, or from the position of the clip when the player is ready.
  async play(player, place) {
    context ??= new AudioContext();
    const before = current;
    current = this;
    if (before !== this) before?.leave();
    this.player = player;
    this.show();
    const request = ++this.requests;
    try {
      const [buffer] = await Promise.all([this.decoded(player), context.resume()]);
      if (request !== this.requests) return;
      this.buffer = buffer;
    } catch { // the browser does not decode FLAC here; its own controls may play it
      this.section.classList.add("plain");
      return;
    }
    this.start(place);
    for (const other of this.players) this.decoded(other).catch(() => {}); // ready for a switch
  }

  // Without a place, start at the position of the clip when the new sound begins.
  start(place) {
    const { buffer } = this;
    const source = new AudioBufferSourceNode(context, { buffer, loop: this.repeat.checked });
    const gain = new GainNode(context, { gain: 0 });
    const started = context.currentTime + LEAD_S;
    const from = place ?? this.now(started);
    const offset = (from < 1 ? from : 0) * buffer.duration;
    gain.gain.setValueAtTime(0, started);
    gain.gain.linearRampToValueAtTime(1, started + FADE_S);
    source.connect(gain).connect(context.destination);
    this.fadeOut(started);
    source.start(started, offset);
    this.sound = { source, gain, started, offset };
    source.addEventListener("ended", () => {
      if (this.sound?.source === source) this.pause(0);
    });
    this.section.classList.add("used");
    this.follow(source);
  }

  fadeOut(time) {
    if (!this.sound) return;
    const { source, gain } = this.sound;
    gain.gain.cancelScheduledValues(time);
    gain.gain.setValueAtTime(gain.gain.value, time);
    gain.gain.linearRampToValueAtTime(0, time + FADE_S);
    source.stop(time + FADE_S);
    this.sound = null;
  }

  pause(place = this.now()) {
    this.requests++;
    this.fadeOut(context?.currentTime);
    this.place = place;
    this.show();
  }

  leave() {
    this.pause();
    this.buffers.clear();
  }

  // Position of the clip, 0 to 1, now or at a time of the context.
  now(time = context?.currentTime) {
    if (!this.sound) return this.place;
    const { source, started, offset } = this.sound;
    const played = (offset + Math.max(0, time - started)) / this.buffer.duration;
    return source.loop ? played % 1 : Math.min(played, 1);
  }

  decoded(player) {
    if (!this.buffers.has(player)) {
      const bytes = fetch(player.querySelector("audio").src).then((answer) => answer.arrayBuffer());
      this.buffers.set(player, bytes.then((flac) => context.decodeAudioData(flac)));
    }
    return this.buffers.get(player);
  }

  follow(source) {
    if (this.sound?.source !== source) return;
    this.show();
    requestAnimationFrame(() => this.follow(source));
  }

  show() {
    const place = this.now();
    const seconds = Number(this.section.dataset.seconds);
    this.section.style.setProperty("--at", place);
    this.position.value = place;
    this.time.textContent = `${(place * seconds).toFixed(1)} of ${seconds.toFixed(1)} s`;
    this.position.ariaValueText = this.time.textContent;
    this.toggle.textContent = this.sound ? "Pause" : "Play";
    for (const player of this.players) {
      player.classList.toggle("playing", player === this.player && current === this);
    }
  }
}

const clips = [...document.querySelectorAll(".clip")].map((section) => new Clip(section));

// --- Keys act on the clip that was used last.

document.addEventListener("keydown", (event) => {
  const clip = current ?? clips[0];
  const field = event.target.closest("button, input, summary, .wide");
  if (!clip || clip.section.classList.contains("plain")) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const chosen = clip.players.find((player) => player.dataset.key === event.key.toLowerCase());
  if (chosen) {
    clip.play(chosen);
  } else if (step && !event.target.closest("input, .wide")) {
    const place = clip.players.indexOf(clip.player) + step + clip.players.length;
    clip.play(clip.players[place % clip.players.length]);
  } else if (event.key === " " && !field) {
    clip.playOrPause();
  } else {
    return;
  }
  event.preventDefault();
});
