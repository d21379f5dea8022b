// A sound card of nothing: PulseAudio with a null sink, on a socket of its own.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_MS = 10_000;

export async function startSound() {
  const home = mkdtempSync(join(tmpdir(), 'auralink-sound-'));
  const socket = join(home, 'socket');
  const child = spawn('pulseaudio', [
    '-n', '--daemonize=no', '--use-pid-file=no', '--exit-idle-time=-1', '--disable-shm=yes',
    `--load=module-native-protocol-unix socket=${socket} auth-anonymous=1`,
    '--load=module-null-sink',
  ], { env: { ...process.env, HOME: home, XDG_RUNTIME_DIR: home }, stdio: 'ignore' });
  let ended;
  child.once('error', (error) => { ended = error.message; });
  child.once('exit', (code) => { ended ??= `it ended with ${code}`; });
  const stop = () => {
    child.kill();
    rmSync(home, { recursive: true, force: true });
  };
  for (const from = Date.now(); !existsSync(socket); await sleep(25)) {
    if (ended || Date.now() - from > START_MS) {
      stop();
      throw new Error(`no PulseAudio: ${ended ?? 'it makes no socket'}`);
    }
  }
  return { environment: { PULSE_SERVER: `unix:${socket}` }, stop };
}
