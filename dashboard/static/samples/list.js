// The list of samples: searched, and two can be chosen for a comparison.

// Days are those of whoever searches: the server is told how far from UTC that is on the first of them.
const search = document.querySelector("form.search");
search.addEventListener("submit", () => {
  const { since, until, zone } = search.elements;
  const on = new Date(since.value || until.value || Date.now());
  zone.value = since.value || until.value ? -on.getTimezoneOffset() : "";
  // What nobody filled in does not lengthen the address.
  for (const field of search.elements) if (field.name) field.disabled = !field.value;
});
addEventListener("pageshow", () => {
  for (const field of search.elements) field.disabled = false;
});

const form = document.getElementById("chosen");
const button = document.getElementById("compare");
const boxes = [...form.querySelectorAll("input[type=checkbox]")];

form.addEventListener("change", () => {
  const chosen = boxes.filter((box) => box.checked);
  if (button) button.disabled = chosen.length !== 2;
  boxes.forEach((box) => box.removeAttribute("name"));
  chosen.forEach((box, place) => box.setAttribute("name", "ab"[place] ?? ""));
});
