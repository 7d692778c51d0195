"""The page starts without a network, whatever variables are set."""

import json
import os
import signal
import subprocess
import sys

import httpx
import pytest

SET = {
    "all_proxy": "socks://127.0.0.1:7891/",
    "ALL_PROXY": "socks5://127.0.0.1:1080",
    "http_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://[::1",
    "SSL_CERT_FILE": "/nonexistent.pem",
    "SSL_CERT_DIR": "/nonexistent",
    "SSLKEYLOGFILE": "/nonexistent/log",
    "HF_ENDPOINT": "http://[::1",
    "PILA_LLM_MODEL": "m",
    "PILA_LLM_BASE_URL": "http://[::1/v1",
    "PILA_LLM_TIMEOUT": "soon",
}


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM does not end it there")
def test_the_page_starts_whatever_is_set():
    command = [sys.executable, "-m", "pila.cli", "serve", "--port", "0", "--json"]
    server = subprocess.Popen(
        command,
        env=os.environ | SET,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            line = server.stdout.readline()
            assert line, server.stderr.read()
            with httpx.Client(base_url=json.loads(line)["url"], trust_env=False) as client:
                assert client.get("/config").status_code == 200
        finally:
            server.send_signal(signal.SIGTERM)
        said = server.stderr.read()
    assert server.returncode == 0
    assert "Traceback" not in said
    assert "PILA_LLM_BASE_URL is 'http://[::1/v1'" in said
