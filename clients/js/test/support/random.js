// Random numbers that can be repeated: each test prints its seed, and SEED sets it.

export const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Mulberry32: 32 bits of state are enough for generated streams. */
export function random(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit) => Math.floor(next() * limit);
  return { next, below, pick: (list) => list[below(list.length)] };
}

const PARTS = [
  "\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", ":", " ", "data", "data: a", "data:b", "data: ", "event", "event: c",
  "event:", "id", "id: 7", "id: 8\0", "id:", "retry", "retry: 5", "9", "foo", "foo: d", "\0", "\ufeff", "é", "\u{1f600}", "\u2028",
].map((part) => new TextEncoder().encode(part));
const BROKEN = [[0xef, 0xbb], [0xe2, 0x82], [0xac], [0xff], [0xf0, 0x9f]].map((part) => Uint8Array.from(part));

/** A stream of odd parts, in any order. */
export function oddStream({ below, pick }, parts = [...PARTS, ...BROKEN]) {
  return Buffer.concat(Array.from({ length: below(40) }, () => pick(parts)));
}

/** A stream whose bytes are all text. */
export function oddText(source) {
  return oddStream(source, PARTS);
}

/** Cuts bytes into chunks of any length, some of them empty. */
export function cut(bytes, { below }) {
  const chunks = [];
  for (let at = 0; at < bytes.length;) {
    const length = below(8);
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return chunks;
}
