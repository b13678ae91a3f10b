// A network before a hub that can be cut. It forwards bytes, and so leaves TLS and HTTP/2 as they are.
import { once } from "node:events";
import { connect, createServer } from "node:net";

export async function startWire(t, hub) {
  const { protocol, port } = new URL(hub.base);
  const sockets = new Set();
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    near.pipe(far).pipe(near);
    for (const [socket, other] of [[near, far], [far, near]]) {
      socket.on("error", () => {});
      socket.on("close", () => other.destroy());
    }
    sockets.add(near);
    near.on("close", () => sockets.delete(near));
  });
  const cut = () => { for (const socket of sockets) socket.destroy(); };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    cut();
  });
  return { base: `${protocol}//127.0.0.1:${server.address().port}`, cut, sockets };
}
