// Written by `mediagate targets`. Asks for the lines of a list in turn: a URL, or a URL and a token for the `fat` header.
//
//   k6 run -e RATE=1000 -e DURATION=30s THIS.js
//
// The rate is kept whatever the answers take (an open loop); all virtual users share one copy of the list.
import { SharedArray } from "k6/data";
import exec from "k6/execution";
import http from "k6/http";
import { Counter } from "k6/metrics";

const targets = new SharedArray("targets", () => open("@LIST@").trim().split("\n"));
const answers = new Counter("answers");

export const options = {
  discardResponseBodies: true,
  scenarios: {
    targets: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE || 1000),
      timeUnit: "1s",
      duration: __ENV.DURATION || "30s",
      preAllocatedVUs: Number(__ENV.VUS || 100),
      maxVUs: 10 * Number(__ENV.VUS || 100),
    },
  },
  // Statuses by their number, in the summary.
  thresholds: Object.fromEntries([200, 206, 401, 403, 503].map((status) => [`answers{status:${status}}`, ["count>=0"]])),
};

export default function () {
  const [url, token] = targets[exec.scenario.iterationInTest % targets.length].split(" ");
  const answer = http.get(url, {
    headers: token ? { fat: token } : {},
    // Without it, each URL is a time series of its own, with its token for a name.
    tags: { name: "target" },
    redirects: 0,
  });
  answers.add(1, { status: String(answer.status) });
}
