// Where a command or a prompt is written and sent.

import { h, toast } from "../dom.js";
import { links, paths, post } from "../api.js";

const TYPES = [
  ["shell", "Shell", "A command for sh, for example: make test"],
  ["git", "git", "What comes behind git, for example: status --short"],
  ["claude", "Claude", "What is the agent to do?"],
  ["codex", "Codex", "What is the agent to do?"],
];
/** The size of a terminal that is asked for here. */
const TERMINAL = { cols: 120, rows: 32 };

/** `types`: which can be chosen; `onrun(exec)` in place of going to the exec. */
export function runForm({ project, session, types = ["shell", "git", "claude", "codex"], onrun = null, hasConversation = () => false }) {
  let type = types[0];
  const text = h("textarea", { rows: "2", spellcheck: "false", "aria-label": "Command or prompt", required: true });
  const ask = check("Ask before tools are used");
  const again = check("Go on with the conversation", true);
  const merge = check("One stream, in true order");
  const tty = check("In a terminal");
  const submit = h("button", { type: "submit", class: "primary" }, "Run", h("kbd", {}, "Ctrl ↵"));
  const buttons = TYPES.filter(([name]) => types.includes(name)).map(([name, title]) =>
    h("button", { type: "button", onclick: () => choose(name), "data-type": name }, title),
  );

  const choose = (name) => {
    type = name;
    const isAgent = name === "claude" || name === "codex";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.type === name));
    text.placeholder = TYPES.find(([known]) => known === name)[2];
    again.element.hidden = !isAgent || !hasConversation();
    ask.element.hidden = name !== "claude";
    merge.element.hidden = tty.element.hidden = isAgent;
  };

  const run = async (event) => {
    event?.preventDefault();
    if (!text.value.trim()) return text.focus();
    submit.disabled = true;
    try {
      const exec = await post(`${paths.session(project, session)}/exec`, body());
      text.value = "";
      if (onrun) onrun(exec);
      else location.hash = links.exec(project, session, exec.id);
    } catch (problem) {
      toast(problem);
    }
    submit.disabled = false;
  };

  const body = () => {
    const words = text.value.trim();
    if (type === "claude" || type === "codex") {
      const goesOn = again.box.checked && !again.element.hidden;
      return { type, prompt: text.value, continue_conversation: goesOn, ...(ask.box.checked && type === "claude" ? { permissions: "ask" } : {}) };
    }
    const shape = tty.box.checked ? { tty: TERMINAL } : { merge: merge.box.checked };
    if (type === "shell") return { type, command: text.value, ...shape };
    const [command, ...args] = wordsOf(words.replace(/^git\s+/, ""));
    return { type, command, args, ...shape };
  };

  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
  });
  const options = h("div", { class: "run-options" }, again.element, ask.element, merge.element, tty.element);
  const form = h(
    "form",
    { class: "run card needs-exec", "aria-label": "Run", onsubmit: run },
    buttons.length > 1 ? h("div", { class: "segmented", role: "group", "aria-label": "Kind" }, buttons) : null,
    text,
    h("div", { class: "run-end" }, options, submit),
  );
  choose(type);
  form.focusText = () => text.focus();
  form.refresh = () => choose(type);
  return form;
}

function check(title, isOn = false) {
  const box = h("input", { type: "checkbox", checked: isOn });
  return { box, element: h("label", { class: "check" }, box, title) };
}

/** The words of a line, as a shell takes simple ones: quotes keep blanks together. */
export function wordsOf(line) {
  const words = line.match(/(?:[^\s"']|"[^"]*"|'[^']*'|["'])+/g) ?? [];
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
}
