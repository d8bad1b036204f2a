// A blind listening test: start, training, trials, and the end, where the ratings are sent or saved.

import { byId, element, started } from "../modules/dom.js";
import { Progress, Store, isName, loadTest } from "../modules/listening-test.js";
import { KINDS, loadSounds, soundsOf } from "./listen-trials.js";

const PAUSE_MS = 600; // pause before a word
const ADVICE = "Use headphones in a quiet room. Set the volume in the training, and do not change it in the test.";
const WHAT = {
  mushra: "You score sounds from 0 to 100, compared with a reference.",
  abx: "You find out which of two sounds a third one is.",
  drt: "You hear words, and choose between two words for each.",
};
const KEYS = {
  mushra: "Keys: 0 plays the reference, 1 to 9 a sound and selects its score, the arrows change the score, space pauses, Enter goes on.",
  abx: "Keys: A, B and X play, space pauses, 1 and 2 answer.",
  drt: "Keys: 1 and 2 answer.",
};

const screen = byId("screen");
const status = byId("status");
started();
const store = new Store(() => localStorage);
let keys = {};
let shown = null; // the trial on the page

/** Show elements in place of the screen, and focus the first heading. */
function show(...elements) {
  shown?.close();
  shown = null;
  keys = {};
  status.textContent = "";
  screen.replaceChildren(...elements);
  if (!store.lasting) screen.append(element("p", { className: "error" }, "This browser stores no progress: do not reload or close this page before the end of the test."));
  const heading = screen.querySelector("h2");
  if (heading) heading.tabIndex = -1;
  heading?.focus();
}

function fail(error) {
  status.className = "error";
  status.textContent = error.message;
}

function first(text, act) {
  const button = element("button", { type: "button", className: "first" }, text);
  button.addEventListener("click", act);
  return button;
}

// --- the screens ---------------------------------------------------------------------------------

function showStart(test) {
  const given = new URLSearchParams(location.search).get("listener");
  const last = `listening-test/${test.id}`;
  const name = element("input", { id: "listener", autocomplete: "off", value: given ?? store.getItem(last) ?? "" });
  const form = element("form", {},
    element("label", { htmlFor: "listener" }, "Your number or name in this test"), name,
    element("button", { className: "first" }, "Continue"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const listener = name.value.trim(); // keyboards of phones add a space
    if (!isName(listener)) return fail(new Error("Give a number or a name of 1 to 64 letters A to Z, digits and . _ - without spaces."));
    store.setItem(last, listener);
    const progress = new Progress(test, listener, store);
    if (progress.next === undefined) showEnd(progress);
    else if (progress.state.trained) showTrial(progress);
    else showTraining(progress, 0);
  });
  show(element("p", {}, WHAT[test.kind]), element("p", {}, ADVICE), form);
  name.focus();
}

async function showTraining(progress, index) {
  const { test } = progress, trial = test.training[index];
  const go = first("Start the test", () => {
    progress.begin();
    showTrial(progress);
  });
  if (trial === undefined) {
    return show(element("h2", {}, "End of the training"), element("p", {}, `The test has ${test.trials.length} trials. You can stop at any time and go on later in this browser.`), go);
  }
  const heading = `Training ${index + 1} of ${test.training.length}`;
  const next = () => showTraining(progress, index + 1);
  await showKind(progress, trial, heading, (given) => {
    if (trial.answer === undefined) return next();
    const right = given.choice === trial.answer;
    show(element("h2", {}, right ? "Right" : "Wrong"), element("p", {}, right ? "Your answer is right." : "The other answer is right.", " In the test, answers are not shown."), first("Continue", next));
    screen.querySelector("button").focus();
  });
}

async function showTrial(progress) {
  const trial = progress.next;
  if (trial === undefined) return showEnd(progress);
  const { test } = progress, number = progress.state.ratings.length + 1;
  const began = performance.now();
  await showKind(progress, trial, `Trial ${number} of ${test.trials.length}`, (given) => {
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    progress.rate({ trial: trial.id, ...given, seconds });
    showTrial(progress);
  });
}

async function showKind(progress, trial, heading, done) {
  const { test } = progress;
  show(element("h2", {}, heading));
  status.className = "";
  status.textContent = "Loading the sounds...";
  try {
    const sounds = await loadSounds(test, soundsOf(trial));
    const made = new KINDS[test.kind]({ trial, sounds, progress, done });
    show(element("h2", {}, heading), ...made.body, element("p", { className: "hint keys" }, KEYS[test.kind]));
    shown = made;
    keys = made.keys;
    if (made.begin) setTimeout(() => shown === made && made.begin(), PAUSE_MS);
  } catch (error) {
    fail(error);
    screen.append(first("Try again", () => showKind(progress, trial, heading, done)));
  }
}

function showEnd(progress) {
  const { test, submission } = progress, toSend = test.send && !progress.state.sent;
  const sent = "The ratings are sent. You can close this page.";
  const text = JSON.stringify(submission, null, 1);
  const save = element("a", { className: test.send ? "button" : "button first", download: `ratings-${test.id}-${progress.listener}.json`, href: URL.createObjectURL(new Blob([text], { type: "application/json" })) }, "Save the ratings");
  const send = first("Send the ratings", async () => {
    send.disabled = true;
    status.className = "";
    status.textContent = "Sending...";
    try {
      const body = JSON.stringify(submission), headers = { "Content-Type": "application/json" };
      const answer = await fetch(new URL(test.send, test.folder), { method: "POST", headers, body }).catch(() => null);
      if (!answer) throw new Error("no connection");
      if (!answer.ok) throw new Error(`status ${answer.status}: ${(await answer.text()).trim()}`);
      progress.change({ sent: true }); // also after a reload
      for (const done of [lead, send]) done.remove(); // a second press would send them again
      save.focus();
      status.textContent = sent;
    } catch (error) {
      fail(new Error(`The ratings could not be sent (${error.message}). Try again, or save them and send the file.`));
      send.disabled = false;
    }
  });
  const lead = element("p", {}, toSend ? "Send your ratings now." : test.send ? sent : "Save your ratings, and send the file to the person who runs the test.");
  show(element("h2", {}, "Thank you"), lead, element("div", { className: "row" }, ...(toSend ? [send] : []), save));
}

// --- the page ------------------------------------------------------------------------------------

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=range])")) return;
  if (event.target.matches("button, a") && [" ", "Enter"].includes(event.key)) return; // it is pressed
  const act = keys[event.key.toLowerCase()];
  if (!act || event.repeat) return;
  event.preventDefault();
  act();
});

const folder = new URLSearchParams(location.search).get("test") ?? document.querySelector("meta[name=listening-test]").content;
if (folder) {
  try {
    const test = await loadTest(folder);
    byId("title").textContent = test.title;
    document.title = test.title;
    showStart(test);
  } catch (error) {
    fail(error);
  }
} else {
  show(
    element("p", {}, "This page runs blind listening tests of codecs. The address of the page names the folder of a test: listen.html?test=FOLDER."),
    element("p", {}, "chirrup blind-test makes such a folder from the results of chirrup evaluate."));
}
