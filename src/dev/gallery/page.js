// The gallery's page: logs two people in, opens the same files for both, and looks again every second.

import { Client, SecureMediaMode } from "/mediagate.js";

/** How long until a link is tried again, in milliseconds. */
const AGAIN = 1000;

/** Refusals that a fresh link helps against. */
const EXPIRED = ["ERR_FAT_EXPIRED", "ERR_URL_EXPIRED"];

const { app, control, users, picture, video } = await (await fetch("/setup.json")).json();

/** Something that was sent to somebody, and how it is opened. `link` returns `{ url, headers }`. */
class Tile {
  #link;
  #opened;

  constructor(place, title, link) {
    this.figure = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.figure.querySelector("b").textContent = title;
    this.#link = link;
    place.append(this.figure);
  }

  /** Opens the link, and looks after it from then on. */
  async start() {
    try {
      this.#opened ??= await this.#link();
      const refusal = await this.refusal(this.#opened);
      if (refusal === undefined) await this.#live();
      else this.#dead(refusal);
    } catch (error) {
      this.#dead({ status: error.status, code: error.code, message: error.message });
    }
    setTimeout(() => this.start(), AGAIN);
  }

  /** What the gate answers to a link, in words; nothing where it opens. */
  async refusal({ url, headers }) {
    const answer = await fetch(url, { headers: { ...headers, Range: "bytes=0-0" }, cache: "no-store" });
    if (answer.ok) {
      await answer.arrayBuffer();
      return undefined;
    }
    const { error } = await answer.json();
    return { status: answer.status, ...error };
  }

  async #live() {
    if (this.figure.dataset.state === "live") return;
    await this.show(this.#opened);
    this.figure.dataset.state = "live";
    this.#say("opens", "");
  }

  #dead({ status, code, message }) {
    if (EXPIRED.includes(code)) this.#opened = undefined;
    this.hide();
    this.figure.dataset.state = "dead";
    this.#say(`${status ?? "closed"}`, code ? `${code}: ${message}` : message);
  }

  #say(state, refusal) {
    this.figure.querySelector(".state").textContent = state;
    this.figure.querySelector(".refusal").textContent = refusal;
  }

  /** Opens the link anew at the next look. */
  again() {
    this.#opened = undefined;
    this.figure.dataset.state = "";
  }

  put(element) {
    this.hide();
    this.figure.querySelector(".media").append(element);
  }

  hide() {
    this.figure.querySelector("img, video")?.remove();
  }
}

/** A picture by its URL alone. */
class Picture extends Tile {
  async show({ url }) {
    const image = document.createElement("img");
    image.alt = "The picture";
    image.src = url;
    this.put(image);
    await image.decode();
  }
}

/** A picture whose request has a header: fetched, and shown from memory. */
class Fetched extends Picture {
  async show({ url, headers }) {
    const answer = await fetch(url, { headers, cache: "no-store" });
    const local = URL.createObjectURL(await answer.blob());
    await super.show({ url: local });
    URL.revokeObjectURL(local);
  }
}

/** A video that runs. What has been sent of it is in the player: it ends when no more comes. */
class Video extends Tile {
  #video;

  async show({ url }) {
    const player = document.createElement("video");
    player.muted = true;
    player.playsInline = true;
    // Else the browser keeps the status from the player, which then tries again and again where it was refused.
    player.crossOrigin = "anonymous";
    player.src = url;
    player.setAttribute("aria-label", "The video");
    player.addEventListener("error", () => this.#stopped(player));
    // Once more from the beginning, by a link of its own: over the network, and not out of the browser's memory.
    player.addEventListener("ended", () => {
      this.#video = undefined;
      this.again();
    });
    this.#video = player;
    this.put(player);
    await player.play();
  }

  // The player itself is asked whether it runs, not its link: nothing ends it but the gate.
  async refusal(opened) {
    if (this.#video !== undefined && this.#video.error === null) return undefined;
    return super.refusal(opened);
  }

  #stopped(player) {
    if (player !== this.#video) return;
    this.figure.dataset.state = "";
    this.figure.dataset.stopped = player.error.message;
  }
}

/** One of the two, and what was sent to them. */
class Person {
  #uid;
  #section;
  #authToken;
  #clients = {};

  constructor(uid) {
    this.#uid = uid;
    this.#section = document.getElementById("user").content.firstElementChild.cloneNode(true);
    this.#section.id = uid;
    const name = uid[0].toUpperCase() + uid.slice(1);
    this.#section.querySelector("h2").textContent = name;
    for (const action of ["deactivate", "reactivate"]) {
      const button = this.#section.querySelector(`.${action}`);
      button.textContent = `${action[0].toUpperCase()}${action.slice(1)} ${name}`;
      button.addEventListener("click", () => this.#change(action));
    }
    document.getElementById("users").append(this.#section);
    const place = this.#section.querySelector(".tiles");
    const { Embedded, HeaderBased, Presigned } = SecureMediaMode;
    const embedded = (url) => async () => ({ url: await (await this.#client(Embedded)).mediaUrl(url) });
    const tiles = [];
    if (picture) {
      tiles.push(
        new Picture(place, "Embedded link", embedded(picture)),
        new Fetched(place, "Header", async () => {
          return { url: picture, headers: await (await this.#client(HeaderBased)).mediaHeaders(picture) };
        }),
        new Picture(place, "Presigned URL", async () => {
          return { url: await (await this.#client(Presigned)).fetchPresignedUrl(picture) };
        }),
      );
    }
    if (video) {
      const fresh = async () => ({ url: await (await this.#login(Embedded)).mediaUrl(video) });
      tiles.push(new Video(place, "Video, running", fresh));
    }
    for (const tile of tiles) tile.start();
  }

  /** Somebody who is logged in, in this mode. */
  #client(mode) {
    this.#clients[mode] ??= this.#login(mode).catch((error) => {
      this.#clients[mode] = undefined;
      throw error;
    });
    return this.#clients[mode];
  }

  async #login(mode) {
    try {
      this.#authToken ??= (await this.#ask("login")).authToken;
    } catch {
      throw new Error("Nobody is let in as this user: reactivate first.");
    }
    const client = new Client({ control, app, mode });
    await client.login(this.#authToken);
    return client;
  }

  async #change(action) {
    const told = this.#section.querySelector(".told");
    try {
      const { receipt } = await this.#ask(action);
      const { nodes, missing, slowestMs } = receipt;
      const done = action === "deactivate" ? "Deactivated" : "Reactivated";
      told.textContent = `${done}: ${nodes.length} of ${nodes.length + missing.length} nodes have it, the slowest after ${slowestMs} ms`;
    } catch (error) {
      told.textContent = error.message;
    }
  }

  /** Asks the gallery's server to call the control API. */
  async #ask(action) {
    const answer = await fetch(`/users/${this.#uid}/${action}`, { method: "POST" });
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.error);
    return data;
  }
}

for (const uid of users) new Person(uid);
