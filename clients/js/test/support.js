// What the tests share: servers that do what they are told, and the control listener of the real gate.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { test as register } from "node:test";

import { Client, SecureMediaMode } from "../mediagate.js";

/** Longer than anything here takes; a test that waits for it has failed. */
const TIMEOUT = 60_000;

export function test(name, run) {
  register(name, { timeout: TIMEOUT }, run);
}

export const MODES = Object.values(SecureMediaMode);

export function now() {
  return Math.floor(Date.now() / 1000);
}

/** The example in this language that the README has. */
export function example(language) {
  const text = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  return new RegExp(`\n\`\`\`${language}\n([^]*?)\n\`\`\`\n`).exec(text)[1];
}

/** What a page on another site may do with the answers of a planted server. */
export const ANY_SITE = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Headers": "accept, appid, authtoken, fat",
  "Access-Control-Allow-Methods": "GET, PUT, DELETE",
};

/** A server on a free port, until the test `t` ends. `answer` returns `[status, body, headers]`, or answers itself. */
export async function plant(t, answer) {
  const requests = [];
  const server = createServer(async (request, response) => {
    requests.push({ method: request.method, url: request.url, headers: request.headers });
    const said = await answer(request, response);
    if (said === undefined) return;
    const [status, body, headers = {}] = said;
    response.writeHead(status, { "Content-Type": "application/json", ...ANY_SITE, ...headers });
    response.end(typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${server.address().port}`;
  return { host, origin: `http://${host}`, requests, url: (path) => `http://${host}${path}` };
}

export function isMe(request) {
  return request.url === "/v3.0/me";
}

/** The reply to a login. */
export function me({ host, fat = "fat-of-alice", expiresAt = now() + 600, uid = "alice", ...more }) {
  const settings = { CLIENT_API_HOST: "api.example", CHAT_API_VERSION: "v3.0", SECURED_MEDIA_HOST: host };
  return { data: { uid, name: "Alice", fat, fatExpiresAt: expiresAt, settings, ...more } };
}

/** Lets everybody in, and answers requests for media with `media`. */
export function platform(t, media) {
  return plant(t, (request, response) => {
    if (isMe(request)) return [200, me({ host: request.headers.host })];
    return media(request, response);
  });
}

/** A client of a planted server. */
export function client({ origin }, mode, more = {}) {
  return new Client({ control: origin, app: "demo", mode, ...more });
}

/** How many requests a planted server has had with this method, for `/me` or for media. */
export function count({ requests }, method, ofMe) {
  return requests.filter((request) => request.method === method && isMe(request) === ofMe).length;
}

/** The real gate. Where it is, the test that started it has said. */
export class Gate {
  constructor() {
    for (const name of ["media", "control", "apikey"]) {
      this[name] = process.env[`MEDIAGATE_${name.toUpperCase()}`];
      assert.ok(
        this[name],
        `MEDIAGATE_${name.toUpperCase()} is not set: run this by \`cargo test --test it -- js_client\``,
      );
    }
  }

  /** The URL of a sample file. */
  file(name) {
    return `${this.media}/demo/media/${name}`;
  }

  /** Makes a call with the API key; returns what came back. */
  async call(method, path, body) {
    const headers = { apikey: this.apikey, "Content-Type": "application/json" };
    const answer = await fetch(`${this.control}/v3${path}`, { method, headers, body: JSON.stringify(body) });
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    return JSON.parse(text).data;
  }

  /** Registers a user; returns an auth token of the user's. */
  async register(uid) {
    return (await this.call("POST", "/users", { uid, name: uid, withAuthToken: true })).authToken;
  }

  /** Deactivates users; it is in force when this returns. */
  deactivate(...uids) {
    return this.call("DELETE", "/users", { uidsToDeactivate: uids });
  }

  activate(...uids) {
    return this.call("PUT", "/users", { uidsToActivate: uids });
  }

  /** Somebody who is logged in. */
  async client(mode, authToken) {
    const client = new Client({ control: this.control, app: "demo", mode });
    await client.login(authToken);
    return client;
  }
}
