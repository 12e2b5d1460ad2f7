// What every page does with a script, and can do without: times in the reader's zone, the theme, keys, and messages.

const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const TODAY = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const YEAR_S = 31536000;
const PREFIX_MS = 1500;
const SHOWN_MS = 8000;

/** Show the times below an element in the reader's zone; the exact one is their title. */
export function localizeTimes(root) {
  const today = new Date().toDateString();
  for (const each of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const moment = new Date(each.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const format = moment.toDateString() === today && !("dated" in each.dataset) ? TODAY : SHORT;
    each.textContent = format.format(moment);
    each.title = `${EXACT.format(moment)} (${each.dateTime})`;
    each.dataset.local = "";
  }
}

/** Say something to the reader, for some seconds; tone is good, warn, bad or info. */
export function announce(text, tone = "info") {
  const area = document.getElementById("announcements");
  if (!area) return;
  const message = document.createElement("div");
  message.className = `message ${tone}`;
  message.append(document.createElement("p"));
  message.firstChild.textContent = text;
  area.replaceChildren(message);
  setTimeout(() => message.remove(), SHOWN_MS);
}

function switchThemes() {
  for (const form of document.querySelectorAll("[data-theme-switch]")) {
    form.addEventListener("submit", (event) => {
      const theme = event.submitter?.value;
      if (!theme) return;
      event.preventDefault();
      const secure = location.protocol === "https:" ? "; Secure" : "";
      document.cookie = `theme=${theme}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax${secure}`;
      document.documentElement.dataset.theme = theme;
      for (const each of form.querySelectorAll("button")) each.setAttribute("aria-pressed", String(each.value === theme));
      document.dispatchEvent(new CustomEvent("themechange"));
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new CustomEvent("themechange")),
  );
}

let prefixedAt = -Infinity;

/** The page that a key leads to behind `g`, where the navigation has it. */
const placeOf = (key) => document.querySelector(`.navigation [data-key="${CSS.escape(key)}"]`);

/** Whether a key that was pressed is meant for a field, or for the browser. */
export function isTyped(event) {
  const target = event.target;
  const inField = target instanceof HTMLElement && (target.isContentEditable || target.matches("input, textarea, select"));
  return inField || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented;
}

function pressKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.activeElement instanceof HTMLInputElement) document.activeElement.blur();
    if (event.key === "Escape") closeQuestions();
    if (isTyped(event) || document.querySelector("dialog[open]")) return;
    if (event.key === "?") document.getElementById("help")?.showModal();
    else if (event.key === "/") {
      const field = document.querySelector("[data-search-field]");
      if (field) field.focus();
      else location.assign("/search");
    } else if (event.key === "g") {
      prefixedAt = event.timeStamp;
      return;
    } else {
      const place = event.timeStamp - prefixedAt < PREFIX_MS && placeOf(event.key);
      if (!place) return;
      location.assign(place.href);
    }
    prefixedAt = -Infinity;
    event.preventDefault();
  });
}

/** Close the questions that are open, but for one that an element is in; what asked has the focus again. */
function closeQuestions(within = null) {
  for (const each of document.querySelectorAll("details.confirm[open]")) {
    if (within && each.contains(within)) continue;
    if (each.contains(document.activeElement)) each.querySelector("summary").focus();
    each.open = false;
  }
}

function openDialogs() {
  document.addEventListener("click", (event) => {
    const opener = event.target instanceof Element ? event.target.closest("[data-opens]") : null;
    if (opener) document.getElementById(opener.dataset.opens)?.showModal();
    if (event.target instanceof HTMLDialogElement) event.target.close();
    const closer = event.target instanceof Element ? event.target.closest("[data-closes]") : null;
    closeQuestions(closer ? null : event.target);
  });
  // A question that opens gets the focus, on what changes nothing.
  document.addEventListener(
    "toggle",
    (event) => {
      if (event.target.matches("details.confirm[open]")) event.target.querySelector("[data-closes]")?.focus();
    },
    true,
  );
}

function copyTexts() {
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copies]") : null;
    const source = button && document.getElementById(button.dataset.copies);
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      announce("Copied.", "good");
    } catch {
      announce("The browser does not allow copying; select the text instead.", "warn");
    }
  });
}

function followHtmx() {
  document.addEventListener("htmx:load", (event) => localizeTimes(event.detail.elt));
  document.addEventListener("htmx:responseError", (event) => {
    const { status, responseText, getResponseHeader } = event.detail.xhr;
    const isText = getResponseHeader.call(event.detail.xhr, "Content-Type")?.startsWith("text/plain");
    announce(isText ? responseText : `The server answered with ${status}.`, "bad");
  });
  document.addEventListener("htmx:sendError", () => announce("The server cannot be reached.", "bad"));
}

/** Where the navigation is a strip that scrolls, show the page that one is on. */
function showCurrentPage() {
  const strip = document.querySelector(".navigation");
  const current = strip?.querySelector("[aria-current]");
  if (current && strip.scrollWidth > strip.clientWidth) strip.scrollLeft = current.offsetLeft - strip.clientWidth / 3;
}

document.documentElement.classList.add("scripted");
showCurrentPage();
localizeTimes(document);
switchThemes();
pressKeys();
openDialogs();
copyTexts();
followHtmx();
