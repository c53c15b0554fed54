// Countdowns, the theme's button and live sections. Every page works without.
"use strict";

const SETTLE_MS = 800; // several events of one block make one reload
const FIRST_LOOK_MS = 2_000; // a phase that ends by itself is no event: the page looks after it, less and less often
const LAST_LOOK_MS = 60_000;

function themeButton() {
  const button = document.querySelector("[data-theme-toggle]");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const current = () => document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
  const label = () => {
    button.textContent = current() === "dark" ? "Light theme" : "Dark theme";
  };
  button.addEventListener("click", () => {
    const next = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // Not remembered where storage is refused.
    }
    label();
  });
  system.addEventListener("change", label);
  label();
  button.hidden = false;
}

// The chain's clock: its last block's, going on since; where no block came for a while, the next one will have ours.
let chainTime = Number(document.body.dataset.chainTime ?? 0);
let readAt = performance.now();
const now = () => Math.max(chainTime + (performance.now() - readAt) / 1000, Date.now() / 1000);

function left(seconds) {
  const units = [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [name, size] = units[first];
  const whole = `${Math.floor(seconds / size)} ${name}`;
  if (first === units.length - 1) return whole;
  const [nextName, nextSize] = units[first + 1];
  const rest = Math.floor((seconds % size) / nextSize);
  return rest ? `${whole} ${rest} ${nextName}` : whole;
}

function tick() {
  for (const countdown of document.querySelectorAll("[data-until]")) {
    const seconds = Math.floor(Number(countdown.dataset.until) - now());
    const text = seconds > 0 ? left(seconds) : "ends with the next block";
    if (countdown.textContent !== text) countdown.textContent = text;
  }
}

const served = new Map(); // each live section as the server last sent it

// Swaps what changed and leaves the rest: what is open stays open, what is scrolled stays, and so does the focus.
function swap(fresh) {
  let changed = false;
  for (const section of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(section.id);
    if (!other || other.innerHTML === served.get(section.id) || section.contains(document.activeElement)) continue;
    const open = [...section.querySelectorAll("details")].map((details) => details.open);
    const scrolled = [...section.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    served.set(section.id, other.innerHTML);
    section.replaceChildren(...document.importNode(other, true).childNodes);
    section.querySelectorAll("details").forEach((details, place) => (details.open = open[place] ?? false));
    section.querySelectorAll(".scroll").forEach((box, place) => (box.scrollLeft = scrolled[place] ?? 0));
    changed ||= section.id !== "chain";
  }
  return changed;
}

let patience = FIRST_LOOK_MS;
let lookAt = 0;

function lookAfterPhase() {
  const countdown = document.querySelector(".now [data-until]");
  if (!countdown || document.hidden || Number(countdown.dataset.until) > now()) {
    lookAt = 0;
  } else if (lookAt === 0) {
    lookAt = performance.now() + patience;
  } else if (performance.now() > lookAt) {
    lookAt = 0;
    patience = Math.min(2 * patience, LAST_LOOK_MS);
    reload().catch(() => {}); // it looks again
  }
}

async function reload() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const time = Number(fresh.body.dataset.chainTime ?? 0);
  if (time > chainTime) [chainTime, readAt] = [time, performance.now()];
  if (swap(fresh)) {
    patience = FIRST_LOOK_MS;
    document.getElementById("announcement").textContent = "The page was brought up to date.";
  }
  tick();
}

function follow(job) {
  let waiting = 0;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (document.hidden) document.addEventListener("visibilitychange", soon, { once: true });
      else reload().catch(() => {}); // the next event tries again
    }, SETTLE_MS);
  };
  // After what this page already shows: nothing that happens while it loads is missed.
  const after = encodeURIComponent(document.body.dataset.after);
  const source = new EventSource(`/api/v1/events/stream?job=${encodeURIComponent(job)}&after=${after}`);
  for (const kind of JSON.parse(document.body.dataset.kinds)) source.addEventListener(kind, soon);
  addEventListener("pagehide", () => source.close());
}

themeButton();
for (const section of document.querySelectorAll("[data-live]")) served.set(section.id, section.innerHTML);
tick();
setInterval(tick, 1000);
if (document.body.dataset.job) {
  follow(document.body.dataset.job);
  setInterval(lookAfterPhase, 1000);
}
