"""The agent's configuration: what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.config import AgentConfig, ShadowConfig, StreamConfig, load_config, parse_listen
from edgeloop.errors import ConfigError
from edgeloop.mqtt import BrokerAddress
from edgeloop.sinks import Mqtt, Sqlite
from edgeloop.sources import Topic
from edgeloop.tls import TlsFiles, tls_from_environment


class TestConfig:
    GOOD = 'device="d"\ndirectory="."\nbroker="mqtt://h"\ntrusted_keys=["k"]\n[source]\ncall="m:f"\n'

    def load(self, tmp_path: Path, text: str) -> AgentConfig:
        (tmp_path / "agent.toml").write_text(text)
        return load_config(tmp_path / "agent.toml")

    def test_sources_sinks_and_the_stream_are_chosen_by_kind(self, tmp_path: Path) -> None:
        text = self.GOOD.replace('call="m:f"', 'kind="mqtt"\ntopic="a/#"') + (
            '[[sinks]]\nkind="sqlite"\npath="p.db"\n[[sinks]]\nkind="mqtt"\nbroker="mqtt://other"\n'
            '[stream]\npolicy="latest"\ndeadline_ms=50\n'
        )
        config = self.load(tmp_path, text)
        assert config.source == Topic("a/#", "mqtt://h")
        assert config.sinks == (Sqlite(str(tmp_path / "p.db")), Mqtt("mqtt://other"))
        assert config.stream == StreamConfig(policy="latest", deadline_ms=50)

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ('kind="arrays"\npath="x.npy"', "x.npy"),
            ('kind="images"\npath="/photos"\nrate_hz=2\nloop=true', "/photos"),
            ('kind="csv"\npath="x.csv"\ncolumns=["a","b"]', "x.csv"),
            ('kind="wav"\npath="-"\nwindow_s=1', "-"),
            ('kind="jsonl"', "-"),
        ],
    )
    def test_a_source_s_file_counts_from_the_configuration_s(self, tmp_path: Path, source: str, expected: str) -> None:
        config = self.load(tmp_path, self.GOOD.replace('call="m:f"', source))
        assert config.source.path == (expected if expected == "-" else str(tmp_path / expected))

    TLS = '[tls]\nca="ca.crt"\ncertificate="device.crt"\nkey="/keys/device.key"\n'

    def test_tls_files_count_from_the_file_and_go_with_the_broker_s_address(self, tmp_path: Path) -> None:
        config = self.load(tmp_path, self.GOOD.replace("mqtt://h", "mqtts://h") + self.TLS)
        files = TlsFiles(str(tmp_path / "ca.crt"), str(tmp_path / "device.crt"), "/keys/device.key")
        assert config.address == BrokerAddress("h", 8883, tls=True, files=files)
        assert self.load(tmp_path, self.GOOD).address == BrokerAddress("h", 1883, tls=False)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            (GOOD + TLS, "write mqtts://"),
            (GOOD.replace("mqtt://h", "mqtts://h") + '[[sinks]]\nkind="mqtt"\n' + TLS, "name another `broker`"),
            (GOOD.replace("mqtt://h", "mqtts://h").replace('call="m:f"', 'kind="mqtt"\ntopic="a"') + TLS, "another"),
            (GOOD.replace("mqtt://h", "mqtts://h") + '[tls]\nca="ca.crt"\n', "certificate"),
        ],
    )
    def test_tls_that_could_not_work_is_refused(self, tmp_path: Path, changed: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            self.load(tmp_path, changed)

    def test_paths_count_from_the_file(self, tmp_path: Path) -> None:
        config = self.load(tmp_path, self.GOOD + '[shadow]\nartifact="v2.tflite"\n')
        assert config.trusted_keys == (str(tmp_path / "k"),)
        assert config.shadow == ShadowConfig(str(tmp_path / "v2.tflite"))

    @pytest.mark.parametrize(
        ("listen", "found"), [("127.0.0.1:9101", ("127.0.0.1", 9101)), ("[::1]:1", ("::1", 1)), ("h:0", ("h", 0))]
    )
    def test_where_to_listen(self, listen: str, found: tuple[str, int]) -> None:
        assert parse_listen(listen) == found

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ('device="d"', 'device="a/b"', "device name"),
            ('device="d"\n', "", "device"),
            ("mqtt://h", "http://h", "write mqtt://"),
            ("mqtt://h", "mqtt://me:secret@h", "EDGELOOP_MQTT_USER"),
            ('trusted_keys=["k"]', "trusted_keys=[]", "trusted_keys"),
            ('call="m:f"', 'call="mf"', "module:function"),
            ('call="m:f"', 'kind="telepathy"', "telepathy"),
            ('call="m:f"', 'kind="images"', "path"),
            ('call="m:f"', 'kind="csv"\npath="x"\ncolums=["a"]', "colums"),
            ('call="m:f"\n', 'call="m:f"\n[stream]\npolicy="panic"\n', "policy"),
            ('call="m:f"\n', 'call="m:f"\n[metrics]\nlisten="9101"\n', "HOST:PORT"),
            ('call="m:f"\n', 'call="m:f"\n[metrics]\nlisten="h:99999"\n', "HOST:PORT"),
            ('call="m:f"\n', 'call="m:f"\n[shadow]\nartifact="a"\ncpu_percent=0\n', "cpu_percent"),
            ('call="m:f"\n', 'call="m:f"\n[service]\nmemory_max_mb=1\n', "memory_max_mb"),
            ("[source]", "windw_s=3\n[source]", "windw_s"),
            ("[source]", "window_s=0\n[source]", "window_s"),
            ('device="d"', "device=", "agent.toml"),
        ],
    )
    def test_a_mistake_is_named(self, tmp_path: Path, old: str, new: str, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            self.load(tmp_path, self.GOOD.replace(old, new))


def test_the_three_tls_files_come_from_the_environment_together_or_not_at_all() -> None:
    given = {"EDGELOOP_TLS_CA": "a", "EDGELOOP_TLS_CERTIFICATE": "b", "EDGELOOP_TLS_KEY": "c"}
    assert tls_from_environment({}) is None
    assert tls_from_environment(given) == TlsFiles("a", "b", "c")
    with pytest.raises(ConfigError, match="EDGELOOP_TLS_KEY: not set"):
        tls_from_environment(given | {"EDGELOOP_TLS_KEY": ""})
