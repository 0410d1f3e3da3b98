// The dashboard in a real browser, by a person who has a keyboard and no mouse.

import assert from "node:assert/strict";
import { createServer } from "node:http";

import { Chromium } from "../../clients/js/test/chromium.js";
import { Gate, test } from "../../clients/js/test/support.js";
import { eventually, picture, press, tabTo, type } from "./support.js";

const gate = new Gate();

/** The page, once it is at `path` and whole: its title and what it tells. */
function at(page, path) {
  return eventually(
    page,
    path,
    (path) => {
      if (location.pathname !== path || document.readyState !== "complete") return undefined;
      const notice = document.querySelector(".notice");
      return {
        title: document.title,
        notice: notice?.textContent ?? "",
        text: document.querySelector("main").textContent,
      };
    },
    path,
  );
}

/** A page that was left for another of the same path. */
async function changed(page, path, word) {
  await eventually(page, word, (word) => document.querySelector(".notice")?.textContent.includes(word), word);
  return at(page, path);
}

test("a user is found, deactivated and reactivated with the keyboard alone", async (t) => {
  for (let n = 1; n <= 12; n++) await gate.call("POST", "/users", { uid: `user${n}`, name: `Person <b>${n}</b>` });
  await gate.call("POST", "/users/bob/auth_tokens", { platform: "phone", userAgent: "chat/1.0" });
  await gate.deactivate("user3", "user7");
  const { fat } = await gate.call("POST", "/users/bob/fat", {});
  const open = async (fat = "") => (await fetch(`${gate.file("readme.txt")}?fat=${fat}`)).status;
  assert.deepEqual([await open(fat), await open(), await open("x")], [200, 401, 401]);

  const browser = await Chromium.start(t);
  const page = await browser.open(`${gate.control}/dashboard`);
  assert.equal((await at(page, "/dashboard/login")).title, "Log in to mediagate · mediagate");
  await picture(page, "login", 700);
  await tabTo(page, "App");
  await type(page, "demo");
  await tabTo(page, "API key");
  await type(page, "no key");
  await press(page, "Enter");
  await eventually(page, "the key is refused", () => document.querySelector("[role=alert]") !== null);
  await picture(page, "refused", 700);
  // The field has the focus again, and the app is still there.
  await eventually(page, "it has", () => document.activeElement.id === "key" && document.getElementById("app").value === "demo");
  await type(page, gate.apikey);
  await press(page, "Enter");
  const home = await at(page, "/dashboard");
  assert.match(home.text, /Requests in the last hour/);
  // The style has come, and what the policy forbids is not asked for.
  assert.equal(await page.run(() => getComputedStyle(document.querySelector(".skip")).position), "absolute");
  await picture(page, "overview");
  await tabTo(page, "Skip to the content");
  await press(page, "Enter");
  assert.equal(await page.run(() => document.activeElement.id), "content");

  await page.run(() => document.activeElement.blur());
  await tabTo(page, "Users");
  await press(page, "Enter");
  assert.match((await at(page, "/dashboard/users")).text, /14 users/);
  await picture(page, "users");
  await tabTo(page, "Uid or name begins with");
  await type(page, "BO");
  await press(page, "Enter");
  await eventually(page, "one is found", () => location.search.includes("BO") && document.readyState === "complete");
  assert.match((await at(page, "/dashboard/users")).text, /Search1 user(?!s)/);
  await tabTo(page, "Deactivate bob");
  await press(page, "Enter");
  const dead = await changed(page, "/dashboard/user", "deactivated now");
  assert.match(dead.notice, /bob is deactivated now\..*1 of 1 nodes have it, the slowest after [\d.]+ ms/);
  await eventually(page, "what is told has the focus", () => document.activeElement.className === "notice");
  await picture(page, "user");
  assert.equal(await open(fat), 403);
  await tabTo(page, "Reactivate bob");
  await press(page, "Enter");
  await changed(page, "/dashboard/user", "active now");
  assert.equal(await open(fat), 200);

  await tabTo(page, "Explain a URL");
  await press(page, "Enter");
  await at(page, "/dashboard/explain");
  await tabTo(page, "The whole URL");
  await type(page, `${gate.file("picture.png")}?fat=${fat}`);
  await press(page, "Enter");
  assert.match((await changed(page, "/dashboard/explain", "let through")).notice, /bob/);
  await picture(page, "explain");
  for (const [name, path] of [
    ["Access", "/dashboard/access"],
    ["Nodes", "/dashboard/nodes"],
  ]) {
    await tabTo(page, name);
    await press(page, "Enter");
    await at(page, path);
    await picture(page, name.toLowerCase());
  }
  await tabTo(page, "Log out");
  await press(page, "Enter");
  await at(page, "/dashboard/login");
  // Nothing was asked of anybody else, and all that was asked for is there.
  assert.ok(page.requests.every(({ url }) => url.startsWith(`${gate.control}/dashboard`)), JSON.stringify(page.requests));
  const failed = page.answers.filter(({ status, url }) => status >= 400 && !url.endsWith("/login"));
  assert.deepEqual(failed, []);
});

test("another site's form, and its script, get nowhere", async (t) => {
  const browser = await Chromium.start(t);
  const page = await browser.open(`${gate.control}/dashboard/login`);
  await tabTo(page, "API key");
  await type(page, gate.apikey);
  await press(page, "Enter");
  await at(page, "/dashboard");
  // The same browser, a page of another origin: one that knows everything but what the session's forms say.
  const site = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html><title>Evil</title>"));
  await new Promise((listening) => site.listen(0, "127.0.0.1", listening));
  t.after(() => site.close());
  const evil = await browser.open(`http://127.0.0.1:${site.address().port}/`);
  const seen = await evil.run(async (control) => {
    const read = (path, how) => fetch(control + path, { credentials: "include", ...how }).then(({ status }) => status, () => 0);
    const body = new URLSearchParams({ uid: "bob" });
    return [await read("/dashboard"), await read("/v3/users"), await read("/dashboard/user/deactivate", { method: "POST", body })];
  }, gate.control);
  assert.deepEqual(seen, [0, 0, 0]);
  await evil.run((control) => {
    const form = document.body.appendChild(document.createElement("form"));
    form.method = "post";
    form.action = `${control}/dashboard/user/deactivate`;
    form.append(Object.assign(document.createElement("input"), { name: "uid", value: "bob" }));
    form.submit();
  }, gate.control);
  await eventually(evil, "it is refused", () => document.title.startsWith("Not from here"));
  const { fat } = await gate.call("POST", "/users/bob/fat", {});
  assert.equal((await fetch(`${gate.file("readme.txt")}?fat=${fat}`)).status, 200);
});
