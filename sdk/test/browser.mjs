// node sdk/test/browser.mjs codec.wasm golden.json: the checks of golden.js in headless Chromium.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { startBrowser } from "../../testing/browser/harness/browser.mjs";

const [wasm, golden] = process.argv.slice(2);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const FILES = {
  "/": ["text/html", async () => "<!doctype html><title>codec</title>"],
  "/codec.js": ["text/javascript", () => readFile(here("../codec.js"))],
  "/test/golden.js": ["text/javascript", () => readFile(here("./golden.js"))],
  "/codec.wasm": ["application/wasm", () => readFile(wasm)],
  "/golden.json": ["application/json", () => readFile(golden)],
};

const server = createServer(async (request, response) => {
  const file = FILES[request.url];
  if (!file) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": file[0] }).end(await file[1]());
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const browser = await startBrowser();
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const figures = await page.evaluate(async () => {
    const { run } = await import("/test/golden.js");
    const module = await WebAssembly.compileStreaming(fetch("/codec.wasm"));
    return run(module, await (await fetch("/golden.json")).json());
  });
  console.log(JSON.stringify(figures));
} finally {
  await browser.close();
  server.close();
}
