import json
import threading
from http.client import HTTPConnection
from urllib.parse import parse_qsl, urlsplit

import pytest

from reasoning.viewer.runs import RunsFolder
from reasoning.viewer.server import FILES, page_file, serve


@pytest.fixture(scope="module")
def address(run):
    server, opens = serve(RunsFolder(run), 0)
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield urlsplit(opens)
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def port(address):
    cookie = raw(address.port, f"{address.path}?{address.query}")[1]["Set-Cookie"]
    COOKIES[address.port] = cookie.partition(";")[0]
    return address.port


COOKIES = {}


def asked(port, path, method="GET", **headers):
    return raw(port, path, method, **({"Cookie": COOKIES[port]} | headers))


def raw(port, path, method="GET", **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"Host": f"127.0.0.1:{port}"} | headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_it_listens_on_loopback_alone(run):
    with serve(RunsFolder(run), 0)[0] as server:
        assert server.server_address[0] == "127.0.0.1"


def test_without_the_key_nothing_is_answered_not_even_a_file(address, port):
    key = dict(parse_qsl(address.query))["key"]
    name = COOKIES[port].partition("=")[0]
    wrong = [
        "",
        "other=1",
        f"{name}=",
        f"{name}={key[:-1]}",
        f"{name}=é",
        f"other={key}",
        f'{name}="',
        f"{name}\x01=1;;",
    ]
    for path in (*FILES, "/answers/stages", "/selection.jsonl?stage=zero&step=all", "/nothing"):
        for cookie in wrong:
            status, headers, content = raw(port, path, Cookie=cookie.encode())
            assert status == 403 and b"zero" not in content and "Set-Cookie" not in headers
    assert raw(port, f"/?key={key}x")[0] == raw(port, f"/answers/stages?key={key}")[0] == 403


def test_the_printed_address_hands_the_key_over_and_leaves_the_history_without_it(address, port):
    status, headers, content = raw(port, f"{address.path}?{address.query}")
    assert status == 303 and headers["Location"] == "/" and content == b""
    assert headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert raw(port, f"{address.path}?{address.query}", Host="evil.example")[0] == 421


def test_every_server_has_a_key_of_its_own_too_long_to_guess(run):
    with serve(RunsFolder(run), 0)[0] as one, serve(RunsFolder(run), 0)[0] as other:
        keys = [server.RequestHandlerClass.args[1] for server in (one, other)]
    assert keys[0] != keys[1] and min(map(len, keys)) >= 32


def test_the_page_is_its_files_under_a_policy_that_knows_no_inline_script(port):
    for path, (name, kind) in FILES.items():
        status, headers, content = asked(port, path)
        assert status == 200 and content.decode() == page_file(name)
        assert headers["Content-Type"].startswith(kind) and headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy
        assert "Access-Control-Allow-Origin" not in headers


def test_answers_are_json_and_a_bad_question_is_told_in_a_line(port):
    status, headers, content = asked(port, "/answers/rows?stage=zero&step=1&where=strict%3E%3D1")
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    assert json.loads(content)["total"] == 32
    status, _, content = asked(port, "/answers/rows?stage=zero&step=1&where=strict")
    assert status == 400 and "is no condition" in json.loads(content)["error"]
    assert asked(port, f"/answers/rows?{'a=1&' * 30}")[0] == 400


def test_a_selection_is_saved_as_lines(port):
    status, headers, content = asked(port, "/selection.jsonl?stage=zero&step=all&where=group%3D0")
    assert status == 200 and "attachment" in headers["Content-Disposition"]
    assert [json.loads(line)["group"] for line in content.splitlines()] == [0] * 12


@pytest.mark.parametrize(
    "host", ["example.com", "evil.example:{port}", "127.0.0.1.nip.io:{port}", "127.0.0.1:1", "", "localhost"]
)
def test_a_name_that_was_led_here_is_refused(port, host):
    status, _, content = asked(port, "/answers/stages", Host=host.format(port=port))
    assert status == 421 and b"zero" not in content


@pytest.mark.parametrize("host", ["localhost:{port}", "[::1]:{port}", "LOCALHOST:{port}"])
def test_loopback_has_several_names(port, host):
    assert asked(port, "/answers/stages", Host=host.format(port=port))[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/page/viewer.js", "/answers/../stages", "/stages",
     "/answers/selection", "/answers/__class__", "/run.json"],
)  # fmt: skip
def test_no_path_leads_to_a_file(port, path):
    assert asked(port, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_get_is_answered(port, method):
    assert asked(port, "/answers/stages", method)[0] == 501
