// The list of samples: two can be chosen for a comparison.

const form = document.getElementById("chosen");
const button = document.getElementById("compare");
const boxes = [...form.querySelectorAll("input[type=checkbox]")];

form.addEventListener("change", () => {
  const chosen = boxes.filter((box) => box.checked);
  button.disabled = chosen.length !== 2;
  boxes.forEach((box) => box.removeAttribute("name"));
  chosen.forEach((box, place) => box.setAttribute("name", "ab"[place] ?? ""));
});
