// The client against servers that lie, say too much, or do not end.

import assert from "node:assert/strict";
import { inspect } from "node:util";

import { SecureMediaMode } from "../mediagate.js";
import { MODES, client, me, now, plant, platform, test } from "./support.js";

const { Embedded, HeaderBased, Presigned } = SecureMediaMode;

test("an answer that is none of the gate's is an error that says so", async (t) => {
  const good = me({ host: "files.example" });
  const login = (change) => ({ data: { ...good.data, ...change } });
  const settings = (change) => login({ settings: { ...good.data.settings, ...change } });
  const replies = [
    "",
    "no JSON",
    "null",
    "[]",
    "7",
    '"text"',
    "{",
    '{"data":null}',
    '{"data":[]}',
    '{"data":"x"}',
    `${JSON.stringify(good)}x`,
    Buffer.from([0xff, 0xfe, 0x00]),
    Buffer.from('{"data":{"uid":"\xff"}}', "latin1"),
    login({ uid: 7 }),
    login({ uid: undefined }),
    login({ name: {} }),
    login({ name: null }),
    login({ fat: undefined }),
    login({ fat: null }),
    login({ fat: ["fat"] }),
    login({ fat: { length: 3 } }),
    login({ fatExpiresAt: "soon" }),
    login({ fatExpiresAt: -1 }),
    login({ fatExpiresAt: 1.5 }),
    login({ fatExpiresAt: [1] }),
    login({ settings: undefined }),
    login({ settings: [] }),
    login({ settings: "x" }),
    settings({ SECURED_MEDIA_HOST: 7 }),
    settings({ SECURED_MEDIA_HOST: ["files.example"] }),
    settings({ CLIENT_API_HOST: {} }),
  ];
  let reply;
  const origin = await plant(t, () => [200, reply]);
  const one = client(origin, Embedded);
  for (reply of replies) {
    const error = { kind: "Answer", host: origin.host, message: `the answer of ${origin.host} is not that to a login` };
    await assert.rejects(one.login("alice_1"), error, inspect(reply));
    assert.equal(one.session, undefined);
  }
  for (const fat of ["", "a b", "a\r\nb: c", "\u00e9", "a\0"]) {
    reply = login({ fat });
    await assert.rejects(one.login("alice_1"), { kind: "Answer", message: /has a fat that cannot be sent$/ }, fat);
  }
  for (reply of [
    good,
    login({ name: undefined, fatExpiresAt: undefined }),
    login({ settings: {} }),
    settings({ X: 1 }),
  ]) {
    await one.login("alice_1");
  }
  // A renewal that is about somebody else.
  const other = await plant(t, ({ method, headers: { host } }) => {
    return [200, me({ host, uid: method === "GET" ? "bob" : "alice", expiresAt: now() })];
  });
  const two = client(other, Embedded);
  await two.login("alice_1");
  await assert.rejects(two.getFat(), { kind: "Answer", message: /is about another user$/ });
  assert.equal(two.session.uid, "alice");
});

test("a presigned URL that is none is an error", async (t) => {
  let data;
  const origin = await platform(t, () => [200, { data }]);
  for (const mode of MODES) {
    const one = client(origin, mode);
    await one.login("alice_1");
    const url = origin.url("/a");
    for (data of [
      undefined,
      null,
      [],
      "x",
      {},
      { url: 7 },
      { url: null },
      { url: "" },
      { url: "/a" },
      { url: ["http://a.example/"] },
      { url: "javascript:alert(1)" },
      { url: "data:text/html,x" },
      { url: "file:///etc/passwd" },
      { url: "http://u@a.example/" },
      { url: `http://a.example/${"a".repeat(9000)}` },
      { url: "http://a.example/", expiresAt: "soon" },
    ]) {
      await assert.rejects(
        one.fetchPresignedUrl(url),
        { kind: "Answer", message: /has no presigned URL$/ },
        inspect(data),
      );
    }
  }
});

test("answers are bounded in size, and whole", async (t) => {
  const endless = await plant(t, (_, response) => {
    response.writeHead(200);
    const more = () => {
      while (response.write(" ".repeat(65536)));
    };
    response.on("drain", more);
    more();
  });
  await assert.rejects(client(endless, Embedded).login("alice_1"), { kind: "TooLarge", host: endless.host });
  const large = await plant(t, ({ headers: { host } }) => [
    200,
    `${JSON.stringify(me({ host }))}${" ".repeat(256 * 1024)}`,
  ]);
  await assert.rejects(client(large, Embedded).login("alice_1"), { kind: "TooLarge" });

  const broken = await plant(t, (_, response) => {
    response.writeHead(200, { "Content-Length": 9 });
    response.write("{", () => response.destroy());
  });
  await assert.rejects(client(broken, Embedded).login("alice_1"), { kind: "Broken", host: broken.host });
  const closed = await plant(t, (_, response) => void response.destroy());
  await assert.rejects(client(closed, Embedded).login("alice_1"), { kind: "Unreachable", host: closed.host });
});

test("answers are waited for so long, and no longer", async (t) => {
  // Long enough for what does come, on a machine that has other things to do.
  const impatient = { answerTimeout: 2000 };
  const half = (status) => (_, response) => {
    response.writeHead(status, { "Content-Length": 9 });
    response.write("{");
  };
  const [silent, stalled] = [await plant(t, () => undefined), await plant(t, half(200))];
  const [silentMedia, refusing] = [await platform(t, () => undefined), await platform(t, half(403))];
  const open = async (origin, mode) => {
    const one = client(origin, mode, impatient);
    await one.login("alice_1");
    return one.get(origin.url("/a"));
  };
  const timeout = { kind: "Timeout" };
  await Promise.all([
    assert.rejects(client(silent, Embedded, impatient).login("alice_1"), timeout),
    assert.rejects(client(stalled, Embedded, impatient).login("alice_1"), timeout),
    ...MODES.map((mode) => assert.rejects(open(silentMedia, mode), timeout)),
    // A refusal whose body does not come is one all the same.
    assert.rejects(open(refusing, HeaderBased), { kind: "Refused", status: 403, code: "" }),
  ]);
});

test("nothing that is printed holds a token", async (t) => {
  const tokens = ["alice_1hunter2", "EYJHUNTER2"];
  const check = (shown) => assert.doesNotMatch(shown, /unter2/i);
  const checkError = (error) =>
    check([error.message, error.stack, String(error), inspect(error), JSON.stringify(error)].join());
  const printed = [];
  for (const name of ["debug", "error", "info", "log", "trace", "warn"]) {
    t.mock.method(console, name, (...words) => printed.push(words));
  }
  // Repeats what it was sent, wherever a client may look.
  const echo = await plant(t, (request) => {
    const { method, url, headers } = request;
    if (method === "PUT") return [200, me({ host: headers.host, fat: tokens[1] })];
    const said = `${url} ${JSON.stringify(headers)}`;
    const body = { error: { code: said, message: said }, data: { url: said } };
    return [/\/ok/.test(url) ? 200 : 403, body, { Location: `/${encodeURIComponent(said)}` }];
  });
  for (const mode of MODES) {
    const one = client(echo, mode);
    const session = await one.login(tokens[0]);
    for (const shown of [one, session])
      check(inspect(shown, { depth: 9, showHidden: true }) + JSON.stringify(shown) + String(shown));
    for (const path of ["ok", "no"]) {
      const url = echo.url(`/${path}?fat=hunter2`);
      if (path === "no" || mode === Presigned) await one.get(url).then(assert.fail, checkError);
      await one.fetchPresignedUrl(url).then(assert.fail, checkError);
    }
    await one.logout().then(assert.fail, checkError);
  }
  // Ports that `fetch` refuses, and those where nobody is.
  const gone = await plant(t, () => [200, {}]);
  for (const control of ["http://127.0.0.1:1", "http://nobody.invalid", gone.origin.replace(/\d+$/, "9")]) {
    const one = client({ origin: control }, Embedded);
    await one.login(tokens[0]).then(assert.fail, (error) => {
      assert.equal(error.kind, "Unreachable");
      checkError(error);
    });
    await one.get(`${control}/?fat=hunter2`).then(assert.fail, checkError);
  }
  await client(echo, Embedded).login("hunter2\r\nx: y").then(assert.fail, checkError);
  assert.deepEqual(printed, []);
});
