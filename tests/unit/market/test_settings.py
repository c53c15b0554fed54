"""What the service is told: read from variables, refused by their names, documented, safe off development chains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from market.db.engine import connect
from market.protocol.errors import InvalidInput
from market.settings import PREFIX, Settings, load_settings

README = Path(__file__).parents[3] / "README.md"
SAFE: dict[str, Any] = {
    "database_url": "postgresql://market@db/market",
    "public_url": "https://market.example",
    "cors_origins": "https://page.example",
    "trusted_proxies": "10.0.0.1",
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)


def test_defaults_are_for_a_development_chain() -> None:
    load_settings().check(is_development_chain=True)

    assert load_settings().origin == "http://127.0.0.1:8000"


def test_variables_are_read_and_options_go_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMARKET_MARKET_PORT", "9000")
    monkeypatch.setenv("FEDMARKET_MARKET_CORS_ORIGINS", "https://a.example, https://b.example:8443,")
    monkeypatch.setenv("FEDMARKET_MARKET_TRUSTED_PROXIES", "10.0.0.1,fd00::/8")

    assert load_settings().port == 9000
    assert load_settings(port=0).port == 0
    assert load_settings(port=None).port == 9000
    assert load_settings().cors_origins == ("https://a.example", "https://b.example:8443")
    assert load_settings().trusted_proxies == ("10.0.0.1", "fd00::/8")
    monkeypatch.setenv("FEDMARKET_MARKET_CORS_ORIGINS", "")
    assert load_settings().cors_origins == ()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "many"),
        ("PORT", "65536"),
        ("PUBLIC_URL", "market.example"),
        ("PUBLIC_URL", "https://market.example/"),
        ("PUBLIC_URL", "https://market.example/path"),
        ("PUBLIC_URL", "https://user@market.example"),
        ("PUBLIC_URL", "javascript:alert(1)"),
        ("CORS_ORIGINS", "page.example"),
        ("CORS_ORIGINS", "https://page.example/"),
        ("CORS_ORIGINS", "https://ok.example,null"),
        ("TRUSTED_PROXIES", "proxy"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "10.0.0.1,::/0"),
        ("TRUSTED_PROXIES", "0.0.0.0/1,128.0.0.0/1"),
        ("UPLOAD_LIMIT_BYTES", "0"),
        ("READS_A_MINUTE", "-1"),
        ("SESSION_S", "99999999"),
        ("LOG_JSON", "perhaps"),
    ],
)
def test_wrong_value_is_refused_by_its_variables_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + variable, value)

    with pytest.raises(InvalidInput, match=f"^{PREFIX}{variable}: ") as error:
        load_settings()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"database_url": "sqlite:///market.db"}, "DATABASE_URL"),
        ({"public_url": None}, "PUBLIC_URL"),
        ({"public_url": "http://market.example"}, "PUBLIC_URL"),
        ({"trusted_proxies": None}, "TRUSTED_PROXIES"),
        ({"host": "::1", "trusted_proxies": None}, "TRUSTED_PROXIES"),
        ({"host": "0.0.0.0", "trusted_proxies": None}, "TRUSTED_PROXIES"),
        ({"cors_origins": "*"}, "CORS_ORIGINS"),
    ],
)
def test_what_is_not_safe_off_development_chains_is_refused(changes: dict[str, Any], variable: str) -> None:
    load_settings(**SAFE).check(is_development_chain=False)
    unsafe = load_settings(**{**SAFE, **changes})

    unsafe.check(is_development_chain=True)
    with pytest.raises(InvalidInput, match=f"^{PREFIX}{variable}: ") as error:
        unsafe.check(is_development_chain=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "127.0.0.1"])
def test_every_address_is_safe_behind_proxies(host: str) -> None:
    load_settings(**SAFE, host=host).check(is_development_chain=False)


def test_databases_password_is_not_shown() -> None:
    settings = load_settings(database_url="postgresql://market:secret@db/market")

    assert "secret" not in f"{settings!r} {settings}"


def test_databases_password_is_in_no_error() -> None:
    engine = connect("postgresql://market:a-password@127.0.0.1:9/market")
    with pytest.raises(Exception) as error:  # noqa: PT011
        engine.connect()
    engine.dispose()
    assert "a-password" not in f"{error.value} {engine!r}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_is_documented_in_the_readme_and_in_its_class(name: str) -> None:
    assert f"`{PREFIX}{name.upper()}`" in README.read_text("utf-8")
    assert f"        {name}: " in (Settings.__doc__ or "")
