// What the tests have a page do; each function returns what the page has seen.

import { Client, SecureMediaMode } from "/mediagate.js";

/** How wide the picture at `url` is; 0 where it does not load. */
function width(url) {
  return new Promise((resolve) => {
    const image = document.body.appendChild(document.createElement("img"));
    image.onload = () => resolve(image.naturalWidth);
    image.onerror = () => resolve(0);
    image.src = url;
  });
}

/** Waits for an event. */
function event(target, name) {
  return new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true });
    target.addEventListener("error", () => reject(new Error(`${name}: ${target.error?.message}`)), { once: true });
  });
}

/** Logs in and opens the picture `url` in one mode; hands out the links that need nothing else. */
window.openIn = async ({ control, authToken, mode, url }) => {
  const client = new Client({ control, app: "demo", mode });
  const { uid } = await client.login(authToken);
  const answer = await client.get(url);
  const bitmap = await createImageBitmap(await answer.blob());
  const fetched = await fetch(url, { headers: await client.mediaHeaders(url) });
  const links = [await client.fetchPresignedUrl(url)];
  if (mode === SecureMediaMode.Embedded) links.push(await client.mediaUrl(url));
  return {
    uid,
    isSecure: client.requiresSecureAccess(url),
    isHeaderBased: client.isHeaderModeEnabled(),
    opened: [answer.status, bitmap.width, bitmap.height],
    fetched: fetched.status,
    links,
  };
};

/** Logs in and opens `url` twice. */
window.openTwice = async ({ control, authToken, mode, url }) => {
  const client = new Client({ control, app: "demo", mode });
  await client.login(authToken);
  for (const answer of [await client.get(url), await client.get(url)]) await answer.text();
};

/** What becomes of links, in an image and for a script. */
window.look = (urls) => {
  return Promise.all(urls.map(async (url) => ({ width: await width(url), status: (await fetch(url)).status })));
};

/** How a login, or the fetching of a presigned URL, fails; null where neither does. */
window.failure = async ({ control, authToken, mode, url, answerTimeout }) => {
  const client = new Client({ control, app: "demo", mode, answerTimeout });
  try {
    await client.login(authToken);
    await client.fetchPresignedUrl(url);
    return null;
  } catch ({ kind, status, code }) {
    return { kind, status, code };
  }
};

/** Plays the beginning of the video at `url`, and seeks to a place near its end. */
window.watch = async (url) => {
  const video = document.createElement("video");
  video.preload = "metadata";
  video.src = url;
  await event(video, "loadeddata");
  video.currentTime = 13.5;
  await event(video, "seeked");
  return { duration: video.duration, width: video.videoWidth, time: video.currentTime };
};

/** Which URLs of a table are whose; a platform at `origin` names whatever host its path says. */
window.compare = async (origin, hosts) => {
  const clients = new Map();
  const outcomes = [];
  for (const [host, url] of hosts) {
    if (!clients.has(host)) {
      const control = `${origin}/${encodeURIComponent(host)}`;
      const client = new Client({ control, app: "demo", mode: SecureMediaMode.Embedded });
      await client.login("alice_1");
      clients.set(host, client);
    }
    outcomes.push(clients.get(host).requiresSecureAccess(url));
  }
  return outcomes;
};
