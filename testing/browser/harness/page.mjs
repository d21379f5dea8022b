// The page that every participant loads, over HTTP on loopback: a secure context without a certificate.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const script = (name) => [`/${name}`, [file(`../page/${name}`), 'text/javascript']];
const FILES = {
  '/': [file('../page/index.html'), 'text/html'],
  ...Object.fromEntries(['answers.js', 'participant.js', 'senses.js', 'sources.js'].map(script)),
  '/livekit-client.umd.js': [file('../node_modules/livekit-client/dist/livekit-client.umd.js'), 'text/javascript'],
};

/** Serves it, and `more` files, each as `[path, type]` under its address. */
export async function servePage(more = {}) {
  const files = { ...FILES, ...more };
  const server = createServer(async (request, response) => {
    const [path, type] = files[request.url] ?? [];
    if (!path) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': type }).end(await readFile(path));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    stop: () => new Promise((done) => { server.close(done); server.closeAllConnections(); }),
  };
}
