// The console begins here: addresses lead to pages, one of which is shown.

import { h, icon } from "./dom.js";
import { get, key, links } from "./api.js";
import { shortId } from "./format.js";
import { keyboard } from "./keyboard.js";
import { themeButton } from "./theme.js";
import { SignInPage } from "./views/sign-in.js";
import { ProjectsPage } from "./views/projects.js";
import { ProjectPage } from "./views/project.js";
import { SessionPage } from "./views/session.js";
import { ExecPage } from "./views/exec.js";
import { ConversationPage } from "./views/conversation.js";

const main = document.getElementById("main");
const crumbs = document.getElementById("crumbs");
const connection = document.getElementById("connection");
const signOut = document.getElementById("sign-out");

let page = null;
let shownKey = "";
let isMayKnown = false;

/** What an address means: the page's class, what it is given, and where it is. */
function route(hash) {
  const parts = hash.replace(/^#/, "").split("/");
  const [, kind, project, part, id, sub, stream, view] = parts;
  // What is no id reaches no path of the API.
  const isAddress = parts.every((text) => /^[A-Za-z0-9_-]*$/.test(text));
  if (kind !== "p" || !project || !isAddress) return { page: ProjectsPage, options: {}, trail: [] };
  const home = [[project, links.project(project)]];
  if (part === "s" && id && sub === "x" && stream) {
    const trail = [...home, [shortId(id), links.session(project, id)], [stream, links.exec(project, id, stream)]];
    return { page: ExecPage, options: { project, session: id, stream }, view, trail };
  }
  if (part === "s" && id) return { page: SessionPage, options: { project, session: id }, trail: [...home, [shortId(id), links.session(project, id)]] };
  if (part === "c" && id) {
    return { page: ConversationPage, options: { project, conversation: id }, trail: [...home, ["conversations", links.project(project, "conversations")], [shortId(id), links.conversation(project, id)]] };
  }
  return { page: ProjectPage, options: { project }, view: part ?? "", trail: home };
}

function go() {
  const { page: Page, options, view, trail } = route(location.hash);
  const keyOfPage = JSON.stringify([Page.name, options]);
  crumbs.replaceChildren(
    h("ol", {}, trail.map(([text, href], index) => h("li", {}, h("a", { href, "aria-current": index === trail.length - 1 ? "page" : null }, text)))),
  );
  document.title = [...trail.map(([text]) => text).reverse(), "rdev"].join(" · ");
  if (keyOfPage === shownKey && page?.show) return page.show(view);
  shownKey = keyOfPage;
  show(new Page({ ...options, view, connection }));
}

function show(next) {
  const hadPage = page !== null;
  page?.close();
  page = next;
  connection.replaceChildren();
  signOut.hidden = key.get() === "";
  main.replaceChildren(page.element);
  // A new page is begun at its top, also by those who do not see it.
  scrollTo(0, 0);
  if (hadPage) main.focus({ preventScroll: true });
}

function askForKey(reason) {
  if (page instanceof SignInPage) return;
  shownKey = "";
  isMayKnown = false;
  crumbs.replaceChildren();
  show(new SignInPage({ reason, onsigned: begin }));
}

function up() {
  const trail = [...crumbs.querySelectorAll("a")];
  location.hash = trail.length > 1 ? trail.at(-2).getAttribute("href") : "#/";
}

themeButton(document.getElementById("theme"));
document.getElementById("help").append(icon("keyboard"));
signOut.append(icon("out"));
signOut.addEventListener("click", () => {
  key.forget();
  askForKey();
});
addEventListener("rdev:unauthenticated", (event) => {
  const hadKey = key.get() !== "";
  key.forget();
  askForKey(hadKey ? event.detail.message : null);
});
addEventListener("hashchange", () => {
  if (page instanceof SignInPage) return;
  go();
  if (!isMayKnown) get("/projects", { limit: 1 }).then(learn, () => {}); // prettier-ignore
});
keyboard({ page: () => page, up });

/** What a key must not do is not offered; its scopes stand beside each project. Until they are known all is offered. */
function learn({ items = [] }) {
  isMayKnown = items.length > 0;
  const mayRun = !isMayKnown || items[0].scopes.includes("exec");
  document.documentElement.dataset.may = mayRun ? "run" : "read";
}

function begin(projects) {
  learn(projects);
  go();
}

try {
  begin(await get("/projects", { limit: 1 }));
} catch (problem) {
  // A gateway that wants a key has asked for it; all else the page itself says.
  if (problem.status !== 401) begin({});
}
