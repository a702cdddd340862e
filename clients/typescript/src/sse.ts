/** One server-sent event, as the HTML standard defines them. */
export interface Frame {
  /** The last id that was sent, with this event or before it. */
  id: string;
  event: string;
  data: string;
  /** The reconnection time that came with it, in milliseconds. */
  retry?: number;
}

/** Lines of a stream of text, whichever way they end. A line in many chunks is joined once. */
async function* lines(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let parts: string[] = [];
  let endedInReturn = false;
  for await (let chunk of chunks) {
    if (chunk === "") continue;
    if (endedInReturn && chunk.startsWith("\n")) chunk = chunk.slice(1);
    endedInReturn = chunk.endsWith("\r");
    const pieces = chunk.split(/\r\n|\n|\r/);
    const rest = pieces.pop() ?? "";
    for (const piece of pieces) {
      parts.push(piece);
      yield parts.length === 1 ? piece : parts.join("");
      parts = [];
    }
    if (rest !== "") parts.push(rest);
  }
}

/** Events as they arrive. One whose blank line never came is not an event. */
export async function* frames(chunks: AsyncIterable<string>): AsyncGenerator<Frame> {
  let id = "";
  let event = "";
  let data: string[] = [];
  let retry: number | undefined;
  for await (const line of lines(chunks)) {
    if (line === "") {
      if (data.length > 0) {
        const frame: Frame = { id, event: event || "message", data: data.join("\n") };
        if (retry !== undefined) frame.retry = retry;
        yield frame;
      }
      event = "";
      data = [];
      retry = undefined;
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^\d+$/.test(value)) retry = Number(value);
  }
}
