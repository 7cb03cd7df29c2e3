-- The CURVE key that was the first to use a uuid, so that also after a restart of the headquarters no other turret speaks
-- in its name.
CREATE TABLE turret_claims (
    headquarters text NOT NULL,
    uuid text NOT NULL,
    key text NOT NULL,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (headquarters, uuid)
);
