// What the tests of pages share: keys that are pressed, and pictures of what is seen.

import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Longer than anything here takes; a test that waits for it has failed. */
const PATIENCE = 50_000;

/** Calls `task` in the page until it returns something; returns that. */
export async function eventually(page, what, task, ...args) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    // A page that is just being left answers nothing.
    const found = await page.run(task, ...args).catch(() => undefined);
    if (found) return found;
    assert.ok(Date.now() < end, `never: ${what}`);
  }
}

const KEYS = {
  Tab: { key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 },
  Enter: { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" },
};

/** Presses a key. */
export async function press(page, name) {
  await page.send("Input.dispatchKeyEvent", { type: "keyDown", ...KEYS[name] });
  await page.send("Input.dispatchKeyEvent", { type: "keyUp", ...KEYS[name] });
}

/** Types into what has the focus. */
export function type(page, text) {
  return page.send("Input.insertText", { text });
}

/** What has the focus: its label, or what it says. */
function focused() {
  const element = document.activeElement;
  return element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent.trim();
}

/** Goes on with Tab to what is called `name`. */
export async function tabTo(page, name) {
  const passed = [];
  for (let at = 0; at < 60; at++) {
    await press(page, "Tab");
    const found = await page.run(focused);
    if (found === name) {
      const seen = await page.run(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.notEqual(seen, "none", `${name} shows that it has the focus`);
      return;
    }
    passed.push(found);
  }
  assert.fail(`no ${name} among ${passed.join(" | ")}`);
}

/** Takes pictures of the page in light and in dark, where MEDIAGATE_SCREENSHOTS names a folder for them. */
export async function picture(page, name, width = 1200) {
  const folder = process.env.MEDIAGATE_SCREENSHOTS;
  if (folder === undefined) return;
  await mkdir(folder, { recursive: true });
  await page.send("Emulation.setDeviceMetricsOverride", { width, height: 800, deviceScaleFactor: 1, mobile: false });
  for (const value of ["light", "dark"]) {
    await page.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
    const { data } = await page.send("Page.captureScreenshot", { captureBeyondViewport: true });
    await writeFile(join(folder, `${name}-${value}.png`), Buffer.from(data, "base64"));
  }
}
