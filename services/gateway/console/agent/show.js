// Shows a turn: what was asked, what the agent did (folded) and said, and what it came to.

import { h, icon, pill } from "../dom.js";
import { bytes, cost, count, duration } from "../format.js";
import { links } from "../api.js";
import { markdown } from "./markdown.js";
import { outcome } from "../views/exec-parts.js";

/** Characters of an input or a result that are shown before "show all". */
const SHOWN_CHARS = 4_000;
/** What a tool is about, by the names that its input has for it. */
const TELLING = ["command", "file_path", "path", "pattern", "query", "url", "description", "prompt"];

/** A view of a turn that is drawn anew where it has changed. */
export class TurnView {
  #drawn = new Map();

  constructor(turn, { project, session, onanswer = null }) {
    Object.assign(this, { turn, project, session, onanswer });
    this.said = h("div", { class: "prompt" });
    this.items = h("div", { class: "items" });
    this.foot = h("footer", { class: "turn-foot" });
    this.element = h("article", { class: "turn", "aria-label": "Turn" }, this.said, this.items, this.foot);
    this.draw();
  }

  /** Draws with the next frame: events come faster than that. */
  changed(ondrawn) {
    if (this.isDirty) return;
    this.isDirty = true;
    requestAnimationFrame(() => {
      this.isDirty = false;
      this.draw();
      ondrawn?.();
    });
  }

  draw() {
    const { turn } = this;
    if (this.said.dataset.text !== turn.prompt) {
      this.said.dataset.text = turn.prompt;
      this.said.replaceChildren(h("span", { class: "who" }, "Prompt"), markdown(turn.prompt));
    }
    this.said.hidden = !turn.prompt;
    for (const item of turn.items) this.#item(item);
    this.foot.replaceChildren(...this.#foot());
  }

  #item(item) {
    const drawn = this.#drawn.get(item);
    const state = JSON.stringify([item.result?.length, item.isError, item.answer?.decision, item.input?.length, this.turn.isRunning]);
    if (drawn?.state === state) return;
    const element = this.#element(item);
    if (item.parent) element.classList.add("nested");
    if (drawn) {
      if (drawn.element.open !== undefined) element.open = drawn.element.open;
      drawn.element.replaceWith(element);
    } else this.items.append(element);
    this.#drawn.set(item, { state, element });
  }

  #element(item) {
    switch (item.kind) {
      case "text": return h("div", { class: "said" }, markdown(item.text));
      case "thinking": return folded("Thinking", null, h("p", { class: "thinking" }, item.text));
      case "tool": return toolElement(item, this.turn.isRunning);
      case "approval": {
        const answer = item.answer ?? (this.turn.isRunning ? null : { decision: "unanswered" });
        return approvalCard(item.approval, answer, this.onanswer);
      }
      default: return h("p", { class: "notice" }, item.text);
    }
  }

  #foot() {
    const { turn } = this;
    const parts = [];
    if (turn.complete) {
      const [text, kind] = outcome(turn.complete);
      parts.push(pill(text, kind), h("span", {}, duration(turn.complete.duration_ms)));
    } else if (turn.queue) parts.push(pill(`queued, place ${turn.queue.position}`, "warn"));
    else if (turn.isRunning) parts.push(pill("working", "busy"));
    parts.push(...usageParts(turn.usage));
    if (turn.model) parts.push(h("span", { class: "mono" }, turn.model));
    if (this.session) parts.push(h("a", { href: links.exec(this.project, this.session, turn.stream) }, "Open exec"));
    return parts;
  }
}

export function usageParts(usage) {
  if (!usage) return [];
  const parts = [];
  const own = cost(usage.cost_usd);
  if (own) parts.push(h("span", { title: "Cost of this run alone" }, own));
  else if (usage.total_cost_usd) {
    parts.push(h("span", { title: "As the CLI printed it: some versions print sums over a session" }, `${cost(usage.total_cost_usd)} (as printed)`));
  }
  if (usage.input_tokens !== null && usage.input_tokens !== undefined) {
    parts.push(h("span", {}, `${count(usage.input_tokens)} in, ${count(usage.output_tokens ?? 0)} out`));
  }
  return parts;
}

function folded(name, about, ...content) {
  return h("details", { class: "fold" }, h("summary", {}, h("b", {}, name), about ? h("code", {}, about) : null), ...content);
}

function toolElement(item, isRunning) {
  const about = aboutOf(item.input);
  const waits = isRunning ? pill("running", "busy") : pill("no result");
  const state = item.result === null ? waits : item.isError ? pill("failed", "bad") : null;
  return h(
    "details",
    { class: `fold tool ${item.isError ? "failed" : ""}` },
    h("summary", {}, icon("tool"), h("b", {}, item.name), h("code", {}, about), state),
    labelled("Input", item.input, item.truncated),
    item.result === null ? null : labelled(item.isError ? "Error" : "Result", item.result, item.isCut),
  );
}

function aboutOf(input) {
  try {
    const value = JSON.parse(input);
    const name = TELLING.find((name) => typeof value[name] === "string");
    return (name ? value[name] : Object.keys(value).join(", ")).split("\n")[0].slice(0, 160);
  } catch {
    return String(input ?? "").split("\n")[0].slice(0, 160);
  }
}

function labelled(name, text, isCut) {
  const shown = String(text ?? "");
  const code = h("pre", { tabindex: "0", role: "group", "aria-label": name }, shown.slice(0, SHOWN_CHARS) || "(nothing)");
  const rest = shown.length - SHOWN_CHARS;
  const more = h("button", { type: "button", onclick: () => { code.textContent = shown; more.remove(); } }, `Show all ${bytes(shown.length)}`);
  return h(
    "div",
    { class: "part" },
    h("div", { class: "part-name" }, name, isCut ? " (only its beginning is kept here: the exec has all of it)" : ""),
    code,
    rest > 0 ? more : null,
  );
}

/** A question of an agent; `onanswer(approval, decision, message)` where it can be answered. */
export function approvalCard(approval, answer, onanswer) {
  const title = h("h2", {}, icon("tool"), `${approval.tool_name} asks for permission`);
  const input = labelled("Input", JSON.stringify(approval.input ?? "(too long to be shown here)", null, 2));
  if (answer || !onanswer) {
    const words = { allow: ["allowed", "good"], deny: ["denied", "bad"], withdrawn: ["withdrawn", ""], unanswered: ["not answered", ""] };
    const [text, kind] = words[answer?.decision] ?? ["waiting", "warn"];
    const by = answer?.by === "timeout" ? " by time-out" : "";
    return h("section", { class: "approval done" }, title, pill(text + by, kind), input);
  }
  const reason = h("input", { type: "text", placeholder: "Why not (for the agent)", "aria-label": "Reason for a denial" });
  const buttons = [
    h("button", { type: "button", class: "primary", onclick: () => act("allow") }, "Allow"),
    h("button", { type: "button", class: "danger", onclick: () => act("deny") }, "Deny"),
  ];
  const act = async (decision) => {
    buttons.forEach((button) => (button.disabled = true));
    const isDone = await onanswer(approval, decision, reason.value);
    if (!isDone) buttons.forEach((button) => (button.disabled = false));
  };
  return h("section", { class: "approval", "aria-label": `${approval.tool_name} asks for permission` }, title, input, h("div", { class: "answer needs-exec" }, ...buttons, reason));
}
