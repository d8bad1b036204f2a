// The page works without a network after its first load: the service worker keeps its files.

navigator.serviceWorker?.register(new URL("../service-worker.js", import.meta.url)).catch(() => {}); // private windows
