// Values of tests with their unit.

import { number, seconds } from "./dom.js";

export function value(found, unit) {
  if (found === null) return "–";
  return unit === "s" ? seconds(found) : `${number(found, 2)} ${unit}`;
}
