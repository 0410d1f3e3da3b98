// The client, and what it hands out, in a real browser: pages of another site than the gate's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { SecureMediaMode } from "../mediagate.js";
import { Chromium } from "./chromium.js";
import { Gate, MODES, example, isMe, me, plant, platform, test } from "./support.js";
import { HOSTS } from "./urls.js";

const gate = new Gate();
const picture = gate.file("picture.png");
const { Embedded, HeaderBased, Presigned } = SecureMediaMode;

const PAGE = '<!doctype html><script type="module" src="/page.js"></script>';

const FILES = {
  "/mediagate.js": new URL("../mediagate.js", import.meta.url),
  "/page.js": new URL("page.js", import.meta.url),
};

/** Opens pages in a browser of the test's own, on a site that has them and the client. `html` is at `/`. */
async function pages(t, html = PAGE) {
  const [browser, server] = await Promise.all([
    Chromium.start(t),
    plant(t, async ({ url }) => {
      if (url === "/") return [200, html, { "Content-Type": "text/html" }];
      // Browsers ask for an icon.
      if (FILES[url] === undefined) return [404, ""];
      return [200, await readFile(FILES[url]), { "Content-Type": "text/javascript" }];
    }),
  ]);
  return () => browser.open(server.origin.replace("127.0.0.1", "localhost"));
}

test("a page opens media in every mode, until its user is deactivated", async (t) => {
  const open = await pages(t);
  const page = await open();
  const { control } = gate;
  const links = [];
  const tokens = {};
  for (const uid of ["stays-in-page", "goes-from-page"]) {
    const authToken = await gate.register(uid);
    tokens[uid] = authToken;
    for (const mode of MODES) {
      const seen = await page.run((how) => window.openIn(how), { control, authToken, mode, url: picture });
      links.push(...seen.links.splice(0));
      const isHeaderBased = mode === HeaderBased;
      const fetched = isHeaderBased ? 200 : 401;
      assert.deepEqual(seen, { uid, isSecure: true, isHeaderBased, opened: [200, 640, 360], fetched, links: [] }, mode);
    }
  }
  const asked = page.requests.filter(({ method }) => method === "OPTIONS").map(({ url }) => url);
  assert.ok(asked.includes(picture) && asked.includes(`${control}/v3.0/me`), asked.join());

  // Of each user an embedded link, and a presigned URL got in each mode.
  const [stays, goes] = [links.slice(0, 4), links.slice(4)];
  assert.deepEqual([links.length, links.filter((link) => link.includes("?fat=")).length], [8, 2]);
  const look = (page, urls) => page.run((urls) => window.look(urls), urls);
  const loads = Array(4).fill({ width: 640, status: 200 });
  const dead = Array(4).fill({ width: 0, status: 403 });
  assert.deepEqual(await look(await open(), links), [...loads, ...loads]);
  await gate.deactivate("goes-from-page");
  assert.deepEqual(await look(page, [...stays, ...goes]), [...loads, ...dead]);
  assert.deepEqual(await look(await open(), [...stays, ...goes]), [...loads, ...dead]);
  // What refuses says why, to pages of other sites, too.
  const login = (uid) =>
    page.run((how) => window.failure(how), { control, authToken: tokens[uid], mode: Embedded, url: picture });
  assert.deepEqual(await login("goes-from-page"), {
    kind: "Refused",
    status: 401,
    code: "AUTH_ERR_AUTH_TOKEN_NOT_FOUND",
  });
  assert.equal(await login("stays-in-page"), null);
  await gate.activate("goes-from-page");
  assert.deepEqual(await look(await open(), goes), loads);
});

test("the README's example shows a picture", async (t) => {
  const authToken = await gate.register("reads");
  const html = example("html")
    .replace("http://127.0.0.1:8081", gate.control)
    .replace("http://127.0.0.1:8080", gate.media)
    .replace('prompt("auth token")', JSON.stringify(authToken));
  const page = await (await pages(t, html))();
  const shown = await page.run(async () => {
    const image = document.getElementById("picture");
    if (!image.complete || !image.src) await new Promise((done) => image.addEventListener("load", done));
    return [image.naturalWidth, image.src];
  });
  assert.equal(shown[0], 640);
  assert.match(shown[1], /Uid=reads/);
});

test("a video is sought in through an embedded link", async (t) => {
  const page = await (await pages(t))();
  const client = await gate.client(Embedded, await gate.register("watches"));
  const url = await client.mediaUrl(gate.file("clip.mp4"));
  assert.deepEqual(await page.run((url) => window.watch(url), url), { duration: 15, width: 160, time: 13.5 });
  const answers = page.answers.filter((answer) => answer.url === url);
  const begins = answers.map(({ range }) => Number(/^bytes (\d+)-/.exec(range)?.[1]));
  assert.ok(answers.length > 1 && answers.every(({ status }) => status === 206), JSON.stringify(answers));
  assert.ok(Math.max(...begins) > 1_000_000, `${begins}`);
});

test("what a client opens, a browser does not keep for others", async (t) => {
  const page = await (await pages(t))();
  const server = await platform(t, ({ method }) => [
    method === "OPTIONS" ? 204 : 200,
    "x",
    { "Cache-Control": "max-age=600" },
  ]);
  const how = { control: server.origin, authToken: "a_1", url: server.url("/a") };
  for (const mode of [Embedded, HeaderBased]) await page.run((how) => window.openTwice(how), { ...how, mode });
  const asked = server.requests.filter(({ method, url }) => method === "GET" && url.startsWith("/a"));
  assert.equal(asked.length, 4);
  // The page's own request asks, and the next one like it does not: this browser does keep things.
  await page.run(async (url) => [await (await fetch(url)).text(), await (await fetch(url)).text()], how.url);
  assert.equal(server.requests.filter(({ method, url }) => method === "GET" && url === "/a").length, 2 + 1);
});

test("hosts are compared whole by the browser's URL parser", async (t) => {
  const page = await (await pages(t))();
  const server = await plant(t, ({ method, url }) => {
    return method === "OPTIONS" ? [204, ""] : [200, me({ host: decodeURIComponent(url.split("/")[1]) })];
  });
  const outcomes = await page.run((...args) => window.compare(...args), server.origin, HOSTS);
  for (const [at, [host, url, expected]] of HOSTS.entries()) assert.equal(outcomes[at], expected, `${host} ${url}`);
});

test("in a page, too, no redirect is followed and no answer is believed", async (t) => {
  const page = await (await pages(t))();
  const foreign = await plant(t, () => [200, {}]);
  const media = {
    "/away": [302, "", { Location: foreign.origin }],
    "/no-json": [200, "no JSON"],
    "/script": [200, { data: { url: "javascript:document.title='run'" } }],
    "/endless": [200, " ".repeat(300_000)],
    "/refused": [403, { error: { code: "ERR_PATH_NOT_ALLOWED", message: "m" } }],
  };
  const server = await platform(t, ({ method, url }) => (method === "OPTIONS" ? [204, ""] : media[url.split("?")[0]]));
  const mute = await plant(t, (request) => {
    if (request.method === "OPTIONS") return [204, ""];
    return isMe(request) ? [200, me({ host: request.headers.host })] : undefined;
  });
  const fail = ({ origin, url }, path, answerTimeout) => {
    const how = { control: origin, authToken: "a_1", mode: Presigned, url: url(path), answerTimeout };
    return page.run((how) => window.failure(how), how);
  };
  assert.deepEqual(await fail(server, "/away"), { kind: "Refused", status: 0, code: "" });
  assert.deepEqual(await fail(server, "/no-json"), { kind: "Answer" });
  assert.deepEqual(await fail(server, "/script"), { kind: "Answer" });
  assert.deepEqual(await fail(server, "/endless"), { kind: "TooLarge" });
  assert.deepEqual(await fail(server, "/refused"), { kind: "Refused", status: 403, code: "ERR_PATH_NOT_ALLOWED" });
  assert.deepEqual(await fail(mute, "/a", 2000), { kind: "Timeout" });
  assert.deepEqual(await fail({ origin: "http://localhost:9", url: String }, "/"), { kind: "Unreachable" });
  assert.equal(foreign.requests.length, 0);
  assert.equal(await page.run(() => document.title), "");
});
