// One turn of a conversation: a prompt, what the agent said and which tools it used, how it ended and
// what it cost. Made of the events of a run as they come, or of the messages that the read model keeps.

export class Turn {
  constructor(stream, prompt = "") {
    this.stream = stream;
    this.prompt = prompt;
    /** `{kind: "text" | "thinking" | "tool" | "notice", …}`, in their order. */
    this.items = [];
    this.tools = new Map();
    this.result = null;
    this.complete = null;
    this.usage = null;
    /** Where it stands, while it waits for its turn. */
    this.queue = null;
    this.model = "";
  }

  /** The turns of messages, oldest first. */
  static ofMessages(messages) {
    const turns = new Map();
    for (const message of messages) {
      const { stream_id: stream, role, content } = message;
      if (!turns.has(stream)) turns.set(stream, new Turn(stream));
      const turn = turns.get(stream);
      turn.at ??= message.created_at;
      if (role === "user") turn.prompt = content;
      else if (role === "assistant") turn.#text(content);
      else if (role === "tool_use") {
        turn.#use(message.tool_use_id, message.tool_name, content, message.parent_tool_use_id, message.truncated);
      } else if (role === "tool_result") turn.#resultOf(message.tool_use_id, content, message.is_error, message.truncated);
    }
    return [...turns.values()];
  }

  get isRunning() {
    return this.complete === null && this.isLive === true;
  }

  /** Takes an event of its exec; whether that changes what is shown. */
  take(name, data) {
    if (name === "connected" || name === "caught_up") return false;
    const hasWaited = this.queue !== null;
    this.queue = name === "queued" ? data : null;
    return this.#taken(name, data) || hasWaited || this.queue !== null;
  }

  #taken(name, data) {
    switch (name) {
      case "claude_event": return this.#claude(data.event ?? {});
      case "codex_event": return this.#codex(data.event ?? {});
      case "approval":
        this.items.push({ kind: "approval", approval: data, answer: null });
        return true;
      case "approval_answered": return this.#answered(data);
      case "complete":
        this.complete = data;
        return true;
      default: return false;
    }
  }

  #text(text, parent = null) {
    if (text) this.items.push({ kind: "text", text, parent });
  }

  /** The result says the last words again. */
  #resultText(text) {
    const last = this.items.findLast((item) => item.kind === "text" && item.parent === null);
    if (last?.text !== text) this.#text(text);
  }

  #use(id, name, input, parent = null, truncated = false) {
    const known = this.tools.get(id);
    if (known) {
      Object.assign(known, { input: input || known.input });
      return;
    }
    const tool = { kind: "tool", id, name: name ?? "tool", input, parent, truncated, result: null, isError: false };
    this.tools.set(id, tool);
    this.items.push(tool);
  }

  #resultOf(id, text, isError, truncated = false) {
    const tool = this.tools.get(id);
    if (!tool) return;
    Object.assign(tool, { result: text, isError: Boolean(isError), isCut: truncated });
  }

  #answered(data) {
    const item = this.items.find((item) => item.kind === "approval" && item.approval.approval_id === data.approval_id);
    if (item) item.answer = data;
    return Boolean(item);
  }

  #claude(event) {
    const parent = event.parent_tool_use_id ?? null;
    const content = event.message?.content;
    const blocks = Array.isArray(content) ? content : [];
    switch (event.type) {
      case "assistant":
        for (const block of blocks) {
          if (block.type === "text") this.#text(block.text, parent);
          else if (block.type === "thinking" && block.thinking) this.items.push({ kind: "thinking", text: block.thinking, parent });
          else if (block.type === "tool_use") this.#use(block.id, block.name, json(block.input), parent);
        }
        return true;
      case "user":
        for (const block of blocks) {
          if (block.type === "tool_result") this.#resultOf(block.tool_use_id, textIn(block.content), block.is_error);
        }
        return true;
      case "system":
        if (event.subtype === "init") this.model = event.model ?? "";
        if (event.subtype === "api_retry") this.items.push({ kind: "notice", text: "The model's API failed; the agent tries again." });
        return event.subtype === "init" || event.subtype === "api_retry";
      case "result":
        this.result = event;
        if (typeof event.result === "string") this.#resultText(event.result);
        this.usage = { cost_usd: null, total_cost_usd: event.total_cost_usd, input_tokens: event.usage?.input_tokens, output_tokens: event.usage?.output_tokens };
        return true;
      default: return false;
    }
  }

  #codex(event) {
    const item = event.item ?? {};
    if (event.type === "turn.completed") {
      this.usage = { cost_usd: null, input_tokens: event.usage?.input_tokens, output_tokens: event.usage?.output_tokens };
      return true;
    }
    if (event.type === "turn.failed" || event.type === "error") {
      this.items.push({ kind: "notice", text: event.error?.message ?? event.message ?? "The agent failed." });
      return true;
    }
    if (!event.type?.startsWith("item.")) return false;
    const isDone = event.type === "item.completed";
    switch (item.type) {
      case "agent_message":
        if (isDone) this.#text(item.text);
        return isDone;
      case "reasoning":
        if (isDone) this.items.push({ kind: "thinking", text: item.text });
        return isDone;
      default: return this.#codexTool(item, isDone);
    }
  }

  #codexTool(item, isDone) {
    const { id, type, status, ...rest } = item;
    const input = item.command ?? (item.arguments ? json(item.arguments) : json(rest));
    this.#use(id, item.tool ?? type, input);
    const output = item.aggregated_output ?? (item.error ? item.error.message : textIn(item.result?.content));
    if (isDone) this.#resultOf(id, output ?? "", status === "failed" || status === "declined" || (item.exit_code ?? 0) !== 0);
    return true;
  }
}

const json = (value) => JSON.stringify(value ?? {}, null, 2);

/** The text of a tool's result, which is a text or blocks. */
function textIn(content) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return content === undefined || content === null ? "" : json(content);
  return content.map((block) => block.text ?? `[${block.type}]`).join("\n");
}
