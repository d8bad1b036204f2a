// A blind listening test without its page: the order of each listener, the progress that a reload
// does not lose, and the ratings as docs/reference/listening-tests.md defines them.

import { fetched } from "./fetched.js";

const FORMAT = "chirrup listening test 1";
const RATINGS = "chirrup ratings 1";
const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * Load the test of a folder on the same host.
 * @param {string} folder address, relative to the page
 * @returns {Promise<object>} the content of test.json, with `folder`
 * @throws {Error} the folder has no test
 */
export async function loadTest(folder) {
  const base = new URL(`${folder.replace(/\/*$/, "")}/`, document.baseURI);
  if (base.origin !== location.origin) throw new Error(`The test ${folder} is on another host: use a folder of this one.`);
  const answer = await fetched(new URL("test.json", base), `The test ${folder}`);
  const test = await answer.json().catch(() => ({}));
  if (test.format !== FORMAT) throw new Error(`The folder ${folder} has no listening test: its test.json has another format.`);
  return { ...test, folder: base };
}

/** Whether a text can be the name of a listener. @param {string} text */
export function isName(text) {
  return NAME.test(text);
}

/**
 * Return items in an order that follows from a text. The same text gives the same order.
 * @template Item
 * @param {Item[]} items
 * @param {string} text
 * @param {(item: Item) => string} [name]
 * @returns {Item[]}
 */
export function ordered(items, text, name = String) {
  const keys = new Map(items.map((item) => [item, hash(`${text}/${name(item)}`)]));
  return [...items].sort((a, b) => keys.get(a) - keys.get(b));
}

/** FNV-1a of the UTF-8 bytes, mixed so that similar texts are far apart. */
function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  for (const factor of [0x85ebca6b, 0xc2b2ae35]) value = Math.imul(value ^ (value >>> 15), factor);
  return (value ^ (value >>> 16)) >>> 0;
}

/** The storage of the browser. What it refuses to keep is in memory, and `lasting` becomes false. */
export class Store {
  /** @param {() => Storage} open may throw: browsers that block cookies have no storage */
  constructor(open) {
    this.memory = new Map();
    this.lasting = true;
    try {
      this.storage = open();
    } catch {
      this.lasting = false;
    }
  }

  /** @param {string} key @returns {string | null} */
  getItem(key) {
    return this.memory.get(key) ?? this.storage?.getItem(key) ?? null;
  }

  /** @param {string} key @param {string} value */
  setItem(key, value) {
    try {
      this.storage.setItem(key, value);
      this.memory.delete(key);
    } catch { // there is no storage, or it is full
      this.memory.set(key, value);
      this.lasting = false;
    }
  }
}

/** The progress of a listener, which is stored in the browser after each change. */
export class Progress {
  /** @param {object} test @param {string} listener @param {Store} store */
  constructor(test, listener, store) {
    this.test = test;
    this.listener = listener;
    this.store = store;
    this.key = `listening-test/${test.id}/${listener}`;
  }

  /** What is stored, which another tab may have changed. */
  get state() {
    const saved = JSON.parse(this.store.getItem(this.key) ?? "null");
    return saved ?? { started: null, finished: null, trained: false, ratings: [], draft: null };
  }

  /** The trials in the listener's order. */
  get trials() {
    return ordered(this.test.trials, this.orderOf("trials"), (trial) => trial.id);
  }

  /** The first trial without a rating; undefined if all are rated. */
  get next() {
    const rated = new Set(this.state.ratings.map((rating) => rating.trial));
    return this.trials.find((trial) => !rated.has(trial.id));
  }

  /** Text from which an order of this listener follows. @param {string} what */
  orderOf(what) {
    return `${this.test.seed}/${this.listener}/${what}`;
  }

  /** Note the end of the training. */
  begin() {
    this.change({ trained: true, started: this.state.started ?? now() });
  }

  /** What a trial has so far, or null. @param {string} trial */
  draftOf(trial) {
    return this.state.draft?.trial === trial ? this.state.draft.value : null;
  }

  /** Store what a trial has so far. */
  sketch(trial, value) {
    this.change({ draft: { trial, value } });
  }

  /** Store the rating of a trial. @param {{trial: string, seconds: number}} rating */
  rate(rating) {
    const others = this.state.ratings.filter(({ trial }) => trial !== rating.trial);
    this.change({ ratings: [...others, rating], draft: null });
    if (this.next === undefined) this.change({ finished: now() });
  }

  /** The object that is sent. */
  get submission() {
    const { started, finished, ratings } = this.state;
    return { format: RATINGS, test: this.test.id, listener: this.listener, started, finished, ratings };
  }

  change(values) {
    this.store.setItem(this.key, JSON.stringify({ ...this.state, ...values }));
  }
}

function now() {
  return new Date().toISOString();
}
