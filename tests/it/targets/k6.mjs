import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const modules = {
  data: "export class SharedArray { constructor(name, make) { return make(); } }",
  execution: "const scenario = { iterationInTest: 0 }; export default { scenario };",
  metrics:
    "export class Counter { constructor(name) { globalThis.counted = {}; } " +
    "add(n, tags) { counted[tags.status] = (counted[tags.status] ?? 0) + n; } }",
  http: "export default { get(url, params) { return globalThis.get(url, params); } };",
};
mkdirSync("node_modules/k6", { recursive: true });
const exports = Object.fromEntries(Object.keys(modules).map((name) => [`./${name}`, `./${name}.js`]));
writeFileSync("node_modules/k6/package.json", JSON.stringify({ name: "k6", type: "module", exports }));
for (const [name, text] of Object.entries(modules)) {
  writeFileSync(`node_modules/k6/${name}.js`, text);
}
writeFileSync("package.json", '{"type":"module"}');
globalThis.__ENV = {};
globalThis.open = (path) => readFileSync(path, "utf8");
const asked = [];
globalThis.get = (url, { headers, redirects, tags }) => {
  if (redirects !== 0 || tags.name !== "target") throw new Error("each URL would be a series of its own");
  asked.push([url, headers.fat ?? null]);
  // k6 waits within the call, which Node does not: the status is filled in before it is counted.
  return { status: statuses[asked.length - 1] };
};
const targets = readFileSync("list.txt", "utf8").trim().split("\n");
const statuses = [];
for (let at = 0; at < targets.length + 2; at++) {
  const [url, token] = targets[at % targets.length].split(" ");
  const answer = await fetch(url, { headers: token ? { fat: token } : {} });
  await answer.arrayBuffer();
  statuses.push(answer.status);
}
const script = await import(pathToFileURL(process.argv[2]));
const { default: exec } = await import(pathToFileURL("node_modules/k6/execution.js"));
for (let at = 0; at < statuses.length; at++) {
  exec.scenario.iterationInTest = at;
  script.default();
}
console.log(JSON.stringify({ asked, answers: globalThis.counted, options: script.options }));
