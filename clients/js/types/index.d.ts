// Types of carafe-client.

/** A value, or a function that is called and awaited at each connection. */
export type Provided<T, A = void> = T | ((argument: A) => T | Promise<T>);

export interface StreamOptions {
  /** Headers of each request. */
  headers?: Provided<HeadersInit | undefined>;
  /**
   * Bearer token of each request. After a 401, a function is called once more, with `refused: true`: it must not return
   * a cached token then.
   */
  token?: Provided<string | undefined, { refused: boolean }>;
  /** Replaces the global `fetch`. */
  fetch?: (url: URL, init: RequestInit) => Promise<Response>;
  /** Ends the stream. */
  signal?: AbortSignal;
  method?: string;
  body?: Provided<BodyInit | undefined>;
  /** Sends cookies to other origins, too. */
  withCredentials?: boolean;
  /** Where the stream begins: after this event. A stored position precedes it. */
  lastEventId?: string;
  /** Stores the position under this key, and resumes from it after a reload. */
  resume?: string;
  /** Where the position is stored: `sessionStorage` if this is missing. */
  storage?: Pick<Storage, "getItem" | "setItem">;
  /** Milliseconds to wait before a new connection, until the server sends its own `retry:`. Default: 2000. */
  retry?: number;
  /** Asks the hub for a heartbeat after so many milliseconds of silence, and sets `silence` to thrice as many. */
  heartbeat?: number;
  /** Milliseconds without a byte after which the connection counts as dead; 0 for never. Default: 45000. */
  silence?: number;
  /** Whether a hidden page keeps its connection. Default: `keep`. */
  background?: "keep" | "pause";
  /**
   * Polls when no byte of a stream arrives: something on the way buffers streams. A number is the time to wait for the
   * first byte after the request, in milliseconds; `true` is 5000.
   */
  fallback?: boolean | number;
  /**
   * All tabs of an origin that share this URL by the same name, or by `true`, have one connection. They must have the same
   * rights, so the name is usually the ID of the user; an empty one shares nothing. The other options should be the same in
   * each. Needs a secure context. Default: `false`.
   */
  share?: boolean | string;
}

export interface SubscribeOptions extends StreamOptions {
  /** Called at each change of the state. */
  onState?: (state: StreamState) => void;
  /** Called with each report of the hub, at its place between the events. */
  onControl?: (control: Control) => void;
  /** Whether the iterator yields the reports of the hub, too. */
  controls?: boolean;
}

export interface StreamEvent {
  type: string;
  data: string;
  /** The last event ID, as of this event. */
  id: string;
}

/** A report of the hub itself. `control` is its type without `carafe.`. */
export type Control = { id: string } & (
  | { control: "position" | "expired" | "heartbeat"; position: string }
  | { control: "gap"; requested: string; oldest: string | null; reason: string }
  | { control: "end"; topic?: string; outcome: string; reason?: string | null; position?: string }
  | { control: "stop"; topic: string; reason: string | null; position: string }
);

/** Why a stream is not open. The first line is followed by another attempt. */
export type Reason =
  | "network" | "closed" | "silence" | "status" | "html" | "token" | "hidden" | "buffered" | "online"
  | "done" | "content-type" | "too-large" | "aborted";

export type StreamState = {
  /** Milliseconds since 1970. */
  lastEventTime?: number;
  reason?: Reason;
  /** The status and the response that led to this state. */
  status?: number;
  response?: Response;
  /** What `fetch` or the token function has thrown. */
  error?: unknown;
} & (
  | { name: "connecting" }
  | { name: "open"; transport: "stream" | "poll"; status: number; response: Response }
  /** Until this time in milliseconds since 1970, or `Infinity`: until the page is shown. */
  | { name: "waiting"; until: number; reason: Reason }
  | { name: "ended"; reason: Reason }
);

export interface Subscription<E = StreamEvent> extends AsyncIterable<E> {
  readonly state: StreamState;
  /** The last event that the loop has handled. */
  readonly lastEventId: string;
  close(): void;
  [Symbol.asyncIterator](): AsyncGenerator<E, void, void>;
}

/**
 * Opens a stream. The iterator ends after `close`, after `signal`, and after the end of the stream (204). It throws a
 * `StreamError` when the server refuses the stream for good.
 */
export function subscribe(
  url: string | URL, options: SubscribeOptions & { controls: true },
): Subscription<StreamEvent | Control>;
export function subscribe(url: string | URL, options?: SubscribeOptions): Subscription;

export class StreamError extends Error {
  reason: Reason;
  status?: number;
  response?: Response;
}

interface EventSourceEvents {
  open: Event;
  message: MessageEvent<string>;
  error: Event;
}

/** The browser's `EventSource`, with the options above. */
export class EventSource extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  constructor(url: string | URL, options?: StreamOptions);
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;
  readonly readyState: 0 | 1 | 2;
  readonly url: string;
  readonly withCredentials: boolean;
  /** What the browser's does not tell. */
  readonly state: StreamState;
  onopen: ((this: EventSource, event: Event) => void) | null;
  onmessage: ((this: EventSource, event: MessageEvent<string>) => void) | null;
  onerror: ((this: EventSource, event: Event) => void) | null;
  close(): void;
  addEventListener<T extends keyof EventSourceEvents>(
    type: T, listener: (this: EventSource, event: EventSourceEvents[T]) => void, options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string, listener: (this: EventSource, event: MessageEvent<string>) => void, options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener(
    type: string, listener: (this: EventSource, event: any) => void, options?: boolean | EventListenerOptions,
  ): void;
}
