-- Finds the sessions of a context, which are the history of a test run.
CREATE INDEX test_session_contexts_by_context ON test_session_contexts (context_h, session_h);
