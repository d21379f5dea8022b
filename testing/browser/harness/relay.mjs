// A UDP relay between browsers and the server. It counts every datagram both ways, the headers of IPv4 and UDP included.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from './server.mjs';

const HEADERS = 28;
const SERVER = '127.0.0.1';
/** The server advertises this address with its own port; there the relay listens. */
const RELAY = '127.0.0.2';

async function bound(address) {
  const socket = createSocket('udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  return socket;
}

/** A server that browsers reach through the relay only. `traffic` lists what each socket of a browser sent and got so far, in bytes, oldest first. */
export async function startRelayedServer() {
  const front = await bound(RELAY);
  const { port } = front.address();
  const paths = new Map();
  front.on('message', async (datagram, from) => {
    const key = `${from.address}:${from.port}`;
    let path = paths.get(key);
    if (!path) {
      path = { up: 0, down: 0, packetsUp: 0, back: bound(SERVER) };
      paths.set(key, path);
      (await path.back).on('message', (answer) => {
        path.down += answer.length + HEADERS;
        front.send(answer, from.port, from.address);
      });
    }
    path.up += datagram.length + HEADERS;
    path.packetsUp += 1;
    (await path.back).send(datagram, port, SERVER);
  });

  const folder = await mkdtemp(join(tmpdir(), 'auralink-relay-'));
  const file = join(folder, 'server.toml');
  const [key, secret] = ['devkey', 'a secret of this test only'];
  await writeFile(file, `
    listen = "127.0.0.1:0"
    udp = "${SERVER}:${port}"
    advertised = ["${RELAY}"]
    database = "memory"
    [keys]
    ${key} = "${secret}"
  `);
  const server = await startServer(`serve --config ${file}`);
  return {
    ...server,
    secret,
    traffic: () => [...paths.values()].map(({ up, down, packetsUp }) => ({ up, down, packetsUp })),
    async stop() {
      const end = await server.stop();
      front.close();
      for (const { back } of paths.values()) (await back).close();
      await rm(folder, { recursive: true, force: true });
      return end;
    },
  };
}
