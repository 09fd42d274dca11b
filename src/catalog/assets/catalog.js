// The search of the catalog: everything is in entries.js, so that it works from a folder, with no server.
(function () {
  "use strict";

  const form = document.querySelector("form[role=search]");
  const input = document.getElementById("search");
  const status = document.getElementById("search-status");
  const results = document.getElementById("search-results");
  const root = document.documentElement.dataset.root;
  const shownAtMost = 20;

  // Letters without their accents and case, so that "Müller" is found by "muller".
  const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

  const entries = (window.catalogEntries || []).map((entry) => ({
    ...entry,
    folded: fold(entry.name),
    all: fold([entry.name, entry.what, entry.text].join(" ")),
  }));

  function find(query) {
    const words = fold(query).split(/\s+/).filter(Boolean);
    if (words.length === 0) return [];
    const rank = (entry) => {
      if (entry.folded === words.join(" ")) return 0;
      if (entry.folded.startsWith(words[0])) return 1;
      return words.every((word) => entry.folded.includes(word)) ? 2 : 3;
    };
    return entries
      .filter((entry) => words.every((word) => entry.all.includes(word)))
      .map((entry) => [rank(entry), entry])
      .sort((one, other) => one[0] - other[0])
      .map(([, entry]) => entry);
  }

  function show() {
    const found = find(input.value);
    const asked = input.value.trim() !== "";
    results.replaceChildren(...found.slice(0, shownAtMost).map((entry) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      const what = document.createElement("span");
      link.href = root + entry.page;
      link.textContent = entry.name;
      what.className = "aside";
      what.textContent = entry.what;
      item.append(link, " ", what);
      return item;
    }));
    results.hidden = found.length === 0;
    if (!asked) status.textContent = "";
    else if (found.length === 0) status.textContent = "Nothing found";
    else if (found.length === 1) status.textContent = "1 result";
    else if (found.length > shownAtMost) status.textContent = `${found.length} results, the first ${shownAtMost} shown`;
    else status.textContent = `${found.length} results`;
  }

  function close() {
    input.value = "";
    show();
    input.focus();
  }

  input.addEventListener("input", show);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const first = results.querySelector("a");
    if (first) first.click();
  });

  form.addEventListener("keydown", (event) => {
    const links = [...results.querySelectorAll("a")];
    const place = links.indexOf(document.activeElement);
    if (event.key === "Escape") {
      close();
    } else if (event.key === "ArrowDown" && links.length > 0) {
      links[Math.min(place + 1, links.length - 1)].focus();
    } else if (event.key === "ArrowUp" && place >= 0) {
      (place === 0 ? input : links[place - 1]).focus();
    } else {
      return;
    }
    event.preventDefault();
  });

  form.hidden = false;
})();
