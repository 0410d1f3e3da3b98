// Which URLs are whose, and what they show themselves: the table that the Rust client is held to, too, and what only
// JavaScript has. The URL parsers of Node and of the browser are not the same, so both are asked.

import { readFileSync } from "node:fs";

const table = JSON.parse(readFileSync(new URL("../../../src/client/urls.json", import.meta.url), "utf8"));

const HOST = "files.acme.example";

/** The longest URL that is looked at. */
const MAX_BYTES = 8192;

const long = `https://${HOST}/${"a".repeat(MAX_BYTES)}`;

/** What a login names, a URL, and whether it is one of that host's. */
export const HOSTS = [
  ...table.hosts,
  [HOST, long.slice(0, MAX_BYTES), true],
  [HOST, long.slice(0, MAX_BYTES + 1), false],
  // Longer in bytes than in characters.
  [HOST, `https://${HOST}/${"\u00fc".repeat(MAX_BYTES / 2)}`, false],
  // Half a character: others send something else in its place.
  [HOST, `https://${HOST}/\ud800`, false],
  // No text.
  ...[null, 7, {}, [`https://${HOST}/a`]].map((value) => [HOST, value, false]),
];

/** What a login cannot name. */
export const NO_HOSTS = table.noHosts;

/** A URL, whether it shows a credential, and what it is without. */
export const CREDENTIALS = table.credentials;
