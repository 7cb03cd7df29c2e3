"""The addresses on which a service listens without a token."""

from __future__ import annotations

import pytest

from smartmob.errors import StartupError
from smartmob.kernel.auth.bind_check import check_bind, is_loopback


class TestBinding:
    """The addresses on which the service may listen."""

    LOOPBACK = ("127.0.0.1", "127.8.9.10", "::1", "localhost")
    ABROAD = ("0.0.0.0", "::", "", "192.0.2.7", "2001:db8::1", "lab.example", "localhost.example", "127.0.0.1.example")

    @pytest.mark.parametrize("host", LOOPBACK)
    def test_a_loopback_address_needs_no_token(self, host: str) -> None:
        """A loopback address needs no token."""
        assert is_loopback(host)
        check_bind(host, None, insecure=False)

    @pytest.mark.parametrize("host", ABROAD)
    def test_another_address_needs_a_token(self, host: str) -> None:
        """Another address is refused without a token, and the error names each alternative."""
        assert not is_loopback(host)
        with pytest.raises(StartupError) as caught:
            check_bind(host, None, insecure=False)

        said = str(caught.value)
        assert f"refusing to listen on {host}" in said
        assert all(way in said for way in ("--token-file", "SMARTMOB_TOKEN", "127.0.0.1", "--insecure"))

    @pytest.mark.parametrize("host", ABROAD)
    def test_a_token_or_insecure_allows_any_address(self, host: str) -> None:
        """A token or `insecure` allows any address."""
        check_bind(host, "abc", insecure=False)
        check_bind(host, None, insecure=True)
