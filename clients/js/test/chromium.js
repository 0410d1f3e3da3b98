// A headless Chromium, driven by the DevTools protocol through a pipe: no port, no WebSocket, no dependency. It ends with
// the process that has started it, whichever way that ends.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FLAGS = [
  "--headless",
  "--remote-debugging-pipe",
  "--no-first-run",
  "--no-default-browser-check",
  "--disable-gpu",
  // Containers have a small /dev/shm, and no namespaces for a sandbox.
  "--disable-dev-shm-usage",
  "--no-sandbox",
  // Nothing goes to anybody but the gate.
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-proxy-server",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
  "--autoplay-policy=no-user-gesture-required",
  "--mute-audio",
];

export class Chromium {
  #process;
  #profile;
  #said = "";
  #ended;
  #answers = new Map();
  #pages = new Map();
  #waiting = new Set();
  #calls = 0;

  /** Starts the browser, until the test `t` ends, with `more` flags. */
  static async start(t, more = []) {
    const browser = new Chromium();
    browser.#profile = await mkdtemp(join(tmpdir(), "mediagate-chromium-"));
    t.after(() => browser.#end());
    const args = [...FLAGS, ...more, `--user-data-dir=${browser.#profile}`, "about:blank"];
    const child = spawn(process.env.CHROMIUM ?? "chromium", args, {
      stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
    });
    browser.#process = child;
    child.stderr.on("data", (data) => {
      browser.#said += data;
    });
    child.stdio[3].on("error", () => {});
    const gone = (why) => browser.#gone(`chromium ${why} (scripts/install-deps.sh test installs it): ${browser.#said}`);
    child.on("error", (error) => gone(error.code));
    child.on("exit", (code, signal) => gone(`ended with ${code ?? signal}`));
    let text = "";
    child.stdio[4].setEncoding("utf8").on("data", (data) => {
      const messages = (text + data).split("\0");
      text = messages.pop();
      for (const message of messages) browser.#hear(JSON.parse(message));
    });
    return browser;
  }

  /** Opens `url` in a page of its own. */
  async open(url) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    this.#pages.set(sessionId, page);
    await page.send("Network.enable");
    await page.send("Page.enable");
    await page.send("Page.setLifecycleEventsEnabled", { enabled: true });
    const { loaderId } = await page.send("Page.navigate", { url });
    await page.load(loaderId).ended;
    return page;
  }

  /** Makes a call of the protocol; returns its result. */
  send(method, params = {}, sessionId = undefined) {
    if (this.#ended !== undefined) return Promise.reject(new Error(this.#ended));
    const id = ++this.#calls;
    this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#answers.set(id, { method, resolve, reject }));
  }

  /** Waits for an event of the browser's own that `is` what is waited for; returns what it says. */
  next(method, is = () => true) {
    return new Promise((resolve) => this.#waiting.add({ method, is, resolve }));
  }

  #hear({ id, result, error, method, params, sessionId }) {
    if (id === undefined && sessionId === undefined) {
      for (const waiting of this.#waiting) {
        if (waiting.method !== method || !waiting.is(params)) continue;
        this.#waiting.delete(waiting);
        waiting.resolve(params);
      }
      return;
    }
    if (id === undefined) return this.#pages.get(sessionId)?.hear(method, params);
    const answer = this.#answers.get(id);
    this.#answers.delete(id);
    if (error === undefined) answer.resolve(result);
    else answer.reject(new Error(`${answer.method}: ${error.message}`));
  }

  #gone(why) {
    this.#ended ??= why;
    for (const { reject } of this.#answers.values()) reject(new Error(why));
    this.#answers.clear();
  }

  async #end() {
    const child = this.#process;
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      // Its helpers go with it when the pipe closes.
      child.stdio[3].end();
      await ended;
    }
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A page, and what it has asked the network for. */
class Page {
  #browser;
  #session;
  #loads = new Map();
  /** Every answer: `{ url, status, type, range }`. */
  answers = [];
  /** Every request: `{ url, method, type }`; `Preflight` is a type. */
  requests = [];

  constructor(browser, session) {
    this.#browser = browser;
    this.#session = session;
  }

  /** The loading of a document: `ended` is a promise, `end` fulfils it. */
  load(loaderId) {
    if (!this.#loads.has(loaderId)) {
      let end;
      const ended = new Promise((resolve) => {
        end = resolve;
      });
      this.#loads.set(loaderId, { ended, end });
    }
    return this.#loads.get(loaderId);
  }

  send(method, params) {
    return this.#browser.send(method, params, this.#session);
  }

  hear(method, params) {
    if (method === "Page.lifecycleEvent" && params.name === "load") this.load(params.loaderId).end();
    if (method === "Network.requestWillBeSent") {
      const {
        request: { url, method: verb },
        type,
      } = params;
      this.requests.push({ url, method: verb, type });
    }
    if (method === "Network.responseReceived") {
      const {
        response: { url, status, headers },
        type,
      } = params;
      const field = Object.entries(headers).find(([name]) => name.toLowerCase() === "content-range");
      this.answers.push({ url, status, type, range: field?.[1] });
    }
  }

  /** Calls `task` with `args` in the page; returns what comes of it, both as JSON. */
  async run(task, ...args) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression: `(${task})(...${JSON.stringify(args)})`,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails)
      throw new Error(`in the page: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }
}
