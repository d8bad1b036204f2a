// Browsers start no worker from a file. If the site is opened without a server, the search runs in
// a hidden frame, which has the interface of a worker. Each side receives a copy of a message, as
// from a worker: the search changes the query that it receives, and the page shows its own query.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.documentElement.append(this.frame);
      const inner = this.frame.contentWindow;
      inner.postMessage = (data) => {
        const message = new MessageEvent("message", { data: structuredClone(data) });
        setTimeout(() => this.receive(message));
      };
      const script = inner.document.createElement("script");
      this.loaded = new Promise((done) => script.addEventListener("load", done));
      script.addEventListener("error", () => this.onerror?.(new Event("error")));
      script.src = url;
      inner.document.head.append(script);
    }
    postMessage(data) {
      const message = new MessageEvent("message", { data: structuredClone(data) });
      this.loaded.then(() => this.frame.contentWindow?.dispatchEvent(message));
    }
    receive(message) {
      this.onmessage?.(message);
      this.dispatchEvent(message);
    }
    terminate() {
      this.frame.remove();
    }
  };
}
