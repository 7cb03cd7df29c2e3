"""Authentication: the token in its three forms, and the addresses that need one."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import inspect
import re
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smartmob.errors import NotAuthenticated
from smartmob.hosts import authenticator as hosts_authenticator
from smartmob.kernel.auth import authenticator
from smartmob.kernel.auth.authenticator import COOKIE_SECONDS, OWNER, TokenAuthenticator
from smartmob.kernel.runtime import clock

TOKEN = "s3cret:of the räck"

# What aiohttp hands over for the bytes of a header.
headers = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


def _passes(tokens: TokenAuthenticator, authorization: str | None = None, cookie: str | None = None) -> bool:
    try:
        tokens.authenticate(authorization, cookie)
    except NotAuthenticated:
        return False
    return True


def _basic(user: str, password: str, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()


class TestWithoutToken:
    """A service without a token."""

    @settings(deadline=None)
    @given(st.none() | headers, st.none() | headers)
    def test_every_client_is_the_owner(self, authorization: str | None, cookie: str | None) -> None:
        """Every header and cookie is accepted."""
        tokens = TokenAuthenticator(None)

        assert not tokens.required
        assert _passes(tokens, authorization, cookie)

    @pytest.mark.parametrize("given_token", ["", "None", "x"])
    def test_no_token_signs_in(self, given_token: str) -> None:
        """No token can sign in to a service without a token."""
        assert TokenAuthenticator(None).principal_of(given_token) is None


class TestBearer:
    """The token as `Authorization: Bearer`."""

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_the_scheme_is_case_insensitive(self, scheme: str) -> None:
        """The token is accepted with the scheme in any case."""
        assert _passes(TokenAuthenticator(TOKEN), f"{scheme} {TOKEN}")

    @pytest.mark.parametrize("blanks", ["  {}", "{} ", " \t{} "])
    def test_blanks_around_the_token_are_ignored(self, blanks: str) -> None:
        """Blanks around the token are not part of it."""
        assert _passes(TokenAuthenticator("abc"), "Bearer " + blanks.format("abc"))

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Bearerabc",
            "abc",
            "Token abc",
            "Bearer ab",
            "Bearer abcd",
            "Bearer ABC",
            'Bearer "abc"',
            "Bearer abc abc",
            "Bearer a bc",
        ],
    )
    def test_other_values_are_refused(self, value: str) -> None:
        """Another scheme, a part of the token and more than the token are refused."""
        assert not _passes(TokenAuthenticator("abc"), value)


class TestBasic:
    """The token as the password of HTTP Basic."""

    @pytest.mark.parametrize("user", ["", "ci", "jürgen", "a b", "x" * 500])
    @pytest.mark.parametrize("password", ["abc", "a:b:c", ":", "päss wörd ☃", " abc "])
    def test_the_user_name_is_ignored(self, user: str, password: str) -> None:
        """Any user name is accepted, and the password may contain colons, blanks and any character."""
        assert _passes(TokenAuthenticator(password), _basic(user, password))

    @pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
    def test_the_scheme_is_case_insensitive(self, scheme: str) -> None:
        """The token is accepted with the scheme in any case."""
        assert _passes(TokenAuthenticator("abc"), f"{scheme} {base64.b64encode(b'ci:abc').decode()}")

    @pytest.mark.parametrize(
        "value",
        [
            "Basic",
            "Basic ",
            "Basic !",
            "Basic YWJj",
            "Basic Y",
            "Basic YWJjZA",
            "Basic ü",
            "Basic " + "A" * 99,
            _basic("abc", ""),
            _basic("abc", "ab"),
            _basic("ci:", "abc"),
            "Basic " + base64.b64encode(b"abc").decode(),
        ],
    )
    def test_other_values_are_refused(self, value: str) -> None:
        """Invalid base64, a value without a colon, and another password are refused."""
        assert not _passes(TokenAuthenticator("abc"), value)

    def test_other_encodings_are_refused(self) -> None:
        """A password in another encoding than UTF-8 is refused."""
        assert not _passes(TokenAuthenticator("päss"), _basic("ci", "päss", "latin-1"))


class TestCookie:
    """The session cookie that the login page sets."""

    def test_a_new_cookie_is_accepted(self) -> None:
        """A new cookie authenticates its owner."""
        tokens = TokenAuthenticator(TOKEN)

        assert _passes(tokens, None, tokens.cookie())

    def test_a_cookie_survives_a_restart(self) -> None:
        """A service with the same token accepts the cookie."""
        assert _passes(TokenAuthenticator(TOKEN), None, TokenAuthenticator(TOKEN).cookie())

    def test_a_cookie_counts_beside_a_wrong_header(self) -> None:
        """A valid cookie is enough if the header is wrong."""
        tokens = TokenAuthenticator(TOKEN)

        assert _passes(tokens, "Bearer wrong", tokens.cookie())
        assert _passes(tokens, f"Bearer {TOKEN}", "wrong")

    def test_a_cookie_does_not_contain_the_token(self) -> None:
        """A cookie reveals no token, and two cookies differ."""
        tokens = TokenAuthenticator("abc")
        first, second = tokens.cookie(), tokens.cookie()

        assert "abc" not in (first.split(".")[0], first.split(".")[3])
        assert first != second
        assert first.isascii()
        assert not set(first) & set(' ",;\\')

    def test_a_new_token_of_the_service_invalidates_cookies(self) -> None:
        """Cookies are invalid after the token of the service has changed."""
        assert not _passes(TokenAuthenticator("new"), None, TokenAuthenticator("old").cookie())

    def test_a_cookie_of_a_service_without_a_token_is_refused(self) -> None:
        """A cookie from a service without a token is refused by one with a token."""
        assert not _passes(TokenAuthenticator("abc"), None, TokenAuthenticator(None).cookie())

    def test_a_cookie_expires_after_two_weeks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A cookie is accepted for two weeks, and not longer."""
        tokens = TokenAuthenticator(TOKEN)
        cookie = tokens.cookie()
        made = clock.epoch()

        monkeypatch.setattr(clock, "epoch", lambda: made + COOKIE_SECONDS - 2)
        assert _passes(tokens, None, cookie)
        monkeypatch.setattr(clock, "epoch", lambda: made + COOKIE_SECONDS + 1)
        assert not _passes(tokens, None, cookie)

    def test_the_expiry_cannot_be_changed(self) -> None:
        """The expiry is part of the signed text."""
        tokens = TokenAuthenticator(TOKEN)
        end, nonce, mark, signature = tokens.cookie().split(".")

        assert _passes(tokens, None, f"{end}.{nonce}.{mark}.{signature}")
        assert not _passes(tokens, None, f"{int(end) + 1}.{nonce}.{mark}.{signature}")
        assert not _passes(tokens, None, f"{end}.{nonce}x.{mark}.{signature}")
        assert not _passes(tokens, None, f"{end}.{nonce}.{mark}.{signature[:-1]}")
        assert not _passes(tokens, None, f"{end}.{nonce}.{'00' * 32}.{signature}")

    def test_a_signature_by_another_key_is_refused(self) -> None:
        """A signature by another key is refused."""
        plain = f"{int(clock.epoch()) + 1000}.nonce."
        forged = hmac.new(b"guess", plain.encode(), hashlib.sha256).hexdigest()

        assert not _passes(TokenAuthenticator(TOKEN), None, f"{plain}.{forged}")

    def test_the_key_is_derived_slowly_from_the_token(self) -> None:
        """The signature of a cookie cannot be used to test guesses of the service's token quickly."""
        plain, _, signature = TokenAuthenticator(TOKEN).cookie().rpartition(".")
        for key in (TOKEN.encode(), b"smartmob cookie\0" + TOKEN.encode(), b"smartmob cookie" + TOKEN.encode()):
            for tried in (key, hashlib.sha256(key).digest()):
                assert hmac.new(tried, plain.encode(), hashlib.sha256).hexdigest() != signature


class TestInvalidCredentials:
    """Credentials that no client of the service sends."""

    # To derive the key of the cookies takes as long as all else that an example does, a hundred times over.
    tokens = TokenAuthenticator(TOKEN)

    @settings(deadline=None)
    @given(st.none() | headers, st.none() | headers)
    @example("Basic \udcff", "\udcff.\udcff")
    @example("Bearer \udcff", "..")
    @example(None, ".")
    def test_any_bytes_are_refused(self, authorization: str | None, cookie: str | None) -> None:
        """Any bytes in the two headers raise NotAuthenticated and nothing else."""
        assert not _passes(self.tokens, authorization, cookie)

    @settings(deadline=None)
    @given(headers.map("Basic ".__add__) | headers.map("Bearer ".__add__))
    def test_any_bytes_after_a_known_scheme_are_refused(self, authorization: str) -> None:
        """Any bytes after a known scheme are refused."""
        assert not _passes(self.tokens, authorization)

    @settings(deadline=None, max_examples=20)
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(lambda text: text.strip()))
    def test_any_token_works_in_each_form(self, token: str) -> None:
        """A token of any characters can be used in each of its forms."""
        tokens = TokenAuthenticator(token.strip())

        assert tokens.required
        assert tokens.principal_of(token.strip()) == OWNER
        assert tokens.principal_of(token.strip() + "x") is None
        assert _passes(tokens, f"Bearer {token.strip()}")
        assert _passes(tokens, _basic("ci", token.strip()))
        assert _passes(tokens, None, tokens.cookie())


class TestPrincipalOf:
    """The comparison of tokens."""

    @pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], TOKEN + " ", TOKEN.upper(), "\udcff"])
    def test_only_the_exact_token_matches(self, wrong: str) -> None:
        """The token matches, and similar texts do not."""
        assert TokenAuthenticator(TOKEN).principal_of(TOKEN) == OWNER
        assert TokenAuthenticator(TOKEN).principal_of(wrong) is None

    @pytest.mark.parametrize("shown", ["Bearer ", "Bearer", "Basic Og==", ""])
    def test_an_empty_token_of_the_service_accepts_no_client(self, shown: str) -> None:
        """A service with an empty token cannot be made, or accepts no client."""
        with pytest.raises((NotAuthenticated, ValueError)):
            TokenAuthenticator("").authenticate(shown, None)

    @pytest.mark.parametrize("module", [authenticator, hosts_authenticator])
    def test_secrets_are_only_compared_in_constant_time(self, module: ModuleType) -> None:
        """The code uses `compare_digest` for secrets, and no operator; a measured time would prove nothing."""
        found = list(ast.walk(ast.parse(inspect.getsource(module))))
        by_operator = {
            name
            for node in found
            if isinstance(node, ast.Compare) and any(isinstance(kind, ast.Eq | ast.NotEq) for kind in node.ops)
            for name in re.findall(r"\w+", ast.unparse(node))
        }
        calls = [node for node in found if isinstance(node, ast.Call) and "compare_digest" in ast.unparse(node.func)]

        assert not by_operator & {
            "given",
            "signature",
            "secret",
            "password",
            "authorization",
            "_token",
            "_bearer",
            "_sign",
        }
        assert len(calls) == (3 if module is authenticator else 2)


class TestCookieName:
    """The name of the session cookie."""

    def test_services_on_one_host_have_different_names(self) -> None:
        """A browser sends the cookies of all ports: each service has its own name."""
        one, two = TokenAuthenticator("abc", instance="/srv/one"), TokenAuthenticator("abc", instance="/srv/two")
        assert one.cookie_name(secure=False) != two.cookie_name(secure=False)
        assert one.cookie_name(secure=False) == TokenAuthenticator("new", instance="/srv/one").cookie_name(secure=False)

    def test_over_tls_the_name_has_the_host_prefix(self) -> None:
        """Over TLS the name begins with `__Host-`, and a cookie without that prefix is not read."""
        tokens = TokenAuthenticator("abc", instance="/srv/one")
        assert tokens.cookie_name(secure=True).startswith("__Host-")
        assert tokens.cookie_of({tokens.cookie_name(secure=False): "x"}, secure=True) is None
        assert tokens.cookie_of({tokens.cookie_name(secure=True): "x"}, secure=True) == "x"

    def test_a_cookie_of_the_old_name_counts_without_a_new_one(self) -> None:
        """Sessions from before the change of the name stay valid; the present name takes precedence."""
        tokens = TokenAuthenticator("abc", instance="/srv/one")
        own = tokens.cookie_name(secure=False)
        assert tokens.cookie_of({"smartmob_session": "old"}, secure=False) == "old"
        assert tokens.cookie_of({"smartmob_session": "old", own: "new"}, secure=False) == "new"
        assert tokens.cookie_of({}, secure=False) is None
