/**
 * One of the ways below.
 */
export type SecureMediaMode = (typeof SecureMediaMode)[keyof typeof SecureMediaMode];
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
export const SecureMediaMode: Readonly<{
    /** In the URL, `?fat=`: for images, players and links. */
    Embedded: "embedded";
    /** In a header field, `fat`: the URL stays clean. */
    HeaderBased: "headerBased";
    /** Not at all: the file is opened with a presigned URL, which the token was exchanged for. */
    Presigned: "presigned";
}>;
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
    constructor(kind: ErrorKind, message: string, { option, host, status, code }?: {
        option?: string;
        host?: string;
        status?: number;
        code?: string;
    });
    /** What went wrong. */
    kind: ErrorKind;
    /** The option or argument that is wrong. */
    option: string | undefined;
    /** Whom it was with, with the port where the URL has one. */
    host: string | undefined;
    /** The HTTP status of a refusal. */
    status: number | undefined;
    /** The code of a refusal, like `ERR_USER_DEACTIVATED`; empty where there is none. */
    code: string | undefined;
}
/** A client for one user at a time. */
export class Client {
    /**
     * Makes a client that nobody is logged in to. Makes no connection.
     *
     * @param {ClientOptions} options
     * @throws {ClientError} `Option`, for an option that cannot be used.
     */
    constructor({ control, app, mode, answerTimeout, cachedUrls }: ClientOptions);
    /**
     * Who is logged in.
     *
     * @returns {Session | undefined}
     */
    get session(): Session | undefined;
    /**
     * Logs a user in, in place of whoever was.
     *
     * @param {string} authToken
     * @returns {Promise<Session>}
     * @throws {ClientError} `Refused` for a token that is nobody's or a deactivated user's. Whoever was logged in still is.
     */
    login(authToken: string): Promise<Session>;
    /**
     * Logs out: here at once, whatever comes of it, and on the server, where the session's tokens are dead then.
     *
     * @returns {Promise<void>}
     * @throws {ClientError} When the server could not be told. A session that it does not know is none.
     */
    logout(): Promise<void>;
    /**
     * Returns the user's File Access Token, renewed where it has ended or soon will. It is plain text: do not log it.
     *
     * @returns {Promise<string>}
     * @throws {ClientError} When nobody is logged in, or a renewal that was due has failed.
     */
    getFat(): Promise<string>;
    /**
     * Whether `url` opens for a token only: it is a plain http(s) URL of the host that the login has named, and of its
     * port where that has one. Never, while nobody is logged in or the app asks for no tokens.
     *
     * @param {string} url
     * @returns {boolean}
     */
    requiresSecureAccess(url: string): boolean;
    /**
     * Whether tokens go into header fields: the mode is `HeaderBased`, and the login has named a host that they are for.
     *
     * @returns {boolean}
     */
    isHeaderModeEnabled(): boolean;
    /**
     * Returns `url` with `?fat=`, in the embedded mode. As it is in the others, where it needs no token, and where it has
     * one or a signature already.
     *
     * @param {string} url
     * @returns {Promise<string>}
     * @throws {ClientError} As for `getFat`.
     */
    mediaUrl(url: string): Promise<string>;
    /**
     * Returns the header fields to send with `url`: the token, in the header mode and where `mediaUrl` would append one in
     * the embedded mode; else none. Send them to that URL only, and follow no redirect with them.
     *
     * @param {string} url
     * @returns {Promise<Record<string, string>>}
     * @throws {ClientError} As for `getFat`.
     */
    mediaHeaders(url: string): Promise<Record<string, string>>;
    /**
     * Returns a presigned URL for `url`, which opens without a token, in any mode; a kept one, unless it soon ends. `url` as
     * it is where it needs no token, and where it is none: then nothing is sent.
     *
     * @param {string} url
     * @returns {Promise<string>}
     * @throws {ClientError} As for `getFat`, and when the gate refuses, after one retry with a fresh token.
     */
    fetchPresignedUrl(url: string): Promise<string>;
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
    get(url: string, { signal }?: {
        signal?: AbortSignal;
    }): Promise<Response>;
    #private;
}
/**
 * What a client is made of.
 */
export type ClientOptions = {
    /**
     * The control listener, like `https://api.acme.example`.
     */
    control: string;
    /**
     * The app.
     */
    app: string;
    /**
     * How tokens are shown.
     */
    mode: SecureMediaMode;
    /**
     * How long an answer of the control listener, a presigned URL, and the head of a file
     * may take, connecting included, in milliseconds; 30000.
     */
    answerTimeout?: number | undefined;
    /**
     * How many presigned URLs are kept at most; 1000.
     */
    cachedUrls?: number | undefined;
};
/**
 * Who is logged in. Holds no token.
 */
export type Session = {
    /**
     * The user.
     */
    uid: string;
    /**
     * The user's name, as people read it.
     */
    name: string;
    /**
     * What the server has told.
     */
    settings: Settings;
};
/**
 * What the server tells clients when they log in.
 */
export type Settings = {
    /**
     * The host of the control listener. For information: this client goes on calling the
     * one that it was made for.
     */
    clientApiHost?: string | undefined;
    /**
     * The version of the API, like `v3.0`.
     */
    chatApiVersion?: string | undefined;
    /**
     * The host, with a port or without, whose URLs need a token; without it no URL does.
     */
    securedMediaHost?: string | undefined;
};
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
 */
export type ErrorKind = "Option" | "NotLoggedIn" | "Url" | "Unreachable" | "Timeout" | "Broken" | "Refused" | "Answer" | "TooLarge";
