"""Who may come in: the token in its three forms, and where the service may listen without one."""

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

from smartmob.errors import NotAuthenticated, StartupError
from smartmob.hosts import authenticator as hosts_authenticator
from smartmob.kernel.auth import authenticator
from smartmob.kernel.auth.authenticator import COOKIE_SECONDS, OWNER, TokenAuthenticator, check_bind, is_loopback
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
    """A service that asks for no token."""

    @settings(deadline=None)
    @given(st.none() | headers, st.none() | headers)
    def test_everybody_passes(self, authorization: str | None, cookie: str | None) -> None:
        """Whatever a client shows does not matter."""
        tokens = TokenAuthenticator(None)

        assert not tokens.required
        assert _passes(tokens, authorization, cookie)

    @pytest.mark.parametrize("given_token", ["", "None", "x"])
    def test_no_token_is_the_right_one(self, given_token: str) -> None:
        """Nobody can sign in where there is nothing to know."""
        assert TokenAuthenticator(None).principal_of(given_token) is None


class TestBearer:
    """The token in the header as it is."""

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_the_token(self, scheme: str) -> None:
        """The scheme is written in any case."""
        assert _passes(TokenAuthenticator(TOKEN), f"{scheme} {TOKEN}")

    @pytest.mark.parametrize("blanks", ["  {}", "{} ", " \t{} "])
    def test_blanks_around_it(self, blanks: str) -> None:
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
    def test_everything_else(self, value: str) -> None:
        """Another scheme, a part of the token and more than the token are refused."""
        assert not _passes(TokenAuthenticator("abc"), value)


class TestBasic:
    """The token as the password of HTTP Basic."""

    @pytest.mark.parametrize("user", ["", "ci", "jürgen", "a b", "x" * 500])
    @pytest.mark.parametrize("password", ["abc", "a:b:c", ":", "päss wörd ☃", " abc "])
    def test_any_user(self, user: str, password: str) -> None:
        """The user's name does not matter, and the password may hold colons, blanks and any letter."""
        assert _passes(TokenAuthenticator(password), _basic(user, password))

    @pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
    def test_any_case_of_the_scheme(self, scheme: str) -> None:
        """The scheme is written in any case."""
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
    def test_everything_else(self, value: str) -> None:
        """What is no base64, has no colon, or another password is refused."""
        assert not _passes(TokenAuthenticator("abc"), value)

    def test_another_encoding(self) -> None:
        """The answer to a client without a token says that UTF-8 is expected."""
        assert not _passes(TokenAuthenticator("päss"), _basic("ci", "päss", "latin-1"))


class TestCookie:
    """The session cookie that the login page sets."""

    def test_a_new_one(self) -> None:
        """It proves that its owner has known the token."""
        tokens = TokenAuthenticator(TOKEN)

        assert _passes(tokens, None, tokens.cookie())

    def test_after_a_restart(self) -> None:
        """A service with the same token accepts it."""
        assert _passes(TokenAuthenticator(TOKEN), None, TokenAuthenticator(TOKEN).cookie())

    def test_beside_a_wrong_header(self) -> None:
        """A browser may send both; one of them is enough."""
        tokens = TokenAuthenticator(TOKEN)

        assert _passes(tokens, "Bearer wrong", tokens.cookie())
        assert _passes(tokens, f"Bearer {TOKEN}", "wrong")

    def test_it_does_not_hold_the_token(self) -> None:
        """Who reads a cookie does not know the token, and two cookies differ."""
        tokens = TokenAuthenticator("abc")
        first, second = tokens.cookie(), tokens.cookie()

        assert "abc" not in (first.split(".")[0], first.split(".")[3])
        assert first != second
        assert first.isascii()
        assert not set(first) & set(' ",;\\')

    def test_of_another_token(self) -> None:
        """Who changes the token signs everybody out."""
        assert not _passes(TokenAuthenticator("new"), None, TokenAuthenticator("old").cookie())

    def test_of_a_service_without_a_token(self) -> None:
        """A cookie that anybody can make is worth nothing where there is a token."""
        assert not _passes(TokenAuthenticator("abc"), None, TokenAuthenticator(None).cookie())

    def test_it_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is accepted for two weeks and then no more."""
        tokens = TokenAuthenticator(TOKEN)
        cookie = tokens.cookie()
        made = clock.epoch()

        monkeypatch.setattr(clock, "epoch", lambda: made + COOKIE_SECONDS - 2)
        assert _passes(tokens, None, cookie)
        monkeypatch.setattr(clock, "epoch", lambda: made + COOKIE_SECONDS + 1)
        assert not _passes(tokens, None, cookie)

    def test_a_longer_life_cannot_be_forged(self) -> None:
        """The end is part of what is signed."""
        tokens = TokenAuthenticator(TOKEN)
        end, nonce, mark, signature = tokens.cookie().split(".")

        assert _passes(tokens, None, f"{end}.{nonce}.{mark}.{signature}")
        assert not _passes(tokens, None, f"{int(end) + 1}.{nonce}.{mark}.{signature}")
        assert not _passes(tokens, None, f"{end}.{nonce}x.{mark}.{signature}")
        assert not _passes(tokens, None, f"{end}.{nonce}.{mark}.{signature[:-1]}")
        assert not _passes(tokens, None, f"{end}.{nonce}.{'00' * 32}.{signature}")

    def test_a_guessed_key(self) -> None:
        """A signature by another key is refused."""
        plain = f"{int(clock.epoch()) + 1000}.nonce."
        forged = hmac.new(b"guess", plain.encode(), hashlib.sha256).hexdigest()

        assert not _passes(TokenAuthenticator(TOKEN), None, f"{plain}.{forged}")

    def test_the_key_is_no_fast_digest_of_the_token(self) -> None:
        """A reader has a cookie: from its signature, words cannot be tried quickly for the token of the service."""
        plain, _, signature = TokenAuthenticator(TOKEN).cookie().rpartition(".")
        for key in (TOKEN.encode(), b"smartmob cookie\0" + TOKEN.encode(), b"smartmob cookie" + TOKEN.encode()):
            for tried in (key, hashlib.sha256(key).digest()):
                assert hmac.new(tried, plain.encode(), hashlib.sha256).hexdigest() != signature


class TestGarbage:
    """What no client of ours sends."""

    # To derive the key of the cookies takes as long as all else that an example does, a hundred times over.
    tokens = TokenAuthenticator(TOKEN)

    @settings(deadline=None)
    @given(st.none() | headers, st.none() | headers)
    @example("Basic \udcff", "\udcff.\udcff")
    @example("Bearer \udcff", "..")
    @example(None, ".")
    def test_it_is_refused_and_nothing_else(self, authorization: str | None, cookie: str | None) -> None:
        """Any bytes in the two headers have one and the same result."""
        assert not _passes(self.tokens, authorization, cookie)

    @settings(deadline=None)
    @given(headers.map("Basic ".__add__) | headers.map("Bearer ".__add__))
    def test_behind_a_known_scheme(self, authorization: str) -> None:
        """Garbage as the value of a scheme that we know is refused."""
        assert not _passes(self.tokens, authorization)

    @settings(deadline=None, max_examples=40)
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(lambda text: text.strip()))
    def test_any_token_works(self, token: str) -> None:
        """A token of any letters can be used in each of its forms."""
        tokens = TokenAuthenticator(token.strip())

        assert tokens.required
        assert tokens.principal_of(token.strip()) == OWNER
        assert tokens.principal_of(token.strip() + "x") is None
        assert _passes(tokens, f"Bearer {token.strip()}")
        assert _passes(tokens, _basic("ci", token.strip()))
        assert _passes(tokens, None, tokens.cookie())


class TestMatches:
    """The comparison behind the login page."""

    @pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], TOKEN + " ", TOKEN.upper(), "\udcff"])
    def test_only_the_token(self, wrong: str) -> None:
        """The token and nothing near it."""
        assert TokenAuthenticator(TOKEN).principal_of(TOKEN) == OWNER
        assert TokenAuthenticator(TOKEN).principal_of(wrong) is None

    @pytest.mark.parametrize("shown", ["Bearer ", "Bearer", "Basic Og==", ""])
    def test_an_empty_token_opens_nothing(self, shown: str) -> None:
        """Should an empty token ever come this far, showing nothing is not the way in."""
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
        assert len(calls) == (3 if module is authenticator else 1)


class TestBinding:
    """Where the service may listen."""

    LOOPBACK = ("127.0.0.1", "127.8.9.10", "::1", "localhost")
    ABROAD = ("0.0.0.0", "::", "", "192.0.2.7", "2001:db8::1", "lab.example", "localhost.example", "127.0.0.1.example")

    @pytest.mark.parametrize("host", LOOPBACK)
    def test_at_home(self, host: str) -> None:
        """An address of this machine alone needs no token."""
        assert is_loopback(host)
        check_bind(host, None, insecure=False)

    @pytest.mark.parametrize("host", ABROAD)
    def test_abroad(self, host: str) -> None:
        """Anything else is refused, and the refusal names each way on."""
        assert not is_loopback(host)
        with pytest.raises(StartupError) as caught:
            check_bind(host, None, insecure=False)

        said = str(caught.value)
        assert f"refusing to listen on {host}" in said
        assert all(way in said for way in ("--token-file", "SMARTMOB_TOKEN", "127.0.0.1", "--insecure"))

    @pytest.mark.parametrize("host", ABROAD)
    def test_abroad_with_care(self, host: str) -> None:
        """A token, or the word that none is wanted, lets it listen anywhere."""
        check_bind(host, "abc", insecure=False)
        check_bind(host, None, insecure=True)


class TestCookieName:
    """Which cookie of those that a browser sends is this service's."""

    def test_services_on_one_host_have_different_names(self) -> None:
        """A browser sends the cookies of all ports: one service does not overwrite another's, and keeps its own."""
        one, two = TokenAuthenticator("abc", instance="/srv/one"), TokenAuthenticator("abc", instance="/srv/two")
        assert one.cookie_name(secure=False) != two.cookie_name(secure=False)
        assert one.cookie_name(secure=False) == TokenAuthenticator("new", instance="/srv/one").cookie_name(secure=False)

    def test_one_over_tls_can_be_set_by_no_other(self) -> None:
        """Its name has the prefix that browsers take only from this very host over TLS; a plain one is not read."""
        tokens = TokenAuthenticator("abc", instance="/srv/one")
        assert tokens.cookie_name(secure=True).startswith("__Host-")
        assert tokens.cookie_of({tokens.cookie_name(secure=False): "x"}, secure=True) is None
        assert tokens.cookie_of({tokens.cookie_name(secure=True): "x"}, secure=True) == "x"

    def test_one_of_the_old_name_counts_alone(self) -> None:
        """Who signed in before the name changed stays signed in; the service's own name comes first."""
        tokens = TokenAuthenticator("abc", instance="/srv/one")
        own = tokens.cookie_name(secure=False)
        assert tokens.cookie_of({"smartmob_session": "old"}, secure=False) == "old"
        assert tokens.cookie_of({"smartmob_session": "old", own: "new"}, secure=False) == "new"
        assert tokens.cookie_of({}, secure=False) is None
