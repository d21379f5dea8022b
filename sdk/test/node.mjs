// node sdk/test/node.mjs codec.wasm golden.json
import { readFile } from "node:fs/promises";
import { run } from "./golden.js";

const [wasm, golden] = process.argv.slice(2);
const figures = await run(await WebAssembly.compile(await readFile(wasm)), JSON.parse(await readFile(golden, "utf8")));
console.log(JSON.stringify(figures));
