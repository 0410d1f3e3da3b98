// The gallery of `mediagate dev` in a real browser.

import assert from "node:assert/strict";

import { Chromium } from "../../clients/js/test/chromium.js";
import { test } from "../../clients/js/test/support.js";
import { eventually, picture, press, tabTo } from "./support.js";

const gallery = process.env.MEDIAGATE_GALLERY;
assert.ok(gallery, "MEDIAGATE_GALLERY is not set: run this by `cargo test --test it -- gallery`");

/** What somebody sees: the state of each tile, and how far the video is. Nothing, unless all are in one of `states`. */
function seen(uid, state) {
  const tiles = [...document.querySelectorAll(`#${uid} figure`)];
  if (tiles.length !== 4 || tiles.some((tile) => tile.dataset.state !== state)) return undefined;
  const video = document.querySelector(`#${uid} video`);
  return {
    words: tiles.map((tile) => tile.textContent.replace(/\s+/g, " ").trim()),
    pictures: [...document.querySelectorAll(`#${uid} img`)].map((image) => image.naturalWidth),
    time: video?.currentTime ?? 0,
    told: document.querySelector(`#${uid} .told`).textContent,
    stopped: tiles[3].dataset.stopped ?? "",
  };
}

/** The video of `uid` goes on from `time`. */
function runs(uid, time) {
  const video = document.querySelector(`#${uid} video`);
  return video !== null && video.error === null && !video.paused && video.currentTime > time;
}

test("bob's pictures and his running video die, alice's go on", async (t) => {
  const browser = await Chromium.start(t);
  const page = await browser.open(gallery);
  const now = (uid, state) => eventually(page, `${uid} is ${state}`, seen, uid, state);
  for (const uid of ["alice", "bob"]) {
    assert.deepEqual((await now(uid, "live")).pictures, [640, 640, 640], uid);
    await eventually(page, `the video of ${uid} runs`, runs, uid, 0.5);
  }
  await picture(page, "gallery-before");

  await tabTo(page, "Deactivate Bob");
  await press(page, "Enter");
  const dead = await now("bob", "dead");
  assert.deepEqual(dead.pictures, []);
  for (const words of dead.words) assert.match(words, /ERR_USER_DEACTIVATED: .* 403$/);
  assert.notEqual(dead.stopped, "", "the video has stopped with an error");
  // The pictures may be gone before the page has its receipt.
  await eventually(page, "the receipt is told", () =>
    /Deactivated: 1 of 1 nodes have it, the slowest after [\d.]+ ms/.test(document.querySelector("#bob .told").textContent),
  );
  const { time, words } = await now("alice", "live");
  assert.ok(words.every((word) => word.endsWith("opens")), words.join());
  await eventually(page, "the video of alice goes on", runs, "alice", time + 1);
  await picture(page, "gallery-after");

  await tabTo(page, "Reactivate Bob");
  await press(page, "Enter");
  assert.deepEqual((await now("bob", "live")).pictures, [640, 640, 640]);
  await eventually(page, "the video of bob runs again", runs, "bob", 0.5);
});

test("who is deactivated is not let in by a page that is opened then", async (t) => {
  const browser = await Chromium.start(t);
  const page = await browser.open(gallery);
  await eventually(page, "bob is let in", seen, "bob", "live");
  await page.run(() => document.querySelector("#bob .deactivate").click());
  await eventually(page, "it is done", () => document.querySelector("#bob .told").textContent !== "");
  const other = await browser.open(gallery);
  const { words } = await eventually(other, "bob is not let in", seen, "bob", "dead");
  for (const word of words) assert.match(word, /Nobody is let in as this user/);
  await eventually(other, "alice is", seen, "alice", "live");
  await other.run(() => document.querySelector("#bob .reactivate").click());
  await eventually(other, "bob is let in again", seen, "bob", "live");
});
