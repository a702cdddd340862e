// Uses the console in Chromium, as people do. What only the test can do it asks for on standard output, a
// line each, and waits for a line. It ends with 0 when everything was seen, and else says what was not.
//
// Argument: {"packages", "base", "key", "session", "gate"}.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { packages, base, key, session, gate } = JSON.parse(process.argv[2]);
const require = createRequire(`${packages}/`);
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server", "--disable-background-networking"];
const PATIENCE_MS = 60_000;
const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 800 };

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function ask(wanted) {
  console.log(wanted);
  await answers.next();
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
const context = await browser.newContext({ viewport: DESK, acceptDownloads: true });
context.setDefaultTimeout(PATIENCE_MS);
const page = await context.newPage();
// What is smuggled in calls this.
await page.addInitScript(() => (globalThis.pwn = () => (globalThis.pwned = true)));
const complaints = [];
page.on("pageerror", (error) => complaints.push(error.stack));
page.on("console", (message) => {
  // A gateway that is away, and answers that say no, are part of what is tried.
  const isExpected = message.text().startsWith("Failed to load resource");
  if (message.type() === "error" && !isExpected) complaints.push(message.text());
});
page.on("dialog", (dialog) => complaints.push(`a dialog says ${dialog.message()}`));

const home = `${base}/console/#/p/demo/s/${session}`;
const pane = page.locator(".pane");
const pillOf = (text) => page.locator(".page-head .pill", { hasText: text }).waitFor();
const lines = () => pane.locator(".line").allTextContents();

async function go(hash) {
  await page.goto(`${base}/console/#${hash}`);
}

/** Runs a command by the form of the session's page. */
async function run(command, type = "Shell", option = null) {
  await page.goto(home);
  await page.getByRole("button", { name: type, exact: true }).click();
  await page.getByLabel("Command or prompt").fill(command);
  if (option) await page.getByLabel(option).check();
  if (type === "Claude") await page.getByLabel("Ask before tools are used").check();
  await page.getByLabel("Command or prompt").press("Control+Enter");
  await page.waitForURL(/\/x\//);
}

const steps = {
  async "a key lets in, and another does not"() {
    await page.goto(base);
    assert.equal(new URL(page.url()).pathname, "/console/");
    await page.getByLabel("API key").fill("rdev_wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").filter({ hasText: "key" }).waitFor();
    await looks("sign-in");
    const away = (route) => route.fulfill({ status: 503, json: { code: "away", detail: "It is away." } });
    await page.route("**/projects?*", away);
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("It is away.").waitFor();
    await page.unroute("**/projects?*");
    await page.getByRole("link", { name: "demo" }).click();
    await page.getByRole("link", { name: /box/ }).first().waitFor();
    await looks("project");
    assert.ok(!page.url().includes(key));
  },

  async "a command is run, in its colours, and its markup is text"() {
    const markup = "<img src=x onerror=pwn()><script>pwn()</script>";
    await run(`printf '\\033[31mred\\033[0m plain\\n'; echo '${markup}'; echo oops >&2; printf '10%%\\r20%%\\n'; printf end; exit 3`);
    await pillOf("exit 3");
    await pane.locator(".line", { hasText: "end" }).waitFor();
    assert.deepEqual((await lines()).filter((line) => line !== "oops"), ["red plain", markup, "20%", "end"]);
    assert.deepEqual(await pane.locator(".fg1").allTextContents(), ["red"]);
    assert.deepEqual(await pane.locator(".stderr").allTextContents(), ["oops"]);
    await looks("exec");
  },

  async "lines are what a terminal makes of them"() {
    const texts = [
      "plain", "over\rwritten", "abc\rx", "10%\r20%\r", "\x1b]0;title\x07shown", "\x1b[31mr\x1b[0m \x1b[1;38;5;208mo\x1b[m",
      "ab\bc", "abc\x1b[2D\x1b[K", "\x1b[38;2;1;2;300mt", "\x1b(B\x1b[?25lx", "a\x1b", "\u{1F600}\rz", "gone\x1b[2K\rnew",
    ]; // prettier-ignore
    const shown = await page.evaluate(async (texts) => {
      const { spans } = await import("/console/output/ansi.js");
      return texts.map((text) => spans(text, null).spans.map(({ text, pen }) => [text, pen && { ...pen }]));
    }, texts);
    assert.deepEqual(shown, [
      [["plain", null]], [["written", null]], [["xbc", null]], [["20%", null]], [["shown", null]],
      [["r", { fg: 1 }], [" ", null], ["o", { bold: true, fg: "rgb(255 135 0)" }]],
      [["ac", null]], [["abc", null]], [["t", { fg: "rgb(1 2 255)" }]], [["x", null]], [["a", null]], [["z", null]], [["new", null]],
    ]); // prettier-ignore
    const pieces = await page.evaluate(async () => {
      const { Lines, LINES_MAX, LINE_MAX_CHARS, BLOCK_LINES } = await import("/console/output/lines.js");
      const lines = new Lines();
      const add = (stream, text, partial = false) => lines.add({ stream, text, partial });
      add("stdout", "be", true);
      add("stderr", "between");
      add("stdout", "gun");
      add("stdout", "x".repeat(2 * LINE_MAX_CHARS + 1));
      const texts = lines.all.map(({ text }) => (text.length > 20 ? text.length : text));
      while (lines.all.length < LINES_MAX) add("stdout", "more");
      add("stdout", "last");
      return { texts, longest: LINE_MAX_CHARS, dropped: lines.dropped === BLOCK_LINES, last: lines.at(lines.end - 1).text };
    });
    const { longest } = pieces;
    assert.deepEqual(pieces, { texts: ["begun", "between", longest, longest, "x"], longest, dropped: true, last: "last" });
  },

  async "what agents print becomes turns"() {
    const told = (agent, file) =>
      page.evaluate(async ([agent, text]) => {
        const { Turn } = await import("/console/agent/turn.js");
        const turn = new Turn("one");
        for (const line of text.trim().split("\n")) turn.take(`${agent}_event`, { event: JSON.parse(line) });
        return turn.items.map((item) => [item.kind, item.name ?? item.text, item.result ?? null, item.isError ?? false]);
      }, [agent, readFileSync(new URL(`../fixtures/${agent}/${file}`, import.meta.url), "utf8")]); // prettier-ignore
    assert.deepEqual(await told("claude", "tool_multi.jsonl"), [
      ["thinking", "hmm", null, false], ["text", "two", null, false], ["tool", "Bash", "a", false], ["tool", "Bash", "b", false],
      ["text", "both done", null, false],
    ]); // prettier-ignore
    assert.deepEqual(await told("codex", "made_by_hand.jsonl"), [
      ["tool", "search", "found\n[image]", false], ["tool", "search", "no such tool", true], ["tool", "todo_list", null, false],
      ["tool", "web_search", "", false], ["tool", "declined_by_hand", "", true], ["text", "done", null, false],
    ]); // prettier-ignore
  },

  async "the output is searched"() {
    await run("for i in $(seq 300); do echo a needle $i; done; seq 1 30000; echo last");
    await pillOf("succeeded");
    await page.locator(".counts", { hasText: "30,301 lines" }).waitFor();
    assert.ok((await pane.locator(".line").count()) < 2_000, "only what is near is drawn");
    await page.keyboard.press("/");
    await page.keyboard.type("NEEDLE 1");
    const found = page.locator(".search output");
    await found.filter({ hasText: /^1\/111$/ }).waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("n");
    await found.filter({ hasText: /^2\/111$/ }).waitFor();
    assert.equal(await page.evaluate(() => [...CSS.highlights.get("current")].join()), "needle 1");
    await pane.getByText("a needle 10", { exact: true }).waitFor();
    await page.keyboard.press("N");
    await found.filter({ hasText: /^1\/111$/ }).waitFor();
    await page.keyboard.press("G");
    await pane.getByText("last", { exact: true }).waitFor();
  },

  async "texts of agents that no parser takes are shown as they are"() {
    const shown = await page.evaluate(async () => {
      const { markdown } = await import("/console/agent/markdown.js");
      const shown = (text) => [markdown(text).classList.contains("as-is"), markdown(text).textContent === text];
      const image = markdown("![x](http://a/\ud800) ![y](http://a/b%20c)");
      const links = [...image.querySelectorAll("a")].map((link) => link.href);
      return { quotes: shown(">".repeat(5_000)), lists: shown("* ".repeat(3_000)).length, text: image.textContent.trim(), link: links.at(-1) };
    });
    assert.deepEqual(shown, { quotes: [true, true], lists: 2, text: "x y", link: "http://a/b%20c" });
  },

  async "words of a line, and lines that are too long"() {
    const shown = await page.evaluate(async () => {
      const { wordsOf } = await import("/console/views/run.js");
      const { Lines, LINE_MAX_CHARS } = await import("/console/output/lines.js");
      const lines = new Lines();
      const fill = "x".repeat(LINE_MAX_CHARS - 1);
      for (const text of [`${fill}\u{1F600}`, `${fill}\x1b[31mred`]) lines.add({ stream: "stdout", text, partial: false });
      const words = [`log --format="%h %s" -m"x y"`, `commit -m 'it is "so"' ''`, `a"b`].map(wordsOf);
      return { words, lines: lines.all.map(({ text }) => text.replace(fill, "…")) };
    });
    assert.deepEqual(shown, {
      words: [["log", "--format=%h %s", "-mx y"], ["commit", "-m", 'it is "so"', ""], ['a"b']],
      lines: ["…", "\u{1F600}", "…", "\x1b[31mred"],
    });
  },

  async "what is typed arrives once and whole, or not at all"() {
    await run(`read -r one; echo "got $one"; read -r two; echo "and $two"`, "Shell", "In a terminal");
    const screen = page.locator(".screen");
    const [answers, lost] = [[], "**/stdin?*"];
    await page.route(lost, async (route) => {
      const isTyped = route.request().postDataBuffer()?.length > 0;
      if (isTyped) answers.push(answers.length === 0 ? "lost" : "told");
      // It has arrived, but nobody is told.
      if (isTyped && answers.length === 1) return route.fetch().then(() => route.abort());
      return route.continue();
    });
    await screen.click();
    await screen.pressSequentially("rm -rf ./tmp ");
    await screen.evaluate((screen) => {
      const press = (key, more) => screen.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
      press("[", { ctrlKey: true, altKey: true, modifierAltGraph: true });
      press("b", { altKey: true });
      press("]", { altKey: true });
    });
    await screen.press("Enter");
    await screen.getByText("got rm -rf ./tmp []", { exact: true }).waitFor();
    assert.equal(answers[0], "lost");
    await page.unroute(lost);
    await page.route(lost, (route) => route.fulfill({ status: 409, json: { code: "gone", detail: "No more." } }));
    await screen.press("x");
    await page.getByText("What you typed last was not sent. No more.").waitFor();
    await page.unroute(lost);
    await screen.press("y");
    await screen.click();
    await screen.pressSequentially("z\n");
    await screen.getByText("and z", { exact: true }).waitFor();
    await pillOf("succeeded");
  },

  async "what runs is canceled"() {
    await run("echo begun; sleep 600");
    await pane.getByText("begun").waitFor();
    await page.keyboard.press("c");
    await page.getByRole("button", { name: "Cancel it" }).click();
    await pillOf("canceled");
    await page.keyboard.press("2");
    await page.getByText("Started", { exact: true }).waitFor();
    await page.locator(".facts b", { hasText: "Complete" }).waitFor();
    await looks("timeline");
  },

  async "an agent asks and is answered, and its words are harmless"() {
    await run(`ask a echo "**bold** <img src=x onerror=pwn()> [link](javascript:pwn())"`, "Claude");
    const question = page.getByRole("region", { name: "Bash asks for permission" });
    await question.waitFor();
    await looks("question");
    await question.getByRole("button", { name: "Allow" }).click();
    await pillOf("succeeded");
    await page.getByRole("link", { name: "Output", exact: true }).click();
    await page.locator('.tabs [aria-current="page"]', { hasText: "Output" }).waitFor();
    await page.keyboard.press("p");
    await page.getByRole("group", { name: "Replay" }).waitFor();
    await page.getByRole("button", { name: "End the replay" }).click();
    await page.locator(".said", { hasText: "done" }).waitFor();
    await page.locator(".prompt strong", { hasText: "bold" }).waitFor();
    assert.equal(await page.locator(".conversation img, .conversation script").count(), 0);
    assert.equal(await page.locator('.conversation a[href^="javascript" i]').count(), 0);
    await page.locator(".tool summary").first().click();
    await page.locator(".tool pre", { hasText: "onerror" }).first().waitFor();
    await page.goto(home);
    await page.getByRole("link", { name: "Conversation", exact: true }).click();
    await page.locator(".turn .said", { hasText: "done" }).waitFor();
    await looks("conversation");
  },

  async "a gateway dies and comes back, and nothing is lost or repeated"() {
    await run(`seq -f 'before %g' 40; until [ -e ${gate} ]; do sleep 0.02; done; seq -f 'behind %g' 40`);
    await pane.getByText("before 40", { exact: true }).waitFor();
    await page.locator("#connection", { hasText: "live" }).waitFor();
    await ask("kill the gateway");
    await page.locator("#connection", { hasText: "reconnecting" }).waitFor();
    await ask("open the gate");
    await ask("start the gateway");
    await pillOf("succeeded");
    await pane.getByText("behind 40", { exact: true }).waitFor();
    const numbers = (word) => Array.from({ length: 40 }, (_, index) => `${word} ${index + 1}`);
    await page.keyboard.press("g");
    await pane.getByText("before 1", { exact: true }).waitFor();
    await page.locator(".counts", { hasText: "80 lines" }).waitFor();
    assert.deepEqual(await lines(), [...numbers("before"), ...numbers("behind")]);
  },

  async "it is played again"() {
    const all = page.locator(".counts", { hasText: "80 lines" });
    await page.getByRole("button", { name: "Replay as it happened" }).click();
    // At once, if it has not ended yet.
    await page.evaluate(() => document.querySelector('[aria-label="Pause"]')?.click());
    await page.getByLabel("Position").fill("0");
    await all.waitFor({ state: "hidden" });
    await page.getByLabel("Position").fill("1000");
    await all.waitFor();
    await page.getByLabel("Speed").selectOption("64");
    await page.getByRole("button", { name: "Play", exact: true }).click();
    await page.getByRole("button", { name: "Play", exact: true }).waitFor();
    await all.waitFor();
    await page.getByLabel("Speed").selectOption("0.5");
    await page.getByLabel("Position").fill("0");
    await all.waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "End the replay" }).click();
    await all.waitFor();
  },

  async "a session's page, its list, and the keys"() {
    await go(`/p/demo/s/${session}`);
    await page.getByRole("link", { name: /before/ }).first().waitFor();
    await looks("session");
    await page.getByLabel("Show execs").selectOption("outcome=canceled");
    await page.getByRole("link", { name: /begun/ }).first().waitFor();
    await page.getByRole("link", { name: /before/ }).first().waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/x\//);
    // The page is there, and hears keys.
    await page.getByText("Timeline").first().waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
    await looks("help");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await go("/p/demo/s/0192f0c1-0000-7000-8000-000000000001");
    await page.getByText("There is no such session here").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("API key").waitFor();
    assert.equal(await page.evaluate(() => Object.values({ ...sessionStorage, ...localStorage }).join()), "");
  },
};

/** On a desk and on a phone, light and dark: it fits, and axe finds nothing that matters. */
async function looks(what) {
  for (const [viewport, colorScheme] of [[DESK, "light"], [PHONE, "dark"]]) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= viewport.width, `${what}: ${width} pixels wide on ${viewport.width}`);
    const { violations } = await examined();
    const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    const named = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join("\n    ")}`);
    assert.deepEqual(named, [], `${what}, ${colorScheme}`);
  }
  await page.setViewportSize(DESK);
}

/** In a world of its own, which the page's policy does not reach. */
async function examined() {
  const client = await context.newCDPSession(page);
  const { frameTree } = await client.send("Page.getFrameTree");
  const { executionContextId: contextId } = await client.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  await client.send("Runtime.evaluate", { contextId, expression: AXE });
  const expression = "axe.run(document, { resultTypes: ['violations'] })";
  const { result, exceptionDetails } = await client.send("Runtime.evaluate", { contextId, expression, awaitPromise: true, returnByValue: true });
  await client.detach();
  assert.equal(exceptionDetails, undefined);
  return result.value;
}

try {
  for (const [name, step] of Object.entries(steps)) {
    const begin = Date.now();
    await step();
    console.error(`${name}: ${Date.now() - begin} ms`);
    assert.deepEqual(complaints, [], name);
    assert.equal(await page.evaluate(() => globalThis.pwned), undefined, name);
  }
} catch (error) {
  console.error(error, `at ${page.url()}\n${await page.locator("body").innerText().catch(() => "")}`.slice(0, 4_000), complaints);
  process.exitCode = 1;
}
await browser.close();
process.exit();
