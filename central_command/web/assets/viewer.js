// The session viewer: windows of steps that come and go while one scrolls, keys, search, links to steps, and what is live.
// Without this script every link and form of the page works all the same.

import { localizeTimes } from "./app.js";

const WINDOWS_MAX = 8;
const MARKS_MAX = 2000;
const NOTED_MS = 200;

function start(root) {
  const base = root.dataset.base;
  const list = root.querySelector("[data-steps]");
  const said = root.querySelector("[data-status]");
  const viewer = { root, base, list, said, hits: [], hit: -1, query: root.dataset.query || "", busy: false };

  readHits(viewer);
  watchEdges(viewer);
  watchTurns(viewer);
  root.addEventListener("toggle", () => reach(viewer), true);
  document.addEventListener("keydown", (event) => onKey(viewer, event));
  root.addEventListener("click", (event) => onClick(viewer, event));
  root.querySelector("[data-search]")?.addEventListener("submit", (event) => onSearch(viewer, event));
  root.querySelector("[data-filter]")?.addEventListener("change", (event) => event.currentTarget.requestSubmit());
  window.addEventListener("popstate", () => onReturn(viewer));
  mark(viewer);
  const linked = stepOfAddress(viewer);
  const absent = viewer.list.querySelector("[data-absent]");
  if (linked && stepElement(linked)) choose(viewer, stepElement(linked), { push: null, scroll: !absent });
  absent?.scrollIntoView({ block: "start", behavior: "instant" });
  if ("live" in root.dataset) follow(viewer);
}

// Of a step that is not there, the last one stands in its place.
function stepOfAddress(viewer) {
  const found = /^#step-(\d+)$/.exec(location.hash) || /[?&]step=(\d+)/.exec(location.search);
  return found ? Math.min(Number(found[1]), Number(viewer.root.dataset.total)) : 0;
}

const stepElement = (number) => document.getElementById(`step-${number}`);
const stepElements = (viewer) => [...viewer.list.querySelectorAll("[data-step]")];
const say = (viewer, text) => { if (viewer.said) viewer.said.textContent = text; };
// To screen readers alone, of what is to be seen elsewhere.
const announce = (viewer, text) => { viewer.root.querySelector("[data-announced]").textContent = text; };

const setCurrent = (element, isCurrent) => {
  if (isCurrent) element.setAttribute("aria-current", "true");
  else element.removeAttribute("aria-current");
};

// Windows

function watchEdges(viewer) {
  viewer.edges = new IntersectionObserver(
    (entries) => entries.filter((each) => each.isIntersecting).forEach((each) => load(viewer, each.target)),
    { rootMargin: "600px 0px" },
  );
  observeEdges(viewer);
  window.addEventListener(
    "scroll",
    () => {
      viewer.hasScrolled = true;
      observeEdges(viewer);
    },
    { once: true },
  );
}

function observeEdges(viewer) {
  viewer.edges.disconnect();
  viewer.list.querySelectorAll("[data-edge]").forEach((edge) => viewer.edges.observe(edge));
  reach(viewer);
}

// What scrolls by itself is reached by keyboard, too.
function reach(viewer) {
  for (const each of viewer.root.querySelectorAll("pre:not([tabindex])")) {
    if (each.scrollHeight > each.clientHeight || each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
}

async function fetched(viewer, address) {
  const answer = await fetch(address, { headers: { "HX-Request": "true" } });
  if (answer.status === 401) location.reload();
  if (!answer.ok) {
    say(viewer, (await answer.text()).slice(0, 300));
    return null;
  }
  return parsed(await answer.text());
}

// Of a document of its own, where nothing runs or loads.
function parsed(html) {
  const piece = document.createDocumentFragment();
  piece.append(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
  localizeTimes(piece);
  return piece;
}

async function load(viewer, edge, isAsked = false) {
  if (viewer.busy || !edge.isConnected) return;
  if (edge.dataset.edge === "before" && !viewer.hasScrolled && !isAsked) return; // the head of the page stays in sight
  viewer.busy = true;
  viewer.list.setAttribute("aria-busy", "true");
  try {
    const content = await fetched(viewer, edge.dataset.fragment);
    if (!content || !edge.isConnected) return;
    const isBefore = edge.dataset.edge === "before";
    // The edge of the new window towards those that are there already is not needed.
    content.querySelector(`[data-edge="${isBefore ? "behind" : "before"}"]`)?.remove();
    keepingPlace(viewer, () => {
      edge.replaceWith(content);
      join(viewer);
      prune(viewer, isBefore);
    });
    mark(viewer);
  } finally {
    viewer.busy = false;
    viewer.list.removeAttribute("aria-busy");
    observeEdges(viewer);
  }
}

// A result of a call in another window stands in both: once both are here, it is where its call is.
function join(viewer) {
  for (const result of viewer.list.querySelectorAll("[data-result]")) {
    const alone = viewer.list.querySelector(`article[data-step="${result.dataset.result}"]`);
    if (!alone) continue;
    const isFocused = alone.contains(document.activeElement);
    for (const name of ["id", "data-step", "data-turn", "tabindex", "aria-label"]) result.setAttribute(name, alone.getAttribute(name));
    result.setAttribute("role", "group");
    alone.remove();
    if (viewer.current === alone) {
      viewer.current = result;
      result.classList.add("is-current");
    }
    if (isFocused) result.focus({ preventScroll: true });
  }
}

function prune(viewer, fromBelow) {
  const windows = [...viewer.list.querySelectorAll("[data-window]")];
  while (windows.length > WINDOWS_MAX) {
    const gone = fromBelow ? windows.pop() : windows.shift();
    const left = fromBelow ? windows.at(-1) : windows[0];
    gone.remove();
    viewer.list.querySelector(`[data-edge="${fromBelow ? "behind" : "before"}"]`)?.remove();
    const edge = document.createElement("a");
    const place = fromBelow ? `from=${Number(left.dataset.last) + 1}` : `until=${Number(left.dataset.first) - 1}`;
    const types = [...new URLSearchParams(location.search).getAll("type")].map((each) => `&type=${encodeURIComponent(each)}`).join("");
    edge.className = "more";
    edge.dataset.edge = fromBelow ? "behind" : "before";
    edge.dataset.fragment = `${viewer.base}/steps?${place}${types}`;
    edge.href = `${viewer.base}?${place}${types}`;
    edge.textContent = fromBelow ? "Later steps" : "Earlier steps";
    if (fromBelow) left.after(edge);
    else left.before(edge);
  }
}

// What the reader looks at stays where it is on the screen, whatever comes above it or goes.
function keepingPlace(viewer, change) {
  const seen = stepElements(viewer).find((each) => each.getBoundingClientRect().bottom > 0);
  const before = seen?.getBoundingClientRect().top;
  change();
  const now = seen?.isConnected ? seen : seen && stepElement(seen.dataset.step);
  if (now) window.scrollBy({ top: now.getBoundingClientRect().top - before, behavior: "instant" });
}

// Of several that are asked for, the last one stays, in whichever order they come.
async function replaceAll(viewer, address) {
  viewer.replacing = address;
  const content = await fetched(viewer, address);
  if (!content || viewer.replacing !== address) return false;
  viewer.list.replaceChildren(content);
  observeEdges(viewer);
  mark(viewer);
  return true;
}

// Steps

async function show(viewer, number, { push = true } = {}) {
  if (!number) return;
  if (!stepElement(number) && !(await replaceAll(viewer, `${viewer.base}/steps?step=${number}${kept(["type"])}`))) return;
  const element = stepElement(number) || stepElements(viewer)[0];
  if (element) choose(viewer, element, { push });
}

function kept(names) {
  const asked = new URLSearchParams(location.search);
  return names.flatMap((name) => asked.getAll(name).map((each) => `&${name}=${encodeURIComponent(each)}`)).join("");
}

// `push` is whether going back leads here; null leaves the address as it is.
function choose(viewer, element, { push = false, scroll = true } = {}) {
  viewer.replacing = null; // what was asked for before this comes too late
  viewer.list.querySelector(".is-current")?.classList.remove("is-current");
  element.classList.add("is-current");
  viewer.current = element;
  element.focus({ preventScroll: true });
  markTurn(viewer);
  if (scroll) element.scrollIntoView({ block: "start", behavior: "instant" });
  if (push === null) return;
  const number = element.dataset.step;
  const address = `${location.pathname}?step=${number}${kept(["type", "q", "beside"])}#step-${number}`;
  clearTimeout(viewer.noting);
  if (push) history.pushState(null, "", address);
  else viewer.noting = setTimeout(() => history.replaceState(null, "", address), NOTED_MS); // browsers allow a few a second
}

function current(viewer) {
  if (viewer.current?.isConnected) return viewer.current;
  return stepElements(viewer).find((each) => each.getBoundingClientRect().bottom > 60);
}

async function move(viewer, by) {
  const all = stepElements(viewer);
  const now = current(viewer);
  const fresh = !viewer.current?.isConnected;
  let next = fresh ? now : all[all.indexOf(now) + by];
  if (!next) {
    const edge = viewer.list.querySelector(`[data-edge="${by < 0 ? "before" : "behind"}"]`);
    if (!edge) return say(viewer, by < 0 ? "This is the first step." : "This is the last step.");
    await load(viewer, edge, true);
    const loaded = stepElements(viewer);
    next = loaded[loaded.indexOf(now) + by];
  }
  if (next) choose(viewer, next);
}

async function moveTurn(viewer, by) {
  const now = current(viewer);
  if (!now) return;
  const turn = Number(now.dataset.turn);
  const isWithin = by < 0 && !("begins" in now.dataset) && turn > 0;
  const wanted = isWithin ? turn : turn + by;
  if (wanted < 1 || wanted > Number(viewer.root.dataset.turns)) {
    return say(viewer, by < 0 ? "This is the first turn." : "This is the last turn.");
  }
  let begin = viewer.list.querySelector(`[data-begins][data-turn="${wanted}"]`);
  if (!begin && (await replaceAll(viewer, `${viewer.base}/steps?turn=${wanted}`))) {
    begin = viewer.list.querySelector(`[data-begins][data-turn="${wanted}"]`);
  }
  if (begin) choose(viewer, begin);
}

// The list of turns: a page of it at a time, read when it is opened.

const turnEntries = (viewer) => [...(viewer.turns?.querySelectorAll("[data-turn-entry]") ?? [])];

function watchTurns(viewer) {
  viewer.turns = viewer.root.querySelector("[data-turn-panel]");
  if (!viewer.turns) return;
  viewer.turns.addEventListener("toggle", () => viewer.turns.open && !turnEntries(viewer).length && listTurns(viewer));
  viewer.turns.addEventListener("keydown", (event) => onTurnKey(viewer, event));
  if (matchMedia("(min-width: 64.0625rem)").matches) viewer.turns.open = true;
}

/** Show the list that begins with a turn, or else the one that the turn that is read stands in. */
async function listTurns(viewer, first = 0) {
  const size = Number(viewer.turns.dataset.size);
  const begins = first || Math.floor((Math.max(1, Number(current(viewer)?.dataset.turn ?? 1)) - 1) / size) * size + 1;
  const content = await fetched(viewer, `${viewer.base}/turns?from=${begins}`);
  if (!content) return;
  viewer.turns.querySelector("[data-turn-list]").replaceChildren(content);
  markTurn(viewer);
}

function markTurn(viewer) {
  const turn = current(viewer)?.dataset.turn;
  turnEntries(viewer).forEach((each) => {
    setCurrent(each, each.dataset.turnEntry === turn);
    if (each.dataset.turnEntry === turn) keepInSight(each);
  });
}

// Within the list alone: the page stays where it is.
function keepInSight(entry) {
  const list = entry.closest("[data-turn-list]");
  const [inner, outer] = [entry.getBoundingClientRect(), list.getBoundingClientRect()];
  if (inner.top < outer.top) list.scrollTop -= outer.top - inner.top;
  else if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom;
}

async function goToTurns(viewer) {
  if (!viewer.turns) return say(viewer, "There is one turn.");
  const turn = current(viewer)?.dataset.turn;
  viewer.turns.open = true;
  const entryOf = () => turnEntries(viewer).find((each) => each.dataset.turnEntry === turn);
  if (!entryOf()) await listTurns(viewer);
  (entryOf() || turnEntries(viewer)[0])?.focus();
}

function onTurnKey(viewer, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const all = turnEntries(viewer);
  const now = all.indexOf(event.target);
  const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 }[event.key];
  if (now >= 0 && next !== undefined) all[Math.min(Math.max(next, 0), all.length - 1)].focus();
  else if (event.key === "Escape") current(viewer)?.focus();
  else return;
  event.preventDefault();
}

async function moreTurns(viewer, link) {
  await listTurns(viewer, Number(link.dataset.turnsFrom));
  turnEntries(viewer)[0]?.focus();
}

// Turns that have begun since, in a list that ends with the last one.
function growTurns(viewer, turns) {
  const before = viewer.root.dataset.turns;
  if (String(turns) === before) return;
  viewer.root.dataset.turns = turns;
  if (!viewer.turns) return;
  viewer.turns.querySelector("[data-turns-shown]").textContent = turns.toLocaleString();
  const entries = turnEntries(viewer);
  const endsWithLast = (entries.at(-1)?.dataset.turnEntry ?? "0") === before;
  if (viewer.turns.open && endsWithLast && !viewer.turns.contains(document.activeElement)) {
    listTurns(viewer, Number(entries[0]?.dataset.turnEntry ?? 1));
  }
}

// Search

function readHits(viewer) {
  viewer.hits = [...viewer.root.querySelectorAll("[data-hit]")];
}

async function onSearch(viewer, event) {
  event.preventDefault();
  const query = new FormData(event.currentTarget).get("q").trim();
  const address = new URL(location.href);
  if (query) address.searchParams.set("q", query);
  else address.searchParams.delete("q");
  clearTimeout(viewer.noting);
  if (address.href !== location.href) history.pushState(null, "", address);
  if (!(await find(viewer, query))) return;
  if (viewer.hits.length) moveHit(viewer, 1);
}

async function find(viewer, query) {
  viewer.query = query;
  viewer.hit = -1;
  const content = await fetched(viewer, `${viewer.base}/find?q=${encodeURIComponent(query)}`);
  if (!content || viewer.query !== query) return false;
  viewer.root.querySelector("[data-hits]").replaceChildren(content);
  readHits(viewer);
  mark(viewer);
  say(viewer, "");
  announce(viewer, viewer.root.querySelector("[data-hits-told]")?.textContent.trim() || "");
  return true;
}

// Back or forward: to the step that was read, with what was looked for then.
async function onReturn(viewer) {
  clearTimeout(viewer.noting);
  const query = new URLSearchParams(location.search).get("q") || "";
  const number = stepOfAddress(viewer);
  if (query !== viewer.query) {
    viewer.root.querySelector("[data-search-field]").value = query;
    await find(viewer, query);
  }
  show(viewer, number, { push: false });
}

async function moreHits(viewer, link) {
  const content = await fetched(viewer, link.dataset.fragment);
  if (!content) return false;
  link.replaceWith(content);
  readHits(viewer);
  return true;
}

async function moveHit(viewer, by) {
  let next = viewer.hit + by;
  const more = viewer.root.querySelector("[data-more-hits]");
  if (next >= viewer.hits.length && more) await moreHits(viewer, more);
  if (!viewer.hits.length) return announce(viewer, "Nothing was found.");
  next = (next + viewer.hits.length) % viewer.hits.length;
  viewer.hit = next;
  viewer.hits.forEach((each, place) => setCurrent(each, place === next));
  viewer.hits[next].scrollIntoView({ block: "nearest" });
  await show(viewer, Number(viewer.hits[next].dataset.hit), { push: false });
  say(viewer, `Hit ${next + 1} of ${viewer.hits.length}${viewer.root.querySelector("[data-more-hits]") ? "+" : ""}`);
}

// Marks what is looked for in the steps that are here, without a change to them.
function mark(viewer) {
  if (!window.CSS?.highlights) return;
  CSS.highlights.delete("hit");
  const wanted = viewer.query.toLowerCase();
  if (!wanted) return;
  const ranges = [];
  const walker = document.createTreeWalker(viewer.list, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node && ranges.length < MARKS_MAX; node = walker.nextNode()) {
    const text = node.data.toLowerCase();
    for (let at = text.indexOf(wanted); at >= 0 && ranges.length < MARKS_MAX; at = text.indexOf(wanted, at + wanted.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, Math.min(at + wanted.length, node.length));
      ranges.push(range);
      node.parentElement.closest("details:not([open])")?.setAttribute("data-has-hit", "");
    }
  }
  CSS.highlights.set("hit", new Highlight(...ranges));
}

// Keys and clicks

const KEYS = {
  j: (viewer) => move(viewer, 1),
  k: (viewer) => move(viewer, -1),
  "]": (viewer) => moveTurn(viewer, 1),
  "[": (viewer) => moveTurn(viewer, -1),
  n: (viewer) => moveHit(viewer, 1),
  N: (viewer) => moveHit(viewer, -1),
  "<": (viewer) => show(viewer, 1),
  ">": (viewer) => show(viewer, Number(viewer.root.dataset.total)),
  o: (viewer) => fold(viewer),
  t: (viewer) => goToTurns(viewer),
};

function onKey(viewer, event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog[open]")) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action(viewer);
}

function fold(viewer) {
  const all = [...(current(viewer)?.querySelectorAll("details") ?? [])];
  const isOpen = all.some((each) => each.open);
  all.forEach((each) => { each.open = !isOpen; });
}

function onClick(viewer, event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const target = event.target.closest("[data-go], [data-hit], [data-more-hits], [data-turns-from], [data-edge], [data-copy]");
  if (!target) return;
  event.preventDefault();
  if (target.matches("[data-copy]")) copy(viewer, target);
  else if (target.matches("[data-more-hits]")) moreHits(viewer, target);
  else if (target.matches("[data-turns-from]")) moreTurns(viewer, target);
  else if (target.matches("[data-edge]")) load(viewer, target, true);
  else if (target.matches("[data-hit]")) {
    viewer.hit = viewer.hits.indexOf(target);
    viewer.hits.forEach((each) => setCurrent(each, each === target));
    show(viewer, Number(target.dataset.hit));
  } else show(viewer, Number(target.dataset.go));
}

async function copy(viewer, link) {
  const answer = await fetch(link.href);
  const text = await answer.text();
  if (!answer.ok) return say(viewer, "The text cannot be fetched now.");
  try {
    await navigator.clipboard.writeText(text);
    say(viewer, `Copied ${text.length.toLocaleString()} characters.`);
  } catch {
    location.assign(link.href); // a page without a secure origin has no clipboard
  }
}

// Live: what comes is put behind the last step; nothing that is there moves or closes.

function follow(viewer) {
  const source = new EventSource(`${viewer.base}/live?from=${Number(viewer.root.dataset.total) + 1}`);
  source.addEventListener("steps", (event) => {
    const { total, turns, html } = JSON.parse(event.data);
    growTurns(viewer, turns);
    viewer.root.dataset.total = total;
    viewer.root.querySelectorAll("[data-total-shown]").forEach((each) => { each.textContent = total.toLocaleString(); });
    if (viewer.list.querySelector('[data-edge="behind"]')) return;
    keepingPlace(viewer, () => {
      viewer.list.append(parsed(html));
      mark(viewer);
    });
    say(viewer, `${total.toLocaleString()} steps`);
  });
  source.addEventListener("closed", () => {
    source.close();
    viewer.root.querySelector("[data-live-mark]")?.remove();
    say(viewer, "The session was closed.");
  });
}

for (const page of document.querySelectorAll("[data-viewer]")) start(page);
