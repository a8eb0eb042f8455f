"""Who gets in, and what each may do there: real Mosquitto, with the files that `edgeloop enroll` wrote."""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edgeloop.cli import run_command
from edgeloop.errors import ConfigError
from edgeloop.link import Link
from edgeloop.messages import encode
from edgeloop.mqtt import BrokerAddress
from edgeloop.outbox import Outbox
from edgeloop.tls import TlsFiles, tls_context
from edgeloop.topics import DeviceTopics, artifact_chunk, shard_of
from edgeloop.uplink import Uplink
from edgeloop_fleet.authority import create_authority, open_authority
from edgeloop_fleet.enroll import enroll, initialise, revoke
from edgeloop_fleet.enroll_command import ENROLL
from edgeloop_fleet.ingest import Ingester
from edgeloop_fleet.lake import Lake
from enrolled import Client, EnrolledBroker, enrolled_broker, now
from fleet_devices import event

JOB = "0123456789abcdef"


@pytest.fixture(scope="module")
def broker() -> Iterator[EnrolledBroker]:
    with enrolled_broker() as broker:
        yield broker


@pytest.fixture
def centre(broker: EnrolledBroker) -> Iterator[Client]:
    with Client(broker.centre_port, broker.centre, "edgeloop-test") as client:
        assert not client.refused
        yield client


def anonymous(broker: EnrolledBroker) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=broker.centre.ca)


def foreign(directory: Path, name: str, broker: EnrolledBroker) -> TlsFiles:
    """A certificate for this name by an authority of the same names that isn't ours."""
    initialise(directory, ["localhost"], now=now(), days=9, address="127.0.0.1", devices_port=1, centre_port=2)
    files = enroll(directory, name, now=now(), days=9).files
    return TlsFiles(broker.centre.ca, files.certificate, files.key)


# Who gets in.


def test_a_device_without_a_certificate_is_refused_whatever_it_says_it_is(broker: EnrolledBroker, name: str):
    with Client(broker.port, anonymous(broker), name, user=name) as client:
        assert client.refused


def test_a_certificate_of_another_authority_is_refused(broker: EnrolledBroker, name: str, tmp_path: Path):
    with Client(broker.port, foreign(tmp_path / "ca", name, broker), name) as client:
        assert client.refused


def test_a_device_does_not_get_in_where_the_centre_does(broker: EnrolledBroker, name: str):
    with Client(broker.centre_port, broker.device(name), "edgeloop-ingest-0") as client:
        assert client.refused


def test_an_expired_certificate_is_refused(broker: EnrolledBroker, name: str):
    files = enroll(broker.ca, name, now=now() - timedelta(days=9), days=8).files
    with Client(broker.port, files) as client:
        assert client.refused


def test_a_device_does_not_take_a_broker_that_another_authority_vouches_for(broker, name: str, tmp_path: Path):
    files = broker.device(name)
    initialise(tmp_path / "ca", ["localhost"], now=now(), days=9, address="127.0.0.1", devices_port=1, centre_port=2)
    wrong = TlsFiles(str(tmp_path / "ca/centre.crt"), files.certificate, files.key)
    with (
        socket.create_connection(("localhost", broker.port)) as sock,
        pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|unable to get"),
    ):
        tls_context(wrong).wrap_socket(sock, server_hostname="localhost")


def test_a_device_can_not_pass_for_the_broker(broker: EnrolledBroker, name: str):
    files = broker.device(name)
    verify = ["openssl", "verify", "-x509_strict", "-CAfile"]
    good = [*verify, broker.ca / "devices.crt", "-purpose", "sslclient", files.certificate]
    assert subprocess.run(good, capture_output=True, check=False).returncode == 0
    for authority, purpose in (("devices.crt", "sslserver"), ("centre.crt", "sslclient")):
        line = [*verify, broker.ca / authority, "-purpose", purpose, files.certificate]
        assert subprocess.run(line, capture_output=True, check=False).returncode != 0


def test_the_devices_authority_can_vouch_for_nobody_else(broker: EnrolledBroker, tmp_path: Path):
    devices = open_authority(broker.ca, "devices")
    devices.name = "centre"
    certificate = tmp_path / "false.crt"
    certificate.write_bytes(devices.issue("centre", days=1, now=now()).certificate)
    line = ["openssl", "verify", "-CAfile", broker.ca / "devices.crt", certificate]
    assert b"permitted subtree violation" in subprocess.run(line, capture_output=True, check=False).stderr


# What each may do.


def test_a_device_writes_below_its_own_topic_and_nowhere_else(broker: EnrolledBroker, name: str):
    own, other = DeviceTopics(name), DeviceTopics(f"{name}-other")
    artifact = artifact_chunk("ab" * 32, 0)
    with Client(broker.port, broker.device(name)) as device:
        mine = [own.up("profile"), own.state, own.job_reply(JOB), own.job_part(JOB, "out", 0)]
        assert device.writable(mine) == mine
        not_mine = [other.up("profile"), other.state, "else/where"]
        centres = [own.ack, own.desired, artifact]
        assert device.writable(not_mine + centres) == []


def test_a_device_reads_its_own_desired_state_and_no_other_device(broker, name: str, centre: Client):
    own, other = DeviceTopics(name), DeviceTopics(f"{name}-other")
    with Client(broker.port, broker.device(name)) as device, Client(broker.port, broker.device(other.device)) as friend:
        for topic in (own.desired, own.ack, own.job, own.job_part(JOB, "in", 0), artifact_chunk("ab" * 32, 1)):
            assert device.hears(topic, centre), topic
        for topic in (other.desired, other.ack, other.job_part(JOB, "in", 0)):
            assert not device.hears(topic, centre), topic
        assert not device.hears(other.up("sample"), friend)
        assert not device.hears("#", friend, other.state)
        assert centre.hears(other.up("event"), friend)


def test_the_centre_can_not_write_what_only_a_device_can_know(centre: Client, name: str):
    topics = DeviceTopics(name)
    assert centre.writable([topics.up("profile"), topics.state]) == []


def test_a_will_on_another_device_s_topic_reaches_nobody(broker: EnrolledBroker, name: str, centre: Client):
    own, other = DeviceTopics(name), DeviceTopics(f"{name}-other")
    centre.listen(own.state, other.state)
    for topic in (other.state, own.state):  # the second shows that the first had its chance
        with Client(broker.port, broker.device(name), will=topic) as client:
            client.die()
    assert centre.messages.get(timeout=5)[0] == own.state
    assert centre.messages.empty()


def test_a_client_id_takes_over_nobody_s_session(broker: EnrolledBroker, name: str, centre: Client):
    with (
        Client(broker.port, broker.device(name), name) as victim,
        Client(broker.port, broker.device(f"{name}-bad"), name) as bad,
        Client(broker.port, broker.device(f"{name}-worse"), "edgeloop-test") as worse,
    ):
        assert (bad.refused, worse.refused) == ("", "")
        assert victim.may_write(DeviceTopics(name).up("event"))
        assert centre.may_write(DeviceTopics(name).ack)
        assert (victim.lost, centre.lost) == (False, False)


# Taking back.


def test_a_revoked_device_is_shut_out_at_once_and_comes_back_with_a_new_certificate(broker, name: str):
    files, topics = broker.device(name), DeviceTopics(name)
    with Client(broker.port, files) as standing:
        assert standing.may_write(topics.up("event"))
        kept = [Path(path).read_bytes() for path in (files.ca, files.certificate, files.key)]
        assert revoke(broker.ca, name, now=now()) == 1
        broker.reload()
        assert standing.lost or not standing.may_write(topics.up("event"))
    assert not Path(files.key).exists()
    old = broker.ca.parent / "stolen"
    old.mkdir(exist_ok=True)
    stolen = TlsFiles(*(str(old / part) for part in ("ca.crt", "device.crt", "device.key")))
    for path, content in zip((stolen.ca, stolen.certificate, stolen.key), kept, strict=True):
        Path(path).write_bytes(content)
    with Client(broker.port, stolen) as client:
        assert client.refused
    again = broker.device(name)
    broker.reload()
    with Client(broker.port, again) as client:
        assert client.may_write(topics.up("event"))
    with Client(broker.port, stolen) as client:
        assert client.refused


def test_to_enroll_a_device_again_takes_back_what_it_had(tmp_path: Path):
    make(tmp_path / "ca")
    before = (tmp_path / "ca/broker/devices.crl").stat()
    first = enroll(tmp_path / "ca", "cam-1", now=now(), days=9)
    assert (tmp_path / "ca/broker/devices.crl").stat() == before  # a new device is nothing to the broker
    second = enroll(tmp_path / "ca", "cam-1", now=now(), days=9)
    assert (first.replaced, second.replaced) == (0, 1)
    crl = (tmp_path / "ca/broker/devices.crl").read_bytes()
    shown = subprocess.run(["openssl", "crl", "-text", "-noout"], input=crl, capture_output=True, check=True).stdout
    assert first.serial.lstrip("0").upper() in shown.decode()
    assert second.serial.lstrip("0").upper() not in shown.decode()
    assert "cam-1" not in (tmp_path / "ca/broker/devices.acl").read_text()
    with pytest.raises(ConfigError, match="check the name"):
        revoke(tmp_path / "ca", "cam-2", now=now())


# Through our own code.


def test_uplink_and_ingest_meet_over_tls_and_the_outbox_is_emptied(
    broker, name: str, lake: Lake, tmp_path: Path, monkeypatch
):
    for field, variable in (("ca", "CA"), ("certificate", "CERTIFICATE"), ("key", "KEY")):
        monkeypatch.setenv(f"EDGELOOP_TLS_{variable}", getattr(broker.centre, field))
    address = BrokerAddress("localhost", broker.port, tls=True, files=broker.device(name))
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        outbox.put([event(name, 1)], [None])
        uplink = Uplink(outbox, address, name)
        with Ingester(broker.centre_url, lake, shards=[shard_of(name)], batch_s=0.02) as ingester:
            ingester.wait_connected()
            uplink.start()
            uplink.stop(drain_s=15)
        assert outbox.counters().pending == 0
    assert lake.read("events")["device"].to_pylist() == [name]


def test_what_comes_while_the_ingest_is_away_waits_for_it(broker, name: str, lake: Lake, monkeypatch):
    for field, variable in (("ca", "CA"), ("certificate", "CERTIFICATE"), ("key", "KEY")):
        monkeypatch.setenv(f"EDGELOOP_TLS_{variable}", getattr(broker.centre, field))
    where = {"shards": [shard_of(name)], "client_id": f"edgeloop-ingest-{name}", "batch_s": 0.02}
    with Ingester(broker.centre_url, lake, **where) as ingester:
        ingester.wait_connected()
    with Client(broker.port, broker.device(name)) as device:
        assert device.may_write(DeviceTopics(name).up("event"), encode(event(name, 1)))
    with Ingester(broker.centre_url, lake, **where) as ingester:
        ingester.wait_connected()
        with Client(broker.port, broker.device(name)) as device:
            assert device.may_write(DeviceTopics(name).up("event"), encode(event(name, 2)))
            while ingester.counters.stored < 2:
                time.sleep(0.05)
    assert sorted(lake.read("events")["seq"].to_pylist()) == [1, 2]


def test_a_link_that_is_refused_says_so_and_goes_on_trying(broker, name: str, tmp_path: Path):
    address = BrokerAddress("localhost", broker.port, tls=True, files=foreign(tmp_path / "ca", name, broker))
    with Link(address, name) as link, pytest.raises(Exception, match=f"localhost:{broker.port}"):
        link.wait_connected(1)


# Files and the command.


def make(directory: Path) -> Path:
    initialise(directory, ["localhost"], now=now(), days=9, address="127.0.0.1", devices_port=1, centre_port=2)
    return directory


def test_keys_are_for_their_owner_alone_and_the_broker_gets_no_authority_s(tmp_path: Path):
    ca = make(tmp_path / "ca")
    enroll(ca, "cam-1", now=now(), days=9)
    keys = sorted(ca.rglob("*.key"))
    assert [str(key.relative_to(ca)) for key in keys] == [
        "broker/server.key",
        "centre/centre.key",
        "centre.key",
        "devices/cam-1/device.key",
        "devices.key",
    ]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE(ca.stat().st_mode) == 0o700


def test_an_authority_is_never_overwritten_and_its_key_may_have_a_passphrase(tmp_path: Path):
    create_authority(tmp_path, "devices", now=now(), passphrase=b"correct horse")
    with pytest.raises(ConfigError, match="never overwritten"):
        create_authority(tmp_path, "devices", now=now())
    assert b"ENCRYPTED" in (tmp_path / "devices.key").read_bytes()
    for wrong in (None, b"battery"):
        with pytest.raises(ConfigError, match="EDGELOOP_CA_PASSPHRASE"):
            open_authority(tmp_path, "devices", passphrase=wrong)
    assert open_authority(tmp_path, "devices", passphrase=b"correct horse").name == "devices"


@pytest.mark.parametrize("bad", ["", "a/b", "+", "a#", "edgeloop-ingest-0", "x" * 65, "a b"])
def test_a_name_that_could_mean_more_than_a_device_gets_no_certificate(tmp_path: Path, bad: str):
    ca = make(tmp_path / "ca")
    with pytest.raises(ConfigError, match="device name"):
        enroll(ca, bad, now=now(), days=9)


def test_tls_files_that_do_not_fit_are_named(tmp_path: Path):
    ca = make(tmp_path / "ca")
    one, two = (enroll(ca, device, now=now(), days=9).files for device in ("cam-1", "cam-2"))
    with pytest.raises(ConfigError, match=r"cam-1/device\.crt and .*cam-2/device\.key"):
        tls_context(TlsFiles(one.ca, one.certificate, two.key))
    with pytest.raises(ConfigError, match=r"no-such\.key"):
        tls_context(TlsFiles(one.ca, one.certificate, "no-such.key"))
    with pytest.raises(ConfigError, match=r"device\.key: no certificate"):
        tls_context(TlsFiles(one.key, one.certificate, one.key))


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    ENROLL.configure(parser)
    args = parser.parse_args(argv)
    args.command = "enroll"
    return run_command(ENROLL, args)


def test_enroll_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ca = str(tmp_path / "ca")
    assert run("cam-1", "--ca", ca) == 2
    assert "edgeloop enroll --init" in capsys.readouterr().err
    assert run("--init", "--ca", ca, "--host", "broker.example", "--json") == 0
    assert Path(json.loads(capsys.readouterr().out)["configuration"]).is_file()
    assert run("cam-1", "--ca", ca, "--days", "90000") == 2
    assert "authority's own end" in capsys.readouterr().err
    assert run("cam-1", "--ca", ca) == 0
    out = capsys.readouterr().out
    assert "[tls]" in out
    assert "PRIVATE KEY" not in out
    assert run("--revoke", "cam-1", "--ca", ca, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"device": "cam-1", "revoked": 1}
