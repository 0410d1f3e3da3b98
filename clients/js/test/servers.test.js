// The client against servers that count, wait, and refuse.

import assert from "node:assert/strict";

import { Client, SecureMediaMode } from "../mediagate.js";
import { MODES, client, count, isMe, me, now, plant, platform, test } from "./support.js";
import { CREDENTIALS, HOSTS, NO_HOSTS } from "./urls.js";

const { Embedded, HeaderBased, Presigned } = SecureMediaMode;

/** Fifty calls at a time. */
const many = (call) => Promise.allSettled(Array.from({ length: 50 }, call));

/** What a media listener hands out. */
const handout = ({ headers }, name = "a", expiresAt = now() + 600) => {
  return [200, { data: { url: `http://${headers.host}/${name}?Signature=s`, expiresAt } }];
};

/** A client of a platform that names `host`. */
async function secured(t, host) {
  const origin = await plant(t, () => [200, me({ host })]);
  const one = client(origin, Embedded);
  await one.login("alice_1");
  return one;
}

test("hosts are compared whole", async (t) => {
  const clients = new Map();
  for (const [host, url, expected] of HOSTS) {
    if (!clients.has(host)) clients.set(host, await secured(t, host));
    const one = clients.get(host);
    assert.equal(one.requiresSecureAccess(url), expected, `${host} ${String(url).slice(0, 99)}`);
    if (expected) continue;
    assert.equal(await one.mediaUrl(url), url);
    assert.equal(await one.fetchPresignedUrl(url), url);
    assert.deepEqual(await one.mediaHeaders(url), {});
  }
  for (const host of NO_HOSTS) {
    const why = { kind: "Answer", message: /has a SECURED_MEDIA_HOST that is no host$/ };
    await assert.rejects(secured(t, host), why, host);
  }
});

test("what a URL shows itself is found and taken off", async (t) => {
  const origin = await platform(t, ({ headers, url }) => [200, `http://${headers.host}${url}`]);
  const one = client(origin, Embedded);
  await one.login("alice_1");
  for (const [url, shows, bare] of CREDENTIALS) {
    const here = (url) => url.replace("https://a.example", origin.origin);
    assert.equal((await one.mediaUrl(here(url))) === here(url), shows, url);
    const asked = await (await one.get(here(url))).text();
    assert.equal(asked, here(`${bare}${bare.includes("?") ? "&" : "?"}fat=fat-of-alice`), url);
  }
  assert.equal(await one.mediaUrl(origin.url("/x?v=%20#f")), origin.url("/x?v=%20&fat=fat-of-alice#f"));
});

test("tokens go to no other host, and no redirect is followed", async (t) => {
  const foreign = await plant(t, () => [200, {}]);
  const { port } = new URL(foreign.origin);
  for (const mode of MODES) {
    const origin = await platform(t, () => [302, "", { Location: foreign.url("/x") }]);
    const one = client(origin, mode);
    await one.login("alice_1");
    const outcome = one.get(origin.url("/a"));
    if (mode === Presigned) await assert.rejects(outcome, { kind: "Refused", status: 302 });
    else assert.equal((await outcome).status, 302);
    assert.equal(foreign.requests.length, 0);
    for (const url of [
      foreign.url(`/?u=${origin.host}`),
      foreign.url(`#@${origin.host}/`),
      `http://localhost:${port}/`,
    ]) {
      assert.equal((await one.get(url)).status, 200);
    }
    assert.equal(foreign.requests.length, 3);
    assert.ok(!JSON.stringify(foreign.requests.splice(0)).includes("fat"));
    for (const url of [
      `http://${origin.host}@127.0.0.1:${port}/`,
      `http://127.0.0.1:${port}\\@${origin.host}/`,
      "no",
      "",
    ]) {
      await assert.rejects(one.get(url), { kind: "Url" });
    }
  }
});

test("callers at a time cause one renewal", async (t) => {
  const origin = await plant(t, ({ method, headers: { host } }) => {
    return [200, method === "GET" ? me({ host, fat: "fresh" }) : me({ host, fat: "old", expiresAt: now() })];
  });
  const one = client(origin, Embedded);
  await one.login("alice_1");
  const outcomes = await many(() => one.getFat());
  assert.ok(outcomes.every(({ value }) => value === "fresh"));
  assert.deepEqual([count(origin, "PUT", true), count(origin, "GET", true)], [1, 1]);
});

test("callers at a time that are refused cause one renewal", async (t) => {
  const origin = await plant(t, (request) => {
    const {
      method,
      headers: { host, fat },
    } = request;
    if (isMe(request)) return [200, me({ host, fat: method === "GET" ? "fresh" : "old" })];
    return [fat === "fresh" ? 200 : 401, {}];
  });
  const one = client(origin, HeaderBased);
  await one.login("alice_1");
  const outcomes = await many(() => one.get(origin.url("/a")));
  assert.ok(outcomes.every(({ value }) => value?.status === 200));
  assert.deepEqual([count(origin, "GET", true), count(origin, "GET", false)], [1, 100]);
});

test("callers at a time share a failure, and a later one tries again", async (t) => {
  const body = { error: { code: "ERR_STORE_UNAVAILABLE", message: "m" } };
  const origin = await plant(t, ({ method, headers: { host } }) => {
    return method === "GET" ? [503, body] : [200, me({ host, expiresAt: now() })];
  });
  const one = client(origin, Embedded);
  await one.login("alice_1");
  for (const round of [1, 2]) {
    for (const { reason } of await many(() => one.getFat())) {
      assert.deepEqual(
        [reason.kind, reason.host, reason.status, reason.code],
        ["Refused", origin.host, 503, body.error.code],
      );
    }
    assert.equal(count(origin, "GET", true), round);
  }
});

test("a refusal is met with one retry", async (t) => {
  for (const [mode, requests] of [
    [Embedded, 2],
    [HeaderBased, 2],
    [Presigned, 4],
  ]) {
    for (const status of [401, 403]) {
      const origin = await platform(t, (request) =>
        /redirect=0/.test(request.url) ? handout(request) : [status, "no JSON"],
      );
      const one = client(origin, mode);
      await one.login("alice_1");
      await assert.rejects(one.get(origin.url("/a")), { kind: "Refused", status, code: "" });
      assert.deepEqual([count(origin, "GET", true), count(origin, "GET", false)], [1, requests], mode);
    }
  }
  // Presigning itself is refused.
  const refusing = await platform(t, () => [403, { error: { code: "ERR_USER_DEACTIVATED" } }]);
  const one = client(refusing, Embedded);
  await one.login("alice_1");
  const error = { kind: "Refused", host: refusing.host, status: 403, code: "ERR_USER_DEACTIVATED" };
  await assert.rejects(one.fetchPresignedUrl(refusing.url("/a")), error);
  assert.deepEqual([count(refusing, "GET", true), count(refusing, "GET", false)], [1, 2]);
  // Other statuses are the caller's.
  for (const status of [404, 500, 503]) {
    const origin = await platform(t, () => [status, {}]);
    const one = client(origin, HeaderBased);
    await one.login("alice_1");
    assert.equal((await one.get(origin.url("/a"))).status, status);
    await assert.rejects(one.fetchPresignedUrl(origin.url("/a")), { kind: "Refused", status });
    assert.deepEqual([count(origin, "GET", true), count(origin, "GET", false)], [0, 2]);
  }
});

test("a refusal that comes when another user has logged in is not met as that user", async (t) => {
  for (const mode of MODES) {
    let refuse;
    const asked = new Promise((asked) => {
      refuse = { asked };
    });
    const origin = await plant(t, async (request) => {
      const { host, authtoken } = request.headers;
      if (isMe(request)) return [200, me({ host, uid: authtoken, fat: `fat-of-${authtoken}` })];
      return new Promise((answer) => {
        refuse.now = () => answer([401, {}]);
        refuse.asked();
      });
    });
    const one = client(origin, mode);
    await one.login("alice");
    const opened = assert.rejects(one.get(origin.url("/a")), { kind: "NotLoggedIn" });
    await asked;
    await one.login("bob");
    refuse.now();
    await opened;
    assert.equal(count(origin, "GET", false), 1);
  }
});

test("a retry asks for a fresh URL, which is kept in place of the old one", async (t) => {
  let made = 0;
  const origin = await platform(t, (request) => {
    if (/redirect=0/.test(request.url)) return handout(request, `url-${++made}`);
    return [request.url.startsWith("/url-1") ? 403 : 200, {}];
  });
  const one = client(origin, Presigned);
  await one.login("alice_1");
  assert.match(await one.fetchPresignedUrl(origin.url("/a")), /url-1/);
  assert.equal((await one.get(origin.url("/a"))).status, 200);
  assert.match(await one.fetchPresignedUrl(origin.url("/a")), /url-2/);
  assert.equal(made, 2);
});

test("a logout or login in the middle of a renewal stands", async (t) => {
  for (const withLogin of [false, true]) {
    let goOn;
    const asked = new Promise((asked) => {
      goOn = { asked };
    });
    const held = new Promise((release) => {
      goOn.release = release;
    });
    const origin = await plant(t, async ({ method, headers: { host, authtoken } }) => {
      if (method === "GET") {
        goOn.asked();
        await held;
      }
      return [200, me({ host, expiresAt: authtoken === "alice_1" ? now() : now() + 600 })];
    });
    const one = client(origin, Embedded);
    await one.login("alice_1");
    const renewal = assert.rejects(one.getFat(), { kind: "NotLoggedIn" });
    await asked;
    await (withLogin ? one.login("alice_2") : one.logout());
    const standing = one.session;
    goOn.release();
    await renewal;
    assert.equal(one.session, standing);
    assert.equal(one.session !== undefined, withLogin);
  }
});

test("a token is renewed before it ends", async (t) => {
  const begin = 1_000_000;
  for (const [expiresAt, freshAt, staleAt] of [
    [5000, 4969, 4970],
    // A quarter of 100 seconds, not 30.
    [100, 74, 75],
    [4, 2, 3],
    [null, 10 ** 9, undefined],
    [-1, undefined, 0],
    [-begin, undefined, 0],
  ]) {
    let time = begin;
    t.mock.method(Date, "now", () => time * 1000 + 999);
    const origin = await plant(t, ({ headers: { host } }) => {
      return [200, me({ host, expiresAt: expiresAt === null ? null : begin + expiresAt })];
    });
    const one = client(origin, Embedded);
    await one.login("alice_1");
    for (const [at, renewals] of [
      [freshAt, 0],
      [staleAt, 1],
    ]) {
      if (at === undefined) continue;
      time = begin + at;
      await one.getFat();
      assert.equal(count(origin, "GET", true), renewals, `${expiresAt} ${at}`);
    }
    t.mock.restoreAll();
  }
});

test("presigned URLs are kept until shortly before they expire, and so many at most", async (t) => {
  let time = now();
  let made = 0;
  let lives = 600;
  t.mock.method(Date, "now", () => time * 1000);
  const origin = await platform(t, (request) => handout(request, ++made, lives === null ? undefined : time + lives));
  const ask = async (one, name) => {
    const before = made;
    await one.fetchPresignedUrl(origin.url(`/${name}`));
    return made > before;
  };
  const one = client(origin, Presigned, { cachedUrls: 2 });
  await one.login("alice_1");
  assert.deepEqual([await ask(one, "a"), await ask(one, "a"), await ask(one, "a#top")], [true, false, false]);
  time += 569;
  assert.equal(await ask(one, "a"), false);
  time += 1;
  assert.equal(await ask(one, "a"), true);
  // The one that was asked for longest ago makes room.
  await one.login("alice_1");
  const asked = [];
  for (const name of ["a", "b", "a", "c", "a", "b", "c"]) asked.push(await ask(one, name));
  assert.deepEqual(asked, [true, true, false, true, false, true, true]);
  // What says nothing of its end, or ends too soon.
  for (lives of [30, 0]) assert.deepEqual([await ask(one, `${lives}`), await ask(one, `${lives}`)], [true, true]);
  const silent = await platform(t, ({ headers }) => [200, { data: { url: `http://${headers.host}/${++made}` } }]);
  const other = client(silent, Presigned);
  await other.login("alice_1");
  assert.notEqual(await other.fetchPresignedUrl(silent.url("/a")), await other.fetchPresignedUrl(silent.url("/a")));
  const none = client(origin, Presigned, { cachedUrls: 0 });
  await none.login("alice_1");
  lives = 600;
  assert.deepEqual([await ask(none, "a"), await ask(none, "a")], [true, true]);
});

test("a caller ends a request, and its body, by a signal", async (t) => {
  const origin = await platform(t, (request, response) => {
    if (request.url.startsWith("/silent")) return;
    response.writeHead(200, { "Content-Length": 9 });
    response.write("hello");
  });
  for (const mode of [Embedded, HeaderBased]) {
    const one = client(origin, mode);
    await one.login("alice_1");
    const before = origin.requests.length;
    const stop = new AbortController();
    const request = one.get(origin.url("/silent"), { signal: stop.signal });
    while (origin.requests.length === before) await new Promise(setImmediate);
    stop.abort();
    await assert.rejects(request, { name: "AbortError" });
    const later = new AbortController();
    const response = await one.get(origin.url("/a"), { signal: later.signal });
    const body = response.text();
    later.abort();
    await assert.rejects(body, { name: "AbortError" });
  }
});

test("a client cannot be made of anything", () => {
  const good = { control: "http://a.example/", app: "demo", mode: Embedded };
  for (const [option, ...values] of [
    [
      "control",
      "http://u:hunter2@a.example",
      "a.example",
      "",
      "ftp://a.example",
      "http://a.example?x",
      "http://a.example#",
      7,
      undefined,
    ],
    ["app", "a\nb", "", " ", "\u00e9", 7, undefined],
    ["mode", 0, "Embedded", undefined, null],
    ["answerTimeout", 0, -1, NaN, Infinity, 2 ** 31, "soon", "30", null],
    ["cachedUrls", -1, 1.5, NaN, Infinity, "many", null],
  ]) {
    for (const value of values) {
      const make = () => new Client({ ...good, [option]: value });
      assert.throws(
        make,
        (error) => error.kind === "Option" && error.option === option && !/hunter2/.test(error.message),
        option,
      );
    }
  }
  new Client({ ...good, answerTimeout: 2 ** 31 - 1, cachedUrls: 0 });
});

test("a fragment is not sent, and neither are cookies and referrers", async (t) => {
  const origin = await platform(t, () => [200, {}, { "Set-Cookie": "fat=x" }]);
  for (const mode of [Embedded, HeaderBased]) {
    const one = client(origin, mode);
    await one.login("alice_1");
    await one.get(origin.url("/a#top"));
    await one.get(origin.url("/a#top"));
  }
  for (const { url, headers } of origin.requests) {
    assert.ok(!url.includes("#") && !("cookie" in headers) && !("referer" in headers));
  }
});
