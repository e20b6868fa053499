// What a threshold makes of a cell. The twin of `Row.reasons` in dashboard/upload/rows.py; a test holds both
// against what the device decides.

/** Every reason to flag a cell {confidence, held} at a threshold, in the device's order. */
export function reasonsAt(cell, threshold) {
  return cell.confidence < threshold ? ["low_confidence", ...cell.held] : cell.held;
}

export function isFlagged(cell, threshold) {
  return cell.confidence < threshold || cell.held.length > 0;
}
