// What several pages show of execs: how one ended, where it stands, a row of a list.

import { h, pill } from "../dom.js";
import { ago, cost, duration, moment, shortId } from "../format.js";
import { links } from "../api.js";

/** How it ended, in a word, and the kind of its pill. */
export function outcome(complete) {
  switch (complete.outcome) {
    case "exited":
      if (complete.ok) return ["succeeded", "good"];
      return [complete.exit_code === 0 ? "failed" : `exit ${complete.exit_code}`, "bad"];
    case "signaled": return [`signal ${complete.signal}`, "bad"];
    case "timed_out": return ["timed out", "warn"];
    case "canceled": return ["canceled", "warn"];
    case "lost": return ["lost: nobody knows its end", "bad"];
    case "rejected": return ["never started", "bad"];
    default: return [complete.outcome, ""];
  }
}

export function statusPill(exec) {
  if (exec.complete) return pill(...outcome(exec.complete));
  if (exec.status === "queued") return pill(exec.queue ? `queued, ${place(exec.queue)}` : "queued", "warn");
  return pill("running", "busy");
}

const REASONS = {
  session_limit: "its session runs as many execs as it may",
  project_limit: "its project runs as many execs as it may",
  agent_session: "an earlier turn of its agent has not ended",
  session_not_ready: "the pod of its session is not ready",
  slots: "the executors are full",
  no_executor: "there is no executor",
};

const place = (queue) => `place ${queue.position}`;

/** Why it waits, for people. */
export function waiting(queue) {
  const why = REASONS[queue.reason];
  return `Waits at ${place(queue)}${why ? `: ${why}` : ""}.`;
}

/** From its claim to its end, or to now. */
export function runTime(exec) {
  if (exec.complete) return duration(exec.complete.duration_ms);
  return exec.started_at ? duration(Date.now() - new Date(exec.started_at)) : "–";
}

export function isAgent(exec) {
  return exec.type === "claude" || exec.type === "codex";
}

/** A row that is one link. */
export function execRow(project, exec, { withSession = false } = {}) {
  const title = exec.summary?.split("\n")[0] || exec.id;
  return h(
    "li",
    {},
    h(
      "a",
      { class: "row exec-row", href: links.exec(project, exec.session_id, exec.id) },
      h("span", { class: "tag" }, exec.type),
      h("span", { class: `row-title ${isAgent(exec) ? "" : "mono"}` }, title),
      h("span", { class: "row-facts" },
        exec.attempts > 1 ? h("span", { title: "An executor went away; another one went on" }, `${exec.attempts} attempts`) : null,
        exec.usage?.cost_usd ? h("span", {}, cost(exec.usage.cost_usd)) : null,
        withSession ? h("span", { class: "mono" }, shortId(exec.session_id)) : null,
        h("span", { class: "fixed" }, runTime(exec)),
        h("time", { class: "fixed", datetime: exec.created_at, title: moment(exec.created_at) }, ago(exec.created_at)),
        h("span", { class: "state" }, statusPill(exec))),
    ),
  ); // prettier-ignore
}

/** The filters of a list of execs; `onchange({status, outcome})`. */
export function execFilters(onchange) {
  const chosen = { status: "", outcome: "" };
  const select = h(
    "select",
    {
      "aria-label": "Show execs",
      onchange: () => {
        const [name, value] = select.value.split("=");
        Object.assign(chosen, { status: "", outcome: "" }, value ? { [name]: value } : {});
        onchange(chosen);
      },
    },
    [
      ["", "All execs"],
      ["status=running", "Running"],
      ["status=queued", "Queued"],
      ["status=complete", "Complete"],
      ["outcome=exited", "Ended by themselves"],
      ["outcome=canceled", "Canceled"],
      ["outcome=timed_out", "Timed out"],
      ["outcome=signaled", "Ended by a signal"],
      ["outcome=lost", "Lost"],
      ["outcome=rejected", "Never started"],
    ].map(([value, text]) => h("option", { value }, text)),
  );
  return select;
}
