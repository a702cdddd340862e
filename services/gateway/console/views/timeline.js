// What became of an exec: a bar of its time, and each fact with its moment.

import { h, pill } from "../dom.js";
import { bytes, duration, moment, plural, timeOfDay } from "../format.js";
import { get, paths } from "../api.js";
import { outcome } from "./exec-parts.js";

export class Timeline {
  constructor({ project, session, stream }) {
    this.path = `${paths.exec(project, session, stream)}/timeline`;
    this.element = h("section", { class: "timeline", "aria-label": "Timeline" });
    this.gaps = [];
  }

  /** Something that the log has forgotten, or that cannot be read. */
  gap(data) {
    this.gaps.push(data);
    this.refresh();
  }

  async refresh() {
    const asked = (this.asked = (this.asked ?? 0) + 1);
    try {
      const { items } = await get(this.path);
      // A later question has an answer that knows more.
      if (asked < this.asked && this.items) return;
      this.items = items;
      this.#draw(items);
    } catch (problem) {
      this.element.replaceChildren(h("p", { class: "notice bad" }, problem.message));
    }
  }

  get command() {
    return this.items?.find((fact) => fact.event === "command");
  }

  #draw(facts) {
    if (facts.length === 0) {
      const text = "The log keeps no facts of this exec any more.";
      this.element.replaceChildren(h("p", { class: "muted" }, text));
      return;
    }
    const begin = new Date(facts[0].at);
    const rows = facts.map((fact) => {
      const [title, about, kind] = told(fact);
      return h(
        "li",
        { class: kind },
        h("time", { datetime: fact.at, title: moment(fact.at) }, timeOfDay(fact.at)),
        h("span", { class: "since" }, `+${duration(new Date(fact.at) - begin)}`),
        h("div", {}, h("b", {}, title), about.filter(Boolean).map((line) => h("div", { class: "muted" }, line))),
      );
    });
    const gaps = this.gaps.map(({ requested, first_available: first, reason }) =>
      h("li", { class: "bad" }, h("span", {}), h("span", {}), h("div", {}, h("b", {}, "Gap"), h("div", { class: "muted" },
        `Events ${requested ?? "before this"} to ${first === null ? "the end" : first - 1} are gone (${reason}).`))),
    ); // prettier-ignore
    this.element.replaceChildren(bar(facts), h("ol", { class: "facts" }, rows, gaps));
  }
}

/** What a fact says: a title, lines, and a kind. */
function told({ event, data, attempt }) {
  switch (event) {
    case "command": {
      const { by = {}, env, cwd, timeout_seconds: timeout } = data;
      const names = Object.keys(env ?? {});
      return ["Asked for", [
        by.key ? `by key ${by.key} from ${by.address}` : `from ${by.address || "somewhere"}`,
        cwd ? `in ${cwd}` : null,
        `may run for ${duration(timeout * 1000)}`,
        names.length > 0 ? `with ${names.join(", ")} in its environment` : null,
      ], ""]; // prettier-ignore
    }
    case "admitted": return ["Its turn", [`admitted by ${data.scheduler}`], ""];
    case "started": return ["Started", [`by ${data.executor}`, podOf(data.pod), data.argv ? `$ ${data.argv.join(" ").slice(0, 200)}` : null], "good"];
    case "resumed": {
      const { stdout = 0, stderr = 0 } = data.from ?? {};
      return [`Taken over, attempt ${attempt}`, [
        `by ${data.executor}: the same process goes on`,
        `behind event ${(data.from?.next ?? 1) - 1}, ${bytes(stdout + stderr)} of output`,
      ], "warn"]; // prettier-ignore
    }
    case "cancel": return ["Cancel asked for", [data.by?.key ? `by key ${data.by.key}` : null, data.reason], "warn"];
    case "complete": return completed(data);
    default: return [event, [], ""];
  }
}

function podOf(pod) {
  if (!pod) return null;
  return `in ${[pod.namespace, pod.name, pod.container].filter(Boolean).join("/")}${pod.restarts ? `, restarted ${plural(pod.restarts, "time")}` : ""}`;
}

function completed(data) {
  const [text, kind] = outcome(data);
  return ["Complete", [
    text,
    data.reason,
    `ran for ${duration(data.duration_ms)}`,
    data.stdout_bytes === null ? null : `stdout ${bytes(data.stdout_bytes)}, sha256 ${data.stdout_sha256?.slice(0, 16)}…`,
    data.stderr_bytes ? `stderr ${bytes(data.stderr_bytes)}, sha256 ${data.stderr_sha256?.slice(0, 16)}…` : null,
  ], kind]; // prettier-ignore
}

/** Its time from the request to its end, in parts: waiting, and each attempt. */
function bar(facts) {
  const moments = facts.map((fact) => new Date(fact.at).getTime());
  const isOver = facts.at(-1).event === "complete";
  const end = isOver ? moments.at(-1) : Math.max(Date.now(), moments.at(-1));
  const whole = Math.max(1, end - moments[0]);
  const marks = facts.filter((fact) => ["command", "started", "resumed"].includes(fact.event));
  const parts = marks.map((fact, index) => {
    const from = new Date(fact.at).getTime();
    const to = marks[index + 1] ? new Date(marks[index + 1].at).getTime() : end;
    const name = fact.event === "command" ? "waited" : `attempt ${fact.attempt}`;
    const part = h("div", { class: fact.event });
    part.style.flexGrow = Math.max(0.01, (to - from) / whole);
    return { part, label: h("li", { class: fact.event }, name, " ", h("b", {}, duration(to - from))) };
  });
  return h(
    "div",
    { class: "times" },
    h("div", { class: "time-bar", "aria-hidden": "true" }, parts.map(({ part }) => part)),
    h("ul", { class: "legend" }, parts.map(({ label }) => label), isOver ? null : h("li", {}, pill("goes on", "busy"))),
  );
}
