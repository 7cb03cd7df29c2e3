-- Values that failed have slices of their own: `failed`. `untimed` failures have no duration and are not in `count`. In
-- slices without `failed` that have `errors`, which earlier versions stored, the values of both are together.
-- `errors` is an object: the count of each error by its text, or an array of count, kind and code.
ALTER TABLE turret_slices ADD COLUMN failed boolean NOT NULL DEFAULT false, ADD COLUMN untimed bigint NOT NULL DEFAULT 0;

-- The kind and code of the error of a single result, whether it was timed, and the errors of its timers.
ALTER TABLE turret_results ADD COLUMN details json;
