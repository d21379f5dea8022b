// The server under test: the program itself, started for one test file and stopped with SIGTERM.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const START_MS = 30_000;
const STOP_MS = 5_000;
const LINES_KEPT = 200;

export const KEY = 'devkey';
export const SECRET = 'secret';

/** The program of this build. */
export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../../target', import.meta.url));
  const path = process.env.AURALINK_BIN ?? resolve(target, 'debug/auralink');
  if (!existsSync(path)) throw new Error(`no server at ${path}: build it, or name it in AURALINK_BIN`);
  return path;
}

/** Starts the server, on ports chosen by the system unless told otherwise; `url` is what an SDK connects to. */
export async function startServer(words = process.env.AURALINK_ARGS ?? 'serve --dev --listen 127.0.0.1:0 --database memory') {
  const child = spawn(binary(), words.split(' ').filter(Boolean), { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = [];
  let address;
  let ended;
  const exit = new Promise((done) => child.once('exit', (code, signal) => done((ended = { code, signal }))));
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text) => {
      for (const line of text.split('\n').filter(Boolean)) {
        lines.push(line);
        if (lines.length > LINES_KEPT) lines.shift();
        address ??= line.match(/https?:\/\/((?:127\.0\.0\.1|localhost):[1-9]\d*)/)?.[1];
      }
    });
  }
  for (const from = Date.now(); !address; await sleep(25)) {
    if (ended || Date.now() - from > START_MS) {
      child.kill('SIGKILL');
      throw new Error(`the server named no address (${JSON.stringify(ended ?? 'still running')}):\n${lines.join('\n')}`);
    }
  }
  return {
    http: `http://${address}`,
    url: `ws://${address}`,
    lines,
    /** How it ended: a clean shutdown has code 0. */
    async stop() {
      child.kill('SIGTERM');
      const forced = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      const end = await exit;
      clearTimeout(forced);
      return end;
    },
  };
}
