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

// --- Wide tables: a hint stands above a table as long as columns are hidden.

for (const wide of document.querySelectorAll(".wide")) {
  const look = () => {
    const hidden = wide.scrollWidth - wide.clientWidth;
    wide.classList.toggle("overflows", hidden > 1);
    wide.classList.toggle("ended", wide.scrollLeft > hidden - 2);
  };
  wide.addEventListener("scroll", look);
  new ResizeObserver(look).observe(wide);
}

// --- Players: one clip plays at a time, with the `Player` of the page, which stands above this script.

let current = null; // the Clip that was used last

class Clip {
  constructor(section) {
    this.section = section;
    this.players = [...section.querySelectorAll(".player:has(audio)")];
    this.sounds = new Map(this.players.map((each) => [each, Sound.at(each.querySelector("audio").src)]));
    this.player = new Player({ show: () => this.show() });
    this.player.sound = this.sounds.get(this.players[0]);
    for (const part of ["toggle", "position", "time", "repeat"]) {
      this[part] = section.querySelector(`.transport .${part}`);
    }
    this.toggle.addEventListener("click", () => this.playOrPause());
    this.position.addEventListener("input", () => this.player.seek(Number(this.position.value)));
    this.repeat.addEventListener("change", () => this.player.repeat(this.repeat.checked));
    for (const player of this.players) {
      const button = document.createElement("button");
      button.type = "button";
      button.ariaLabel = `Play ${player.querySelector(".name").textContent}`;
      button.addEventListener("click", (event) => this.clicked(player, event));
      player.querySelector(".seek").append(button);
    }
  }

  // The figure that plays, or plays next.
  get chosen() {
    return this.players.find((each) => this.sounds.get(each) === this.player.sound);
  }

  // A pointer's click plays from its position; a key's click switches, or pauses the playing one.
  clicked(figure, event) {
    const box = event.currentTarget.getBoundingClientRect();
    if (event.detail > 0) this.play(figure, (event.clientX - box.left) / box.width);
    else if (figure === this.chosen) this.playOrPause();
    else this.play(figure);
  }

  playOrPause() {
    if (this.player.playing) this.player.pause();
    else this.play(this.chosen);
  }

  // Play from `place`, or from the position of the clip when the sound is ready.
  async play(figure, place) {
    const before = current;
    current = this;
    if (before !== this) before?.leave();
    try {
      await this.player.play(this.sounds.get(figure), place);
    } catch { // the browser does not decode FLAC here; its own controls may play it
      this.section.classList.add("plain");
      return;
    }
    this.section.classList.add("used");
    this.player.prepare(this.sounds.values());
  }

  // Another clip plays: free the decoded audio.
  leave() {
    this.player.pause();
    for (const sound of this.sounds.values()) sound.forget();
  }

  show() {
    const place = this.player.now();
    const seconds = Number(this.section.dataset.seconds);
    this.section.style.setProperty("--at", place);
    this.position.value = place;
    this.time.textContent = `${(place * seconds).toFixed(1)} of ${seconds.toFixed(1)} s`;
    this.position.ariaValueText = this.time.textContent;
    this.toggle.textContent = this.player.playing ? "Pause" : "Play";
    for (const figure of this.players) {
      figure.classList.toggle("playing", figure === this.chosen && current === this);
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
  const pressed = clip.players.find((player) => player.dataset.key === event.key.toLowerCase());
  if (pressed) {
    clip.play(pressed);
  } else if (step && !event.target.closest("input, .wide")) {
    const place = clip.players.indexOf(clip.chosen) + step + clip.players.length;
    clip.play(clip.players[place % clip.players.length]);
  } else if (event.key === " " && !field) {
    clip.playOrPause();
  } else {
    return;
  }
  event.preventDefault();
});
