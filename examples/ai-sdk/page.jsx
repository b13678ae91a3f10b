// A chat that resumes: after a reload, in another tab, and after a restart of the hub.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { useCallback, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

/** How long to wait before the hub is asked again. */
const RETRY_MS = 500;

const text = ({ parts }) => parts.map((part) => (part.type === "text" ? part.text : "")).join("");
const questions = (messages) => messages.filter(({ role }) => role === "user").length;

function Chat({ id, initial, onLost }) {
  const seen = useRef(initial);
  const [transport] = useState(
    () =>
      new DefaultChatTransport({
        prepareSendMessagesRequest: ({ messages }) => ({
          api: `/chats/${id}`,
          body: { message: messages.at(-1) },
        }),
        // The topic of the answer to the last question, from its first chunk. 204 if there is no such answer.
        prepareReconnectToStreamRequest: () => ({
          api: `${HUB}/events/chat/${id}/${questions(seen.current)}?earliest&absent=204&control=comments`,
        }),
      }),
  );
  const isOpen = initial.at(-1)?.role === "user";
  const { messages, sendMessage, status, error } = useChat({
    id,
    messages: initial,
    transport,
    resume: isOpen,
  });
  seen.current = messages;
  useEffect(() => {
    if (!error) return undefined;
    const timer = setTimeout(onLost, RETRY_MS);
    return () => clearTimeout(timer);
  }, [error, onLost]);

  const ask = (event) => {
    event.preventDefault();
    sendMessage({ text: event.target.elements.question.value });
  };
  const isBusy = status !== "ready";
  return (
    <main style={{ font: "1rem/1.5 system-ui", maxWidth: "40rem", margin: "2rem auto", whiteSpace: "pre-wrap" }}>
      {messages.map((message) => (
        <p key={message.id} className={message.role}>
          {text(message)}
        </p>
      ))}
      <form onSubmit={ask}>
        <input name="question" size="40" defaultValue="How is espresso made?" aria-label="Question" />{" "}
        <button id="ask" disabled={isBusy}>Ask</button>{" "}
        <button id="stop" type="button" disabled={!isBusy} onClick={() => fetch(`/chats/${id}/stop`, { method: "POST" })}>
          Stop
        </button>{" "}
        <output id="status">{status}</output>
      </form>
    </main>
  );
}

// The address of the page names the chat.
if (!location.hash) location.hash = crypto.randomUUID();
const id = location.hash.slice(1);
const load = async () => (await fetch(`/chats/${id}`)).json();

/** When the connection was lost, as with a restart of the hub, the chat begins again with what the server has. */
function App({ initial }) {
  const [chat, setChat] = useState({ attempt: 0, messages: initial });
  const onLost = useCallback(async () => {
    const messages = await load();
    setChat(({ attempt }) => ({ attempt: attempt + 1, messages }));
  }, []);
  return <Chat key={chat.attempt} id={id} initial={chat.messages} onLost={onLost} />;
}

createRoot(document.getElementById("root")).render(<App initial={await load()} />);
