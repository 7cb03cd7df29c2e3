// The verdicts of test runs, each of which is computed from the history of a machine.

import { LateValues } from "./late_values.js";

const verdicts = new LateValues((id) => `/api/v1/runs/${id}/verdict`);

export const verdictOf = (id, changed) => verdicts.of(id, changed);
export const forgetVerdicts = () => verdicts.forget();
