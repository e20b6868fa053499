// What the model looked at, laid over the cell: from clear (nothing) over yellow to red (most).

const SIDE = 64;
let drawn = null;

/** Bicubic B-spline: smooth everywhere, and never outside the values it goes between. */
function weights(x) {
  return [(1 - x) ** 3 / 6, (3 * x ** 3 - 6 * x ** 2 + 4) / 6, (-3 * x ** 3 + 3 * x ** 2 + 3 * x + 1) / 6, x ** 3 / 6];
}

function at(grid, row, column) {
  const inside = (value, most) => Math.max(0, Math.min(most - 1, value));
  return grid.values[inside(row, grid.rows) * grid.columns + inside(column, grid.columns)] / 255;
}

/** The grid at a place, each from 0 to 1 across the picture. */
function value(grid, x, y) {
  const column = x * grid.columns - 0.5;
  const row = y * grid.rows - 0.5;
  const left = Math.floor(column);
  const top = Math.floor(row);
  const across = weights(column - left);
  const down = weights(row - top);
  let sum = 0;
  for (let j = 0; j < 4; j += 1) {
    for (let i = 0; i < 4; i += 1) sum += down[j] * across[i] * at(grid, top - 1 + j, left - 1 + i);
  }
  return sum;
}

function heat(grid) {
  const canvas = document.createElement("canvas");
  canvas.width = SIDE;
  canvas.height = SIDE;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(SIDE, SIDE);
  const strengths = Array.from({ length: SIDE * SIDE }, (_, n) => value(grid, ((n % SIDE) + 0.5) / SIDE, (Math.floor(n / SIDE) + 0.5) / SIDE));
  const most = Math.max(...strengths, 1e-6);
  strengths.forEach((raw, n) => {
    const strength = raw / most;
    pixels.data.set([255, Math.round(235 * (1 - strength)), Math.round(60 * (1 - strength)), Math.round(255 * strength)], 4 * n);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

export function usable(grid) {
  return Boolean(grid) && grid.rows > 0 && grid.columns > 0 && grid.values.length === grid.rows * grid.columns;
}

/** How much of what is shown lies in the middle half of the picture, 0 to 1: for those who do not see it. */
export function inMiddle(grid) {
  let all = 0;
  let middle = 0;
  grid.values.forEach((each, n) => {
    const x = ((n % grid.columns) + 0.5) / grid.columns;
    const y = (Math.floor(n / grid.columns) + 0.5) / grid.rows;
    all += each;
    if (Math.abs(x - 0.5) <= 0.25 && Math.abs(y - 0.5) <= 0.25) middle += each;
  });
  return all ? middle / all : 0;
}

/** Draw a picture (an image element, or null) with the grid over it. */
export function draw(canvas, image, grid, opacity) {
  drawn = { canvas, image, heat: usable(grid) ? heat(grid) : null };
  redraw(opacity);
}

export function redraw(opacity) {
  if (!drawn) return;
  const { canvas, image } = drawn;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (!drawn.heat) return;
  context.globalAlpha = opacity;
  context.drawImage(drawn.heat, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}
