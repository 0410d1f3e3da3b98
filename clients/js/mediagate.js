/**
 * A client of mediagate for browsers and Node: logs a user in, keeps the user's token fresh, and opens media URLs with it.
 *
 * Three things it refuses to do: to show a token to any host but the one that the login has named, compared by a URL
 * parser and never as a substring; to follow a redirect; to try anything more than twice. It logs nothing, and no error
 * of its own holds a URL, a token or what a server wrote.
 *
 * @module
 */

/**
 * One of the ways below.
 *
 * @typedef {(typeof SecureMediaMode)[keyof typeof SecureMediaMode]} SecureMediaMode
 */

/** How a client shows its token to the media listener. */
export const SecureMediaMode = Object.freeze({
  /** In the URL, `?fat=`: for images, players and links. */
  Embedded: /** @type {const} */ ("embedded"),
  /** In a header field, `fat`: the URL stays clean. */
  HeaderBased: /** @type {const} */ ("headerBased"),
  /** Not at all: the file is opened with a presigned URL, which the token was exchanged for. */
  Presigned: /** @type {const} */ ("presigned"),
});

/**
 * What a client is made of.
 *
 * @typedef {object} ClientOptions
 * @property {string} control The control listener, like `https://api.acme.example`.
 * @property {string} app The app.
 * @property {SecureMediaMode} mode How tokens are shown.
 * @property {number} [answerTimeout] How long an answer of the control listener, a presigned URL, and the head of a file
 *   may take, connecting included, in milliseconds; 30000.
 * @property {number} [cachedUrls] How many presigned URLs are kept at most; 1000.
 */

/**
 * Who is logged in. Holds no token.
 *
 * @typedef {object} Session
 * @property {string} uid The user.
 * @property {string} name The user's name, as people read it.
 * @property {Settings} settings What the server has told.
 */

/**
 * What the server tells clients when they log in.
 *
 * @typedef {object} Settings
 * @property {string} [clientApiHost] The host of the control listener. For information: this client goes on calling the
 *   one that it was made for.
 * @property {string} [chatApiVersion] The version of the API, like `v3.0`.
 * @property {string} [securedMediaHost] The host, with a port or without, whose URLs need a token; without it no URL does.
 */

/**
 * Why a call of {@link Client} failed:
 *
 * - `Option`: a client cannot be made, or a user logged in, like this; `option` names it.
 * - `NotLoggedIn`: nobody is, or no longer the one who was when the call began.
 * - `Url`: no `http://` or `https://` URL in its plain form, with a host and without a user.
 * - `Unreachable`: no connection to `host`, or none that is trusted. Browsers do not tell why.
 * - `Timeout`: no answer of `host`, or not all of it, in time.
 * - `Broken`: the connection ended within the answer of `host`.
 * - `Refused`: `host` says no, with `status` and mostly a `code`. `status` is 0 for a redirect in a browser, which hides
 *   it.
 * - `Answer`: the answer of `host` is not one of mediagate's.
 * - `TooLarge`: the answer of `host` is longer than any of mediagate's.
 *
 * @typedef {"Option" | "NotLoggedIn" | "Url" | "Unreachable" | "Timeout" | "Broken" | "Refused" | "Answer" |
 *   "TooLarge"} ErrorKind
 */

/** What can go wrong for a client: the host and the reason, never a URL, a token or what a server wrote. */
export class ClientError extends Error {
  /**
   * @param {ErrorKind} kind
   * @param {string} message
   * @param {{ option?: string, host?: string, status?: number, code?: string }} [more]
   */
  constructor(kind, message, { option, host, status, code } = {}) {
    super(message);
    this.name = "ClientError";
    /** What went wrong. */
    this.kind = kind;
    /** The option or argument that is wrong. */
    this.option = option;
    /** Whom it was with, with the port where the URL has one. */
    this.host = host;
    /** The HTTP status of a refusal. */
    this.status = status;
    /** The code of a refusal, like `ERR_USER_DEACTIVATED`; empty where there is none. */
    this.code = code;
  }
}

/** The longest URL that is looked at, in bytes: the longest that the gate takes. */
const MAX_URL_BYTES = 8192;

/** The longest answer that is read, files apart, in bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;

/** A FAT is renewed so many seconds before it ends, or in the last quarter of a shorter life. */
const FAT_MARGIN_SECS = 30;

/** How long a presigned URL must live on to be given out again, in seconds: time to open it. */
const URL_MARGIN_SECS = 30;

/** The longest time-out that timers take, in milliseconds. */
const MAX_TIMEOUT = 2 ** 31 - 1;

const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

/**
 * No cookie, no referrer, no redirect: the token is all that goes along. Nothing is kept:
 * whatever the gate's answers say of that, a later request is to be judged by itself.
 */
const REQUEST = /** @type {const} */ ({
  cache: "no-store",
  credentials: "omit",
  redirect: "manual",
  referrerPolicy: "no-referrer",
});

/** A client for one user at a time. */
export class Client {
  /** Where `/me` is. @type {URL} */
  #me;
  /** @type {string} */
  #app;
  /** @type {SecureMediaMode} */
  #mode;
  /** @type {number} */
  #answerTimeout;
  /** @type {number} */
  #cachedUrls;
  /** @type {Login | undefined} */
  #login;

  /**
   * Makes a client that nobody is logged in to. Makes no connection.
   *
   * @param {ClientOptions} options
   * @throws {ClientError} `Option`, for an option that cannot be used.
   */
  constructor({ control, app, mode, answerTimeout = 30_000, cachedUrls = 1000 }) {
    const base = parse(control);
    if (base === undefined || /[?#]/.test(control)) {
      throw wrongOption("control", "must be an address like https://api.acme.example");
    }
    if (typeof app !== "string" || !VISIBLE_ASCII.test(app)) throw wrongOption("app", "must be visible ASCII");
    if (!Object.values(SecureMediaMode).includes(mode)) throw wrongOption("mode", "must be one of SecureMediaMode");
    if (typeof answerTimeout !== "number" || !(answerTimeout > 0 && answerTimeout <= MAX_TIMEOUT)) {
      throw wrongOption("answerTimeout", `must be milliseconds, more than 0 and at most ${MAX_TIMEOUT}`);
    }
    if (!Number.isSafeInteger(cachedUrls) || cachedUrls < 0) throw wrongOption("cachedUrls", "must be a count");
    this.#me = new URL(`${base.href.replace(/\/+$/, "")}/v3.0/me`);
    this.#app = app;
    this.#mode = mode;
    this.#answerTimeout = answerTimeout;
    this.#cachedUrls = cachedUrls;
  }

  /**
   * Who is logged in.
   *
   * @returns {Session | undefined}
   */
  get session() {
    return this.#login?.session;
  }

  /**
   * Logs a user in, in place of whoever was.
   *
   * @param {string} authToken
   * @returns {Promise<Session>}
   * @throws {ClientError} `Refused` for a token that is nobody's or a deactivated user's. Whoever was logged in still is.
   */
  async login(authToken) {
    if (typeof authToken !== "string" || !VISIBLE_ASCII.test(authToken)) {
      throw wrongOption("authToken", "must be visible ASCII");
    }
    const login = await this.#ask("PUT", authToken, new PresignedUrls(this.#cachedUrls));
    this.#login = login;
    return login.session;
  }

  /**
   * Logs out: here at once, whatever comes of it, and on the server, where the session's tokens are dead then.
   *
   * @returns {Promise<void>}
   * @throws {ClientError} When the server could not be told. A session that it does not know is none.
   */
  async logout() {
    const login = this.#login;
    if (login === undefined) return;
    this.#login = undefined;
    try {
      await this.#call("DELETE", login.authToken);
    } catch (error) {
      if (!isRefused(error) || error.status !== 401) throw error;
    }
  }

  /**
   * Returns the user's File Access Token, renewed where it has ended or soon will. It is plain text: do not log it.
   *
   * @returns {Promise<string>}
   * @throws {ClientError} When nobody is logged in, or a renewal that was due has failed.
   */
  async getFat() {
    return (await this.#fresh()).fat;
  }

  /**
   * Whether `url` opens for a token only: it is a plain http(s) URL of the host that the login has named, and of its
   * port where that has one. Never, while nobody is logged in or the app asks for no tokens.
   *
   * @param {string} url
   * @returns {boolean}
   */
  requiresSecureAccess(url) {
    return this.#secured(url) !== undefined;
  }

  /**
   * Whether tokens go into header fields: the mode is `HeaderBased`, and the login has named a host that they are for.
   *
   * @returns {boolean}
   */
  isHeaderModeEnabled() {
    return this.#mode === SecureMediaMode.HeaderBased && this.#login?.secured !== undefined;
  }

  /**
   * Returns `url` with `?fat=`, in the embedded mode. As it is in the others, where it needs no token, and where it has
   * one or a signature already.
   *
   * @param {string} url
   * @returns {Promise<string>}
   * @throws {ClientError} As for `getFat`.
   */
  async mediaUrl(url) {
    const bare = this.#bare(url, SecureMediaMode.Embedded);
    return bare === undefined ? url : withParameter(bare, "fat", (await this.#fresh()).fat).href;
  }

  /**
   * Returns the header fields to send with `url`: the token, in the header mode and where `mediaUrl` would append one in
   * the embedded mode; else none. Send them to that URL only, and follow no redirect with them.
   *
   * @param {string} url
   * @returns {Promise<Record<string, string>>}
   * @throws {ClientError} As for `getFat`.
   */
  async mediaHeaders(url) {
    const bare = this.#bare(url, SecureMediaMode.HeaderBased);
    return bare === undefined ? {} : { fat: (await this.#fresh()).fat };
  }

  /**
   * Returns a presigned URL for `url`, which opens without a token, in any mode; a kept one, unless it soon ends. `url` as
   * it is where it needs no token, and where it is none: then nothing is sent.
   *
   * @param {string} url
   * @returns {Promise<string>}
   * @throws {ClientError} As for `getFat`, and when the gate refuses, after one retry with a fresh token.
   */
  async fetchPresignedUrl(url) {
    const media = this.#secured(url);
    if (media === undefined) return url;
    return this.#twice((login, source) => this.#presigned(login, media, source));
  }

  /**
   * Fetches `url` in the way of the client's mode. A token or signature that `url` has is replaced by a fresh one. Without
   * any token where it needs none.
   *
   * The answer is that of `fetch`; its body comes behind, and its length and time are for the caller to mind. Statuses are
   * not errors, except for 401 and 403 where a token was due. A redirect is not followed: in browsers its `status` is 0.
   * The gate is asked each time: no answer is kept.
   *
   * @param {string} url
   * @param {{ signal?: AbortSignal }} [options] `signal` ends the request for the file, its body included, in place of
   *   `answerTimeout`.
   * @returns {Promise<Response>}
   * @throws {ClientError} `Refused` after one retry with a fresh token and URL, or when there is none to be had.
   */
  async get(url, { signal } = {}) {
    const media = this.#secured(url);
    if (media !== undefined) return this.#twice((login, source) => this.#open(login, media, source, signal));
    const plain = parse(url);
    if (plain === undefined) throw wrongUrl();
    return this.#fetch(plain, {}, signal);
  }

  /**
   * `url`, where it needs a token.
   *
   * @param {unknown} url
   */
  #secured(url) {
    const parsed = parse(url);
    return parsed !== undefined && this.#login?.secured?.owns(parsed) ? parsed : undefined;
  }

  /**
   * `url`, where it needs a token in the way of `mode` and shows nothing itself.
   *
   * @param {unknown} url
   * @param {SecureMediaMode} mode
   */
  #bare(url, mode) {
    const media = this.#mode === mode ? this.#secured(url) : undefined;
    return media !== undefined && !hasCredential(media) ? media : undefined;
  }

  /**
   * Returns what comes of `attempt`, or, where that may have come of the token, of another one with a fresh token.
   *
   * @template T
   * @param {(login: Login, source: "cache" | "gate") => Promise<T>} attempt
   * @returns {Promise<T>}
   */
  async #twice(attempt) {
    const login = await this.#fresh();
    try {
      return await attempt(login, "cache");
    } catch (denial) {
      if (!isRefused(denial) || (denial.status !== 401 && denial.status !== 403)) throw denial;
      // A renewal that is refused says less of the file than the first answer.
      const renewed = await this.#renewed(login).catch((error) => {
        throw isRefused(error) ? denial : error;
      });
      return attempt(renewed, "gate");
    }
  }

  /**
   * Opens `media`, which needs a token, with that of `login`.
   *
   * @param {Login} login
   * @param {URL} media
   * @param {"cache" | "gate"} source
   * @param {AbortSignal} [signal]
   */
  async #open(login, media, source, signal) {
    const response = await this.#show(login, media, source, signal);
    if (response.status !== 401 && response.status !== 403) return response;
    const body = within(this.#answerTimeout, media, (signal) => read(response, media, signal));
    throw refusal(media, response.status, await body.catch(() => undefined));
  }

  /**
   * @param {Login} login
   * @param {URL} media
   * @param {"cache" | "gate"} source
   * @param {AbortSignal} [signal]
   */
  async #show(login, media, source, signal) {
    const bare = clean(media);
    switch (this.#mode) {
      case SecureMediaMode.Embedded:
        return this.#fetch(withParameter(bare, "fat", login.fat), {}, signal);
      case SecureMediaMode.HeaderBased:
        return this.#fetch(bare, { fat: login.fat }, signal);
      case SecureMediaMode.Presigned:
        return this.#fetch(new URL(await this.#presigned(login, media, source)), {}, signal);
    }
  }

  /**
   * Returns the presigned URL that `login` opens `media` with.
   *
   * @param {Login} login
   * @param {URL} media
   * @param {"cache" | "gate"} source
   */
  async #presigned(login, media, source) {
    const bare = clean(media);
    const kept = source === "cache" ? login.urls.get(bare.href, now()) : undefined;
    if (kept !== undefined) return kept;
    const reply = await this.#exchange(withParameter(bare, "redirect", "0"), { headers: { fat: login.fat } });
    const data = fieldsOf(fieldsOf(reply).data);
    const { url, expiresAt = null } = data;
    if (typeof url !== "string" || parse(url) === undefined || !(expiresAt === null || isTime(expiresAt))) {
      throw wrongAnswer(media, "has no presigned URL");
    }
    login.urls.insert(bare.href, url, expiresAt, now());
    return url;
  }

  /**
   * Returns the login with a token that is good for a while.
   */
  async #fresh() {
    const login = this.#login;
    if (login === undefined) throw notLoggedIn();
    return login.isFresh(now()) ? login : this.#renewed(login);
  }

  /**
   * Returns the same login with another token than `used`. Calls at a time ask for one together, and share what comes of
   * it.
   *
   * @param {Login} used
   * @returns {Promise<Login>}
   */
  async #renewed(used) {
    const current = this.#login;
    if (current === undefined || !current.isSame(used)) throw notLoggedIn();
    if (current !== used) return current;
    used.renewal ??= this.#renew(used).finally(() => {
      used.renewal = undefined;
    });
    return used.renewal;
  }

  /**
   * @param {Login} used
   */
  async #renew(used) {
    const renewed = await this.#ask("GET", used.authToken, used.urls);
    if (renewed.session.uid !== used.session.uid) throw wrongAnswer(this.#me, "is about another user");
    // Not where somebody has logged in or out meanwhile.
    if (this.#login !== used) throw notLoggedIn();
    this.#login = renewed;
    return renewed;
  }

  /**
   * Asks the control listener for a login.
   *
   * @param {"PUT" | "GET"} method
   * @param {string} authToken
   * @param {PresignedUrls} urls
   */
  async #ask(method, authToken, urls) {
    return Login.of(await this.#call(method, authToken), this.#me, authToken, urls);
  }

  /**
   * Makes one call of `/me`.
   *
   * @param {string} method
   * @param {string} authToken
   */
  #call(method, authToken) {
    return this.#exchange(this.#me, { method, headers: { Accept: "application/json", appId: this.#app, authToken } });
  }

  /**
   * Returns the JSON of an answer that says yes; `undefined` where it is none.
   *
   * @param {URL} url
   * @param {RequestInit} request
   * @returns {Promise<unknown>}
   */
  #exchange(url, request) {
    return within(this.#answerTimeout, url, async (signal) => {
      const response = await send(url, { ...request, signal });
      const body = await read(response, url, signal);
      if (!response.ok) throw refusal(url, response.status, body);
      return body;
    });
  }

  /**
   * Sends one `GET`; with a token only to the host that it is for.
   *
   * @param {URL} url
   * @param {Record<string, string>} headers
   * @param {AbortSignal} [signal]
   */
  #fetch(url, headers, signal) {
    if (signal !== undefined) return send(url, { headers, signal });
    return within(this.#answerTimeout, url, (signal) => send(url, { headers, signal }));
  }
}

/** Somebody who is logged in, and the token that opens files until it has to be renewed. */
class Login {
  /** The renewal that is under way. @type {Promise<Login> | undefined} */
  renewal;

  /**
   * @param {Session} session
   * @param {SecuredHost | undefined} secured
   * @param {string} authToken
   * @param {string} fat
   * @param {number} renewAt UNIX seconds; infinite: when it is refused.
   * @param {PresignedUrls} urls Of this login alone: the URLs of another user, or of an earlier session, are never given
   *   out.
   */
  constructor(session, secured, authToken, fat, renewAt, urls) {
    this.session = session;
    this.secured = secured;
    this.authToken = authToken;
    this.fat = fat;
    this.renewAt = renewAt;
    this.urls = urls;
  }

  /**
   * Makes a login out of the reply to one with `authToken`.
   *
   * @param {unknown} reply
   * @param {URL} me Who has sent it.
   * @param {string} authToken
   * @param {PresignedUrls} urls
   */
  static of(reply, me, authToken, urls) {
    const { uid, name = "", fat, fatExpiresAt = null, settings } = fieldsOf(fieldsOf(reply).data);
    const told = fieldsOf(settings);
    const [clientApiHost, chatApiVersion, securedMediaHost] = [
      "CLIENT_API_HOST",
      "CHAT_API_VERSION",
      "SECURED_MEDIA_HOST",
    ].map((key) => told[key] ?? undefined);
    if (
      typeof uid !== "string" ||
      typeof name !== "string" ||
      typeof fat !== "string" ||
      !isObject(settings) ||
      !(fatExpiresAt === null || isTime(fatExpiresAt)) ||
      !isTextOrNone(clientApiHost) ||
      !isTextOrNone(chatApiVersion) ||
      !isTextOrNone(securedMediaHost)
    ) {
      throw wrongAnswer(me, "is not that to a login");
    }
    const secured = securedMediaHost === undefined ? undefined : SecuredHost.parse(securedMediaHost);
    if (secured === undefined && securedMediaHost !== undefined) {
      throw wrongAnswer(me, "has a SECURED_MEDIA_HOST that is no host");
    }
    if (!VISIBLE_ASCII.test(fat)) throw wrongAnswer(me, "has a fat that cannot be sent");
    const shown = Object.freeze({ clientApiHost, chatApiVersion, securedMediaHost });
    const session = Object.freeze({ uid, name, settings: shown });
    return new Login(session, secured, authToken, fat, renewAt(fatExpiresAt, now()), urls);
  }

  /**
   * Whether the FAT need not be renewed at `now`, in UNIX seconds.
   *
   * @param {number} now
   */
  isFresh(now) {
    return now < this.renewAt;
  }

  /**
   * Whether both are one login, renewed or not.
   *
   * @param {Login} other
   */
  isSame(other) {
    return this.urls === other.urls;
  }
}

/** Presigned URLs that one login has got, by the media URL that they open, until shortly before they expire. */
class PresignedUrls {
  /** The one that was asked for longest ago comes first. @type {Map<string, { url: string, expiresAt: number }>} */
  #kept = new Map();
  /** @type {number} */
  #capacity;

  /**
   * Keeps so many at most.
   *
   * @param {number} capacity
   */
  constructor(capacity) {
    this.#capacity = capacity;
  }

  /**
   * Returns the URL for `media`, if there is one that lives on long enough at `now`, in UNIX seconds.
   *
   * @param {string} media
   * @param {number} now
   */
  get(media, now) {
    const presigned = this.#kept.get(media);
    if (presigned === undefined) return undefined;
    this.#kept.delete(media);
    if (presigned.expiresAt <= now + URL_MARGIN_SECS) return undefined;
    this.#kept.set(media, presigned);
    return presigned.url;
  }

  /**
   * Keeps `url`, where it lives on long enough. One that does not say when it ends is not kept: what it rests on may have
   * ended.
   *
   * @param {string} media
   * @param {string} url
   * @param {number | null} expiresAt UNIX seconds.
   * @param {number} now UNIX seconds.
   */
  insert(media, url, expiresAt, now) {
    if (expiresAt === null || expiresAt <= now + URL_MARGIN_SECS) return;
    this.#kept.delete(media);
    this.#kept.set(media, { url, expiresAt });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#capacity) return;
      this.#kept.delete(oldest);
    }
  }
}

/** The host that tokens are for, as logins tell it (`SECURED_MEDIA_HOST`). */
class SecuredHost {
  /**
   * @param {string} name
   * @param {string} port Empty: any.
   */
  constructor(name, port) {
    this.name = name;
    this.port = port;
  }

  /**
   * Reads `host` or `host:port`; `undefined` where it is neither.
   *
   * @param {string} text
   */
  static parse(text) {
    // A port that goes without saying is dropped; of two schemes it is that of one only.
    const [http, https] = [parse(`http://${text}`), parse(`https://${text}`)];
    if (http === undefined || https === undefined || /[/?#]/.test(text)) return undefined;
    return new SecuredHost(http.hostname, http.port || https.port);
  }

  /**
   * Whether `url` is one of this host's.
   *
   * @param {URL} url
   */
  owns(url) {
    const port = url.port || (url.protocol === "https:" ? "443" : "80");
    return url.hostname === this.name && (this.port === "" || this.port === port);
  }
}

/**
 * Returns `text` as a URL that every HTTP library reads alike.
 *
 * Browsers fold `\` into `/` and drop tabs and line breaks, others do not: of such a URL it cannot be said whose it is. A
 * user before the host is refused for its looks.
 *
 * @param {unknown} text
 */
function parse(text) {
  if (typeof text !== "string" || text.length > MAX_URL_BYTES || /[\x00-\x20\\\x7f]|\p{Surrogate}/u.test(text)) {
    return undefined;
  }
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  if (authority === undefined || /[@%"`{}]/.test(authority)) return undefined;
  if (new TextEncoder().encode(text).length > MAX_URL_BYTES) return undefined;
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

/**
 * Whether `url` opens its file, or is refused, for what it shows itself.
 *
 * @param {URL} url
 */
function hasCredential(url) {
  return [...url.searchParams.keys()].some((name) => isFat(name) || isSignature(name));
}

/**
 * The URL of the object alone: without a token, a signature, a wish for a redirect, or a fragment.
 *
 * @param {URL} url
 */
function clean(url) {
  const bare = new URL(url);
  bare.hash = "";
  // A presigned URL is signed as a whole, so all of its query goes.
  const isSigned = [...url.searchParams.keys()].some(isSignature);
  const rest = isSigned
    ? []
    : url.search
        .slice(1)
        .split("&")
        .filter((pair) => !isOurs(pair));
  bare.search = rest.join("&") && `?${rest.join("&")}`;
  return bare;
}

/**
 * Whether a parameter, as it is written, is for the gate. The others stay as they are written.
 *
 * @param {string} pair
 */
function isOurs(pair) {
  // Without the `&`, a `?` that the name begins with would be dropped.
  const [name = ""] = new URLSearchParams(`&${pair}`).keys();
  return isFat(name) || name.toLowerCase() === "redirect";
}

/**
 * `url` with one more parameter.
 *
 * @param {URL} url
 * @param {string} name
 * @param {string} value
 */
function withParameter(url, name, value) {
  const longer = new URL(url);
  longer.search = `${url.search === "" ? "?" : `${url.search}&`}${name}=${encodeURIComponent(value)}`;
  return longer;
}

/** @param {string} name */
function isFat(name) {
  return name.toLowerCase() === "fat";
}

/** @param {string} name */
function isSignature(name) {
  return name.toLowerCase() === "signature";
}

/**
 * Does `work`, whose signal is given after `timeout` milliseconds.
 *
 * @template T
 * @param {number} timeout
 * @param {URL} url
 * @param {(signal: AbortSignal) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function within(timeout, url, work) {
  const late = new AbortController();
  const error = new ClientError("Timeout", `${url.host} was silent for ${timeout} ms`, { host: url.host });
  const timer = setTimeout(() => late.abort(error), timeout);
  try {
    const outcome = await work(late.signal);
    late.signal.throwIfAborted();
    return outcome;
  } catch (other) {
    throw late.signal.aborted ? error : other;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Returns the head of the answer; its body comes behind.
 *
 * @param {URL} url
 * @param {RequestInit & { signal: AbortSignal }} request
 */
async function send(url, request) {
  const bare = new URL(url);
  bare.hash = "";
  try {
    return await fetch(bare, { ...REQUEST, ...request });
  } catch (error) {
    if (request.signal.aborted) throw request.signal.reason;
    // What `fetch` throws may hold the URL. Node says why in a code behind it.
    const code = fieldsOf(fieldsOf(error).cause).code;
    const why = typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code) ? code : "no connection";
    throw new ClientError("Unreachable", `cannot talk to ${url.host}: ${why}`, { host: url.host });
  }
}

/**
 * Returns the JSON of a body that is not too long; `undefined` where it is none.
 *
 * @param {Response} response
 * @param {URL} url
 * @param {AbortSignal} signal Ends the reading early.
 * @returns {Promise<unknown>}
 */
async function read(response, url, signal) {
  const { host } = url;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = response.body?.getReader();
  signal.addEventListener("abort", () => cancel(reader), { once: true });
  let [text, length] = ["", 0];
  for (;;) {
    const piece = await reader?.read().catch(() => {
      throw new ClientError("Broken", `${host} broke off its answer`, { host });
    });
    length += piece?.value?.length ?? 0;
    if (length > MAX_ANSWER_BYTES) {
      cancel(reader);
      throw new ClientError("TooLarge", `the answer of ${host} has more than ${MAX_ANSWER_BYTES} bytes`, { host });
    }
    try {
      text += decoder.decode(piece?.value, { stream: piece?.done === false });
      if (piece?.done !== false) return JSON.parse(text);
    } catch {
      cancel(reader);
      return undefined;
    }
  }
}

/**
 * Ends what nobody reads on; that it has ended already is no error.
 *
 * @param {{ cancel(): Promise<void> } | null | undefined} body
 */
function cancel(body) {
  body?.cancel().catch(() => {});
}

/**
 * An answer that says no. Only its code is kept, and only where it looks like one: a server may repeat what it was sent.
 *
 * @param {URL} url
 * @param {number} status
 * @param {unknown} body
 */
function refusal({ host }, status, body) {
  const said = fieldsOf(fieldsOf(body).error).code;
  const code = typeof said === "string" && /^[A-Z_]{1,64}$/.test(said) ? said : "";
  return new ClientError("Refused", `${host} refused: ${status} ${code}`.trimEnd(), { host, status, code });
}

/**
 * @param {unknown} error
 * @returns {error is ClientError}
 */
function isRefused(error) {
  return error instanceof ClientError && error.kind === "Refused";
}

/**
 * @param {URL} url
 * @param {string} why
 */
function wrongAnswer({ host }, why) {
  return new ClientError("Answer", `the answer of ${host} ${why}`, { host });
}

/**
 * @param {string} option
 * @param {string} why
 */
function wrongOption(option, why) {
  return new ClientError("Option", `\`${option}\` ${why}`, { option });
}

function notLoggedIn() {
  return new ClientError("NotLoggedIn", "nobody is logged in");
}

function wrongUrl() {
  return new ClientError("Url", "not a URL that can be fetched");
}

/**
 * @param {number | null} expiresAt
 * @param {number} now
 */
function renewAt(expiresAt, now) {
  if (expiresAt === null) return Infinity;
  const left = Math.max(0, expiresAt - now);
  return expiresAt - Math.min(FAT_MARGIN_SECS, Math.floor(left / 4));
}

/** UNIX seconds. */
function now() {
  return Math.floor(Date.now() / 1000);
}

/**
 * The members of an object; none of what is no object.
 *
 * @param {unknown} value
 * @returns {Record<string, unknown>}
 */
function fieldsOf(value) {
  return isObject(value) ? /** @type {Record<string, unknown>} */ (value) : {};
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {unknown} value
 * @returns {value is string | undefined}
 */
function isTextOrNone(value) {
  return value === undefined || typeof value === "string";
}

/**
 * Whether `value` is UNIX seconds.
 *
 * @param {unknown} value
 * @returns {value is number}
 */
function isTime(value) {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}
