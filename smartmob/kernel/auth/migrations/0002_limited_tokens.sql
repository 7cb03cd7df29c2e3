-- The labels of the nodes to which a token is limited, such as `rack=7,gpu`; an empty text is no limit.
ALTER TABLE access_tokens ADD COLUMN only_nodes text NOT NULL DEFAULT '';
