// Players and pages in a real browser. Where the gates and the sites are, the test that started this has said.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test as register } from "node:test";

import { Chromium } from "../../clients/js/test/chromium.js";

/** Longer than anything here takes; a test that waits for it has failed. */
const TIMEOUT = 60_000;

assert.ok(process.env.MEDIAGATE_PLAYERS, "MEDIAGATE_PLAYERS is not set: run this by `cargo test --test it -- players`");
const { sites, plain, tls, alice, bob, expired, downloads } = JSON.parse(process.env.MEDIAGATE_PLAYERS);
const [own, other] = sites;

const test = (name, run) => register(name, { timeout: TIMEOUT }, run);

/** What a page does; each function returns what it has seen. */
const shows = (url) =>
  new Promise((resolve) => {
    const image = document.body.appendChild(document.createElement("img"));
    image.onload = () => resolve(image.naturalWidth);
    image.onerror = () => resolve(0);
    image.src = url;
  });

const seeks = async (url) => {
  const video = document.body.appendChild(document.createElement("video"));
  const event = (name) =>
    new Promise((resolve, reject) => {
      video.addEventListener(name, resolve, { once: true });
      video.addEventListener("error", () => reject(new Error(`${name}: ${video.error?.message}`)), { once: true });
    });
  video.preload = "metadata";
  video.src = url;
  await event("loadeddata");
  video.currentTime = 13.5;
  await event("seeked");
  return [video.videoWidth, video.duration, video.currentTime];
};

/** Plays the end of a playlist with hls.js, whose requests bring cookies along. */
const plays = (url) =>
  new Promise((resolve) => {
    const video = document.body.appendChild(document.createElement("video"));
    video.muted = true;
    const once = { maxTimeToFirstByteMs: 30_000, maxLoadTimeMs: 30_000, timeoutRetry: null, errorRetry: null };
    const xhrSetup = (xhr) => (xhr.withCredentials = true);
    const hls = new Hls({ xhrSetup, fragLoadPolicy: { default: once } });
    hls.on(Hls.Events.ERROR, (_, { fatal, details, response }) => {
      if (fatal) resolve([details, response?.code ?? 0]);
    });
    video.addEventListener("ended", () => resolve(["ended", video.videoWidth]), { once: true });
    video.addEventListener("canplay", () => video.play(), { once: true });
    hls.loadSource(url);
    hls.attachMedia(video);
    video.currentTime = 4.5;
  });

const link = (gate, path, token) => `${gate}/demo/${path}?fat=${token}`;

const segmentsOf = (page) => page.answers.filter(({ url }) => /\.(m4s|mp4)$/.test(new URL(url).pathname));

const cookies = async (page, url) => (await page.send("Network.getCookies", { urls: [url] })).cookies;

test("an image of another site is shown", async (t) => {
  const page = await (await Chromium.start(t)).open(other);
  assert.equal(await page.run(shows, link(plain, "media/picture.png", alice)), 640);
  assert.equal(await page.run(shows, link(plain, "media/picture.png", expired)), 0);
  assert.equal(await page.run(shows, `${link(plain, "media/page.html", alice)}`), 0);
});

test("a video is sought in", async (t) => {
  const page = await (await Chromium.start(t)).open(other);
  assert.deepEqual(await page.run(seeks, link(plain, "media/clip.mp4", alice)), [160, 15, 13.5]);
  const begins = page.answers
    .filter(({ url }) => url.includes("clip.mp4"))
    .map(({ status, range }) => status === 206 && Number(/^bytes (\d+)-/.exec(range)[1]));
  assert.ok(begins.length > 1 && Math.max(...begins) > 1_000_000, `${begins}`);
});

test("a playlist plays on the gate's own site, again after a reload, and for whoever logs in next", async (t) => {
  const browser = await Chromium.start(t);
  const playlist = (token) => link(plain, "hls/index.m3u8", token);
  const segment = `${plain}/demo/hls/part0.m4s`;
  const pages = [];
  // The second time the browser sends its cookie beside the link; then a link of somebody else's.
  for (const token of [alice, alice, bob]) {
    const page = await browser.open(own);
    assert.deepEqual(await page.run(plays, playlist(token)), ["ended", 160]);
    const segments = segmentsOf(page);
    assert.ok(segments.length > 1 && segments.every(({ status }) => status === 200), JSON.stringify(segments));
    assert.ok(segments.every(({ url }) => !url.includes("fat")));
    const [cookie, ...more] = await cookies(page, segment);
    assert.deepEqual(more, []);
    const { name, value, path, httpOnly, secure, sameSite, session } = cookie;
    assert.deepEqual(
      { name, value, path, httpOnly, secure, sameSite, session },
      { name: "fat", value: `${token}~`, path: "/demo/hls/", httpOnly: true, secure: false, sameSite: "Lax", session: false },
    );
    assert.deepEqual(await cookies(page, `${plain}/demo/media/picture.png`), []);
    pages.push(page);
  }
  // Without the cookie nothing of it is open, and a page of another site does not bring it along over HTTP.
  const elsewhere = await browser.open(other);
  assert.deepEqual(await elsewhere.run(plays, playlist(alice)), ["fragLoadError", 401]);
});

test("a playlist plays on another site over TLS", async (t) => {
  const browser = await Chromium.start(t, ["--ignore-certificate-errors"]);
  const page = await browser.open(other);
  assert.deepEqual(await page.run(plays, link(tls, "hls/index.m3u8", alice)), ["ended", 160]);
  assert.deepEqual(await page.run(plays, link(tls, "hls/index.m3u8", bob)), ["ended", 160]);
  const segments = segmentsOf(page);
  assert.ok(segments.length > 1 && segments.every(({ status }) => status === 200), JSON.stringify(segments));
  const [{ value, secure, httpOnly, sameSite, partitionKey }] = await cookies(page, `${tls}/demo/hls/part0.m4s`);
  assert.deepEqual([value, secure, httpOnly, sameSite], [`${bob}~`, true, true, "None"]);
  assert.equal(partitionKey?.topLevelSite, "http://localhost");
});

test("a download is saved under its name, and active content is never shown", async (t) => {
  const browser = await Chromium.start(t);
  await browser.send("Browser.setDownloadBehavior", {
    behavior: "allowAndName",
    downloadPath: downloads,
    eventsEnabled: true,
  });
  const page = await browser.open(own);
  const saved = async (url) => {
    const begun = browser.next("Browser.downloadWillBegin");
    const ended = browser.next("Browser.downloadProgress", ({ state }) => state !== "inProgress");
    await page.run((url) => {
      document.body.appendChild(Object.assign(document.createElement("a"), { href: url })).click();
    }, url);
    const { guid, suggestedFilename } = await begun;
    assert.equal((await ended).state, "completed");
    return [suggestedFilename, (await readFile(join(downloads, guid), "utf8")).slice(0, 8)];
  };
  const text = link(plain, "media/readme.txt", alice);
  assert.deepEqual(await saved(`${text}&download=1`), ["readme.txt", "This tex"]);
  assert.deepEqual(await saved(`${text}&download=our+${encodeURIComponent("文")}.exe`), ["our 文.exe.txt", "This tex"]);
  assert.deepEqual(await saved(link(plain, "media/page.html", alice)), ["page.html", "<script>"]);
  assert.equal(await page.run(() => document.title), "");
});

test("who opens an expired link is told what to do", async (t) => {
  const browser = await Chromium.start(t);
  const look = (scheme) => {
    const { lang, title } = { lang: document.documentElement.lang, title: document.title };
    const main = document.querySelector("main");
    const { backgroundColor, borderTopLeftRadius } = getComputedStyle(main);
    return { scheme, lang, title, text: main.innerText, backgroundColor, borderTopLeftRadius };
  };
  const page = await browser.open(link(plain, "media/picture.png", expired));
  const seen = [];
  for (const value of ["light", "dark"]) {
    await page.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
    seen.push(await page.run(look, value));
    if (process.env.MEDIAGATE_SCREENSHOTS) {
      const { writeFile } = await import("node:fs/promises");
      const { data } = await page.send("Page.captureScreenshot", {});
      await writeFile(join(process.env.MEDIAGATE_SCREENSHOTS, `${value}.png`), Buffer.from(data, "base64"));
    }
  }
  const [light, dark] = seen;
  assert.deepEqual([light.lang, light.title], ["en", "This link has expired"]);
  assert.match(light.text, /^This link has expired\n+.*reload it, and open the file again.*ask for a new one\./s);
  assert.match(light.text, /401 ERR_FAT_EXPIRED/);
  assert.deepEqual([light.backgroundColor, light.borderTopLeftRadius], ["rgb(255, 255, 255)", "12px"]);
  assert.deepEqual([dark.backgroundColor, dark.text], ["rgb(31, 36, 42)", light.text]);
  const whole = await page.run(() => document.documentElement.outerHTML);
  assert.ok(!whole.includes(expired.slice(0, 20)));
  const [{ status, type }] = page.answers;
  assert.deepEqual([status, type], [401, "Document"]);
});
