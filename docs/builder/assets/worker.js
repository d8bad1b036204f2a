// Browsers start no worker from a file. If the site is opened without a server, the search runs in
// a hidden frame, which has the interface of a worker.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.documentElement.append(this.frame);
      const inner = this.frame.contentWindow;
      inner.postMessage = (data) => setTimeout(() => this.receive(data));
      const script = inner.document.createElement("script");
      this.loaded = new Promise((done) => script.addEventListener("load", done));
      script.addEventListener("error", () => this.onerror?.(new Event("error")));
      script.src = url;
      inner.document.head.append(script);
    }
    postMessage(data) {
      const message = new MessageEvent("message", { data });
      this.loaded.then(() => this.frame.contentWindow?.dispatchEvent(message));
    }
    receive(data) {
      const message = new MessageEvent("message", { data });
      this.onmessage?.(message);
      this.dispatchEvent(message);
    }
    terminate() {
      this.frame.remove();
    }
  };
}
