"""How applications get at their data: over the network, from the host's own address."""

from collections.abc import Callable
from typing import Any

import pytest
from scenario import FLEET

Sql = Callable[..., Any]


@pytest.fixture(scope="module")
def sql(hosts: Callable[[str], Any], address: Callable[[str], str]) -> Sql:
    """Run a statement over the network; only a name in the certificate will do for `verify-full`."""
    hosts("data1").check_output("echo %s > /tmp/ca.pem", (FLEET / "pki/ca.pem").read_text())

    def run(statement: str, user: str = "web", password: str = "web-password", **options: str) -> Any:
        server = {"host": "data1", "hostaddr": address("data1"), "dbname": "web", "user": user}
        settings = {**server, "sslmode": "verify-full", "sslrootcert": "/tmp/ca.pem", **options}
        connection = " ".join(f"{name}={value}" for name, value in settings.items())
        return hosts("data1").run("PGPASSWORD=%s psql -XAtc %s %s", password, statement, connection)

    return run


def test_the_owner_creates_and_reads_tables_over_tls(sql: Sql) -> None:
    assert sql("create table lesson (title text); insert into lesson values ('knots')").succeeded
    assert sql("select title from lesson").stdout.strip() == "knots"
    assert sql("select ssl, version >= 'TLSv1.2' from pg_stat_ssl where pid = pg_backend_pid()").stdout.strip() == "t|t"


def test_no_connection_without_tls(sql: Sql) -> None:
    assert "no encryption" in sql("select 1", sslmode="disable").stderr


def test_the_certificate_is_for_this_server_only(sql: Sql) -> None:
    assert "does not match host name" in sql("select 1", host="data2").stderr


@pytest.mark.parametrize(
    ("user", "password"), [("web", "wrong"), ("web", "other-password"), ("nobody", "web-password")]
)
def test_a_wrong_password_is_refused(sql: Sql, user: str, password: str) -> None:
    assert "password authentication failed" in sql("select 1", user, password).stderr


def test_the_superuser_does_not_come_over_the_network(sql: Sql) -> None:
    assert "pg_hba.conf rejects connection" in sql("select 1", "postgres").stderr


def test_applications_are_no_superusers(sql: Sql) -> None:
    assert "permission denied" in sql("create database mine").stderr
    assert "pg_execute_server_program" in sql("copy (select 1) to program 'id'").stderr


def test_one_application_does_not_write_into_anothers_database(sql: Sql) -> None:
    assert "permission denied" in sql("create table intruder (id int)", "other", "other-password").stderr


def test_passwords_are_kept_as_scram_hashes(hosts: Callable[[str], Any]) -> None:
    stored = "select distinct left(rolpassword, 13) from pg_authid where rolpassword is not null"
    assert hosts("data1").check_output("runuser -u postgres -- psql -XAtc %s", stored) == "SCRAM-SHA-256"


def test_own_settings_are_in_force(sql: Sql) -> None:
    assert sql("show work_mem").stdout.strip() == "5MB"


def test_a_new_password_holds_at_once_and_data_stays(sql: Sql, converge: Callable[..., Any]) -> None:
    users = '{"postgres_users": [{"name": "web", "password": "new-password"}]}'
    assert sql("create table kept (id int)").succeeded
    assert converge("-e", users).succeeded
    assert "failed" in sql("select 1").stderr
    assert sql("select count(*) from kept", password="new-password").stdout.strip() == "0"
