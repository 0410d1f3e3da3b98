// The client against the real gate.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { Client, SecureMediaMode } from "../mediagate.js";
import { Gate, MODES, example, isMe, now, plant, test } from "./support.js";

const gate = new Gate();
const picture = gate.file("picture.png");
const PNG = "89504e470d0a1a0a";

async function opens(client, url = picture) {
  const response = await client.get(url);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "image/png");
  assert.equal(Buffer.from(await response.arrayBuffer()).toString("hex", 0, 8), PNG);
}

function refused(client, code, url = picture) {
  return assert.rejects(client.get(url), { name: "ClientError", kind: "Refused", status: 403, code });
}

function claims(fat) {
  return JSON.parse(Buffer.from(fat.split(".")[1], "base64url"));
}

test("every mode opens a file", async () => {
  const authToken = await gate.register("every-mode");
  for (const mode of MODES) {
    const client = new Client({ control: `${gate.control}/`, app: "demo", mode });
    assert.equal(client.session, undefined);
    assert.ok(!client.requiresSecureAccess(picture) && !client.isHeaderModeEnabled());
    const session = await client.login(authToken);
    const { host } = new URL(gate.media);
    assert.deepEqual(
      [session.uid, session.name, session.settings.securedMediaHost],
      ["every-mode", "every-mode", host],
    );
    assert.deepEqual(client.session, session);
    assert.ok(client.requiresSecureAccess(picture));
    assert.equal(client.isHeaderModeEnabled(), mode === SecureMediaMode.HeaderBased);
    await opens(client);
    // What a link shows already is replaced: two tokens at a time would be refused.
    await opens(client, `${picture}?fat=old#top`);
    assert.equal((await client.get(gate.file("none.png"))).status, 404);
  }
});

test("what a client hands out opens in other hands", async () => {
  const authToken = await gate.register("other-hands");
  const status = async (url, headers) => (await fetch(url, { headers })).status;
  for (const mode of MODES) {
    const client = await gate.client(mode, authToken);
    const fat = await client.getFat();
    const isEmbedded = mode === SecureMediaMode.Embedded;
    const isHeaderBased = mode === SecureMediaMode.HeaderBased;
    const embedded = await client.mediaUrl(picture);
    assert.equal(embedded, isEmbedded ? `${picture}?fat=${fat}` : picture);
    assert.equal(await client.mediaUrl(embedded), embedded, "once only");
    const headers = await client.mediaHeaders(picture);
    assert.deepEqual(headers, isHeaderBased ? { fat } : {});
    assert.deepEqual(await client.mediaHeaders(`${picture}?fat=${fat}`), {});
    const presigned = await client.fetchPresignedUrl(picture);
    assert.ok(presigned.includes("Signature=") && !presigned.includes(fat.slice(0, 16)));
    assert.equal(await client.mediaUrl(presigned), presigned);
    assert.deepEqual(await client.mediaHeaders(presigned), {});
    assert.equal(await client.fetchPresignedUrl(presigned), presigned);
    assert.deepEqual(
      [await status(picture), await status(picture, headers), await status(embedded), await status(presigned)],
      [401, isHeaderBased ? 200 : 401, isEmbedded ? 200 : 401, 200],
    );
  }
});

test("a deactivated user is refused and let in again", async () => {
  const tokens = [await gate.register("stays"), await gate.register("goes")];
  for (const mode of MODES) {
    const [stays, goes] = [await gate.client(mode, tokens[0]), await gate.client(mode, tokens[1])];
    await opens(goes);
    await gate.deactivate("goes");
    await refused(goes, "ERR_USER_DEACTIVATED");
    await refused(goes, "ERR_USER_DEACTIVATED");
    await assert.rejects(goes.login(tokens[1]), { kind: "Refused", status: 401 });
    assert.equal(goes.session.uid, "goes", "whoever was logged in still is");
    await opens(stays);
    await gate.activate("goes");
    await opens(goes);
  }
});

test("a token that was revoked is renewed once", async () => {
  const authToken = await gate.register("revoked");
  for (const mode of MODES) {
    const client = await gate.client(mode, authToken);
    await opens(client);
    const first = await client.getFat();
    const { jti, sid } = claims(first);
    await gate.call("POST", "/restrictions", { scope: "token", id: jti });
    await opens(client);
    assert.notEqual(await client.getFat(), first);
    // The session itself, and there is nothing to renew the token with that would be alive.
    await gate.call("POST", "/restrictions", { scope: "session", id: sid });
    await refused(client, "ERR_SESSION_REVOKED");
    await gate.call("DELETE", "/restrictions", { scope: "session", id: sid });
    await opens(client);
  }
});

test("presigned URLs are kept for one login, which ends", async () => {
  const tokens = [await gate.register("first"), await gate.register("second")];
  const client = await gate.client(SecureMediaMode.Presigned, tokens[0]);
  const first = await client.fetchPresignedUrl(picture);
  assert.equal(await client.fetchPresignedUrl(`${picture}#top`), first);
  await client.login(tokens[1]);
  const second = await client.fetchPresignedUrl(picture);
  assert.ok(first.includes("Uid=first") && second.includes("Uid=second"));
  const fat = await client.getFat();
  await client.logout();
  await client.logout();
  assert.equal(client.session, undefined);
  assert.equal(await client.fetchPresignedUrl(picture), picture);
  await assert.rejects(client.getFat(), { kind: "NotLoggedIn" });
  // What the session had is dead, and so is what it was made with.
  for (const dead of [second, `${picture}?fat=${fat}`]) assert.equal((await fetch(dead)).status, 403);
  await assert.rejects(client.login(tokens[1]), { kind: "Refused", status: 401 });
  assert.equal((await client.get(picture)).status, 401, "nobody's request, and the caller's answer");
});

test("a token that has ended is renewed by the real gate", async (t) => {
  const authToken = await gate.register("ended");
  // In between, the gate's tokens are said to end at once.
  const relay = await plant(t, async (request) => {
    assert.ok(isMe(request));
    const { authtoken, appid } = request.headers;
    const answer = await fetch(`${gate.control}${request.url}`, {
      method: request.method,
      headers: { authToken: authtoken, appId: appid },
    });
    const reply = await answer.json();
    reply.data.fatExpiresAt = now();
    return [answer.status, reply];
  });
  for (const mode of MODES) {
    const client = new Client({ control: relay.origin, app: "demo", mode });
    await client.login(authToken);
    const before = relay.requests.length;
    assert.notEqual(await client.getFat(), await client.getFat());
    await opens(client);
    assert.equal(relay.requests.length, before + 3);
  }
});

test("where no token is asked for, URLs stay as they are", async (t) => {
  const authToken = await gate.register("no-token");
  const relay = await plant(t, async (request) => {
    const { authtoken, appid } = request.headers;
    const headers = { authToken: authtoken, appId: appid };
    const reply = await (await fetch(`${gate.control}${request.url}`, { method: request.method, headers })).json();
    delete reply.data.settings.SECURED_MEDIA_HOST;
    return [200, reply];
  });
  for (const mode of MODES) {
    const client = new Client({ control: relay.origin, app: "demo", mode });
    await client.login(authToken);
    assert.ok(!client.requiresSecureAccess(picture) && !client.isHeaderModeEnabled());
    for (const url of [await client.mediaUrl(picture), await client.fetchPresignedUrl(picture)]) {
      assert.equal(url, picture);
    }
    assert.deepEqual(await client.mediaHeaders(picture), {});
    assert.equal((await client.get(picture)).status, 401, "as anybody's");
  }
});

test("the README's example does what it says", async () => {
  const AUTH_TOKEN = await gate.register("reader");
  const options = { env: { ...process.env, AUTH_TOKEN, CONTROL: gate.control, MEDIA: gate.media } };
  const cwd = new URL("..", import.meta.url);
  const node = ["--input-type=module", "--eval", example("js")];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, node, { ...options, cwd });
  const size = (await (await (await gate.client(SecureMediaMode.Embedded, AUTH_TOKEN)).get(picture)).blob()).size;
  assert.deepEqual([stdout, stderr], [MODES.map((mode) => `${mode} reader 200 ${size}\n`).join(""), ""]);
});
