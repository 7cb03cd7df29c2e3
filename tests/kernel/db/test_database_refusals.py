"""Databases that cannot be used as they are set up: the start of the service ends with one line on what to do."""

from __future__ import annotations

import asyncio
import ssl
from types import SimpleNamespace

import asyncpg
import pytest

from smartmob.errors import DatabaseError
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db import database_refusals, migrations
from smartmob.kernel.db.database import Database, reason
from smartmob.stored_features import MIGRATED_FEATURES
from tests.databases import Databases
from tests.each import each


async def _refused(url: str) -> str:
    """Return the message with which a start on this database ends."""
    database = Database(DatabaseSettings(url=url, wait=60), None)
    try:
        with pytest.raises(DatabaseError) as caught:
            await database.open()
            await migrations.bring_up_to_date(database, MIGRATED_FEATURES)
    finally:
        await database.close()
    return str(caught.value)


@each(
    "option, said",
    [
        ("search_path=nowhere", "no schema has been selected to create in): make the schema"),
        ("search_path=pg_catalog", "permission denied for schema pg_catalog): make its role the owner"),
        ("default_transaction_read_only=on", "in a read-only transaction): name the primary server"),
        ("connect_timeout=5", 'unrecognized configuration parameter "connect_timeout": leave that option out'),
        ("sslmode=verify-ca&sslrootcert=/nowhere/ca.pem", "the file /nowhere/ca.pem cannot be read"),
    ],
)
async def test_a_database_that_cannot_be_used_is_refused_in_one_line(empty_url: str, option: str, said: str) -> None:
    """The line has the words of the server and what to do."""
    address, _, host = empty_url.partition("?")
    message = await _refused(f"{address}?{host}&{option}")

    assert said in message
    assert "\n" not in message


async def test_a_server_without_tls_is_refused_where_tls_is_demanded() -> None:
    """Waiting would not help."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # SSLRequest of PostgreSQL's protocol
        writer.write(b"N")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        message = await _refused(f"postgresql://lab@127.0.0.1:{port}/lab?sslmode=require")

    assert message.endswith("the server offers no TLS, which sslmode in the database URL demands")


async def test_a_database_that_cannot_store_all_texts_is_refused(postgres_url: str, databases: Databases) -> None:
    """Rows with other characters would be refused one by one."""
    name = await databases.create("latin", "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
    try:
        message = await _refused(postgres_url.format(name))
    finally:
        await databases.drop(name)

    assert message.startswith(f"the database {name} has the encoding LATIN1, which cannot store all texts")


def test_what_the_server_reports_is_checked() -> None:
    """SQL_ASCII returns each text as it was stored; servers before version 14 do not report that they are standbys."""
    database_refusals.check_server(SimpleNamespace(server_encoding="SQL_ASCII"), "lab")
    database_refusals.check_server(SimpleNamespace(server_encoding="UTF8", in_hot_standby="off"), "lab")
    with pytest.raises(DatabaseError, match="lab is a standby"):
        database_refusals.check_server(SimpleNamespace(server_encoding="UTF8", in_hot_standby="on"), "lab")


@pytest.mark.parametrize(
    ("url", "several"),
    [
        ("postgresql://u:a,b@one/lab", False),
        ("postgresql://u:p@one:1,two:2/lab", True),
        ("postgresql://u:p@/lab?host=one,two", True),
        ("postgresql://u:p@one,two/lab?target_session_attrs=any", False),
        ("postgresql://[::1/lab", False),
    ],
)
async def test_of_several_servers_the_one_for_writing_is_wanted(url: str, several: bool) -> None:
    """Otherwise the service would stay at a standby that comes first."""
    assert database_refusals.names_several_servers(url) is several


def test_the_reasons_of_tls_are_words() -> None:
    """They are not those of the number of the error, which is 1 for all of them."""
    untrusted = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1)")
    untrusted.verify_message = "self-signed certificate"
    with pytest.raises(ssl.SSLError) as caught:
        ssl.create_default_context().load_verify_locations(cadata=b"no certificate")

    assert reason(untrusted) == "TLS: the certificate of the server was refused (self-signed certificate)"
    assert database_refusals.of_connection(untrusted) == reason(untrusted)
    assert str(database_refusals.of_connection(caught.value)).startswith("TLS: not enough data")
    assert database_refusals.of_connection(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")) is None


def test_an_address_without_a_server_that_accepts_writes_has_a_reason() -> None:
    """It has several servers, and none of them is the primary at the moment."""
    assert "target_session_attrs" in reason(asyncpg.TargetServerAttributeNotMatched("None of the hosts match"))
