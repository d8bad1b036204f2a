// Keeps the files of the page, so that it works without a network after its first load.
// modules/models.js keeps the programs of models. `chirrup.serve.assets` fills in the two constants:
// a changed file changes this script, so browsers fetch all files again and use them from the next
// load on.

const VERSION = "";
const FILES = [];

const PREFIX = `chirrup-page ${registration.scope} `, CACHE = PREFIX + VERSION;
const addresses = new Map(FILES.map((path) => [new URL(path, registration.scope).pathname, path]));
addresses.set(new URL(registration.scope).pathname, "index.html");

addEventListener("install", (event) => event.waitUntil(keep()));
addEventListener("activate", (event) => event.waitUntil(begin()));
addEventListener("fetch", (event) => {
  const { method, url } = event.request, { origin, pathname } = new URL(url), path = addresses.get(pathname);
  if (method === "GET" && origin === location.origin && path) event.respondWith(answer(event.request, path));
});

async function keep() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((path) => new Request(path, { cache: "no-cache" })));
  await skipWaiting();
}

/** Delete the files of other versions, and serve the pages that are open. */
async function begin() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
  await clients.claim();
}

async function answer(request, path) {
  const cache = await caches.open(CACHE);
  return (await cache.match(path)) ?? fetch(request);
}
