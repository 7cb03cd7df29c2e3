-- Tokens beside the one that the service was started with. A token has 256 random bits, so a plain digest of it is enough:
-- there is nothing to guess that a slow one would protect.
CREATE TABLE access_tokens (
    name text PRIMARY KEY,
    role text NOT NULL,
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
