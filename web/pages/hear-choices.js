// The codecs and bitrates that the page Hear compares.

import { byId, element, kilobits } from "../modules/dom.js";
import { OPUS_BITRATES_BPS, opusMissing } from "../modules/opus.js";

const DEFAULT = "iris-t1", LOW_BPS = 1000, OPUS = "opus";

/**
 * @typedef {import("../modules/models.js").Model} Model
 * @typedef {{label: string, bitrateBps: number, model: Model | null, codebooks: number}} Choice without
 *   a model it is Opus
 */

export class Choices {
  /** @param {{added: (choice: Choice) => void, removed: (choice: Choice) => void}} page */
  constructor({ added, removed }) {
    this.added = added;
    this.removed = removed;
    this.list = [];
    this.models = [];
    this.codec = byId("codec");
    this.bitrate = byId("bitrate");
    this.codec.addEventListener("change", () => this.showBitrates());
    byId("choices").addEventListener("submit", (event) => {
      event.preventDefault();
      this.add(this.codec.value, Number(this.bitrate.value));
    });
  }

  /** Model of the first choice. */
  get first() {
    return this.list[0].model;
  }

  /** State why there are no models. */
  fail(text) {
    const note = byId("peer");
    note.textContent = text;
    note.hidden = false;
  }

  /** Offer models, and choose some. @param {Model[]} models */
  offer(models) {
    this.models = models;
    this.codec.replaceChildren(...models.map(({ name }) => element("option", { value: name }, name)));
    byId("add").disabled = false;
    const model = models.find(({ name }) => name === DEFAULT) ?? models[0];
    this.codec.value = model.name;
    this.showBitrates();
    this.add(model.name, model.default_bitrate_bps);
    if (model.bitrates_bps.includes(LOW_BPS)) this.add(model.name, LOW_BPS);
    this.offerOpus(model.default_bitrate_bps);
  }

  async offerOpus(bitrateBps) {
    const missing = await opusMissing();
    if (missing) return this.fail(`${missing} The comparison has only the models of Chirrup.`);
    this.codec.append(element("option", { value: OPUS }, "Opus (of this browser)"));
    const higher = OPUS_BITRATES_BPS.find((each) => each >= bitrateBps) ?? OPUS_BITRATES_BPS.at(-1);
    this.add(OPUS, higher);
  }

  showBitrates() {
    const model = this.models.find(({ name }) => name === this.codec.value);
    const bitrates = model?.bitrates_bps ?? OPUS_BITRATES_BPS;
    this.bitrate.replaceChildren(...bitrates.map((bps) => element("option", { value: bps }, kilobits(bps))));
    this.bitrate.value = model?.default_bitrate_bps ?? bitrates[0];
  }

  add(codec, bitrateBps) {
    const model = this.models.find(({ name }) => name === codec) ?? null;
    const label = `${model?.name ?? "Opus"}, ${kilobits(bitrateBps)}`;
    if (this.list.some((each) => each.label === label)) return;
    const codebooks = model ? model.bitrates_bps.indexOf(bitrateBps) + 1 : 0;
    const choice = { label, bitrateBps, model, codebooks };
    this.list.push(choice);
    this.show();
    this.added(choice);
  }

  remove(choice) {
    this.list = this.list.filter((each) => each !== choice);
    this.show();
    this.removed(choice);
  }

  show() {
    const chosen = byId("chosen");
    chosen.replaceChildren(...this.list.map((choice) => {
      const button = element("button", { type: "button", class: "plain", "aria-label": `Remove ${choice.label}` }, "✕");
      button.addEventListener("click", () => {
        this.remove(choice);
        (chosen.querySelector("button") ?? this.codec).focus();
      });
      return element("li", {}, choice.label, button);
    }));
  }
}
