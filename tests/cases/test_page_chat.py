# ruff: noqa: E501  (scripts of the browser stand in one line)
"""The chat page in a real browser, on real servers and an engine whose answers a test chooses (people.md 4)."""

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest

import embedded
from tests.app.web import browser
from tests.app.web.browser import Page
from tests.app.web.ground import TalkingEngine, sentinel
from tests.app.web.looks import axe, foreign_words, in_sight, same_names
from tests.cases.engine_shapes import running as serving
from tests.servers.absent import NO_CHROMIUM

BINARY = browser.found()
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.servers,
    pytest.mark.skipif(BINARY is None, reason=NO_CHROMIUM),
]
SLOW = "Say it slowly"
CUT = "Say it until you are cut"
HOSTILE = """
<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2"><svg onload="window.pwned = 3">

[click](javascript:window.pwned=4) [data](data:text/html,<script>window.pwned=5</script>) [good](http://example.org/a)
![picture](http://example.org/tracker.png) <http://example.org/b> http://example.org/c

[odd](  JaVaScRiPt:alert(1)) [file](file:///etc/passwd) <a href="javascript:window.pwned=6" onclick="window.pwned=7">x</a>

```html"><script>window.pwned=8</script>
<b onmouseover="window.pwned=9">x</b>
```

$\\href{javascript:window.pwned=10}{x}$ $\\includegraphics{http://example.org/t.png}$ $$\\html@mathml{a}{b}$$
"""
RICH = """# Title

Some **bold** text, `code`, and $a^2 + b^2$ for $5.

| name | size |
|------|-----:|
| one  | 1    |

```python
def f(x: int) -> str:
    return "y"
```

1. first
2. second

$$\\sum_{n=1}^{\\infty} \\frac{1}{n^2}$$
"""


@dataclass
class Ground:
    """One browser and one Sentinel for every test here; each test is a person of its own."""

    page: Page
    engine: TalkingEngine
    port: int
    urls: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def fresh(self, path: str = "/", language: str = "en", host: str = "127.0.0.1") -> Page:
        """The page as a new person opens it."""
        page = self.page
        await page.offline(False)
        await page.size(1200, 800)
        await page.open(f"http://{host}:{self.port}/web/icon.svg")
        await page.until("location.pathname === '/web/icon.svg'")
        await page.see(
            f"localStorage.clear(); sessionStorage.clear(); localStorage.setItem('language', '{language}')"
        )
        await page.open(f"http://{host}:{self.port}{path}")
        await page.until("document.querySelector('#engine')?.dataset.state === 'ready'")
        page.complaints.clear()
        return page


@pytest.fixture(scope="module")
async def ground(postgres_server: embedded.Postgres, redis_server: embedded.Redis) -> AsyncIterator[Ground]:
    redis_url = redis_server.url()
    with psycopg.connect(postgres_server.url(driver=""), autocommit=True) as admin:
        admin.execute("CREATE DATABASE chat_page TEMPLATE template0")
    database = postgres_server.url(database="chat_page")
    engine = TalkingEngine(
        {"rich": RICH, "hostile": HOSTILE, "why?": "THINK:A short question.\n---\nBecause."}
    )
    engine.answers[SLOW] = "word " * 40
    engine.held, engine.cut = {SLOW}, {CUT}
    assert BINARY is not None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with (
            serving(engine) as served,
            sentinel(database, redis_url, served.url, listener),
            browser.browsing(BINARY) as page,
        ):
            urls = {"database": database, "redis": redis_url, "engine": served.url}
            yield Ground(page, engine, listener.getsockname()[1], urls)


async def write(page: Page, text: str) -> None:
    """Put a text into the box, as pasting does."""
    await page.see(
        f"(() => {{ const box = document.querySelector('#message'); box.focus(); box.value = {json.dumps(text)};"
        "box.dispatchEvent(new Event('input')); })()"
    )


async def send(page: Page, text: str) -> None:
    await write(page, text)
    await page.press("Enter")


async def ask(page: Page, text: str) -> None:
    """Ask, and wait for the end of the answer."""
    turns = await page.see("document.querySelectorAll('.turn.assistant').length")
    await send(page, text)
    await page.until(f"document.querySelectorAll('.turn.assistant').length > {turns}")
    await page.until("!document.body.hasAttribute('data-busy')")


async def texts(page: Page, selector: str) -> list[str]:
    return list(
        await page.see(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((n) => n.textContent.trim())"
        )
    )


async def click(page: Page, selector: str) -> None:
    await page.until(f"!!document.querySelector({json.dumps(selector)})")
    await page.see(f"document.querySelector({json.dumps(selector)}).click()")


async def stored(ground: Ground, page: Page) -> list[tuple[str, str]]:
    """What the server holds of the conversation that the page shows."""
    user = await page.see("localStorage.getItem('user')")
    conversation = await page.see("location.pathname.slice(3)")
    async with httpx.AsyncClient(base_url=ground.url) as client:
        answer = await client.get(f"/conversations/{conversation}", params={"user_id": user})
    return [(row["role"], row["content"]) for row in answer.json()["messages"]]


async def test_it_works_over_plain_http_by_another_name(ground: Ground) -> None:
    page = await ground.fresh(host="lanbox")
    assert await page.see("window.isSecureContext") is False
    await ask(page, "hello")
    assert await texts(page, ".turn.assistant .text") == ["You asked: hello"]
    await click(page, ".turn.assistant .actions button")
    await page.until("!!document.querySelector('[aria-label=\"Copied\"]')")
    assert page.complaints == []


async def test_markdown_is_shown(ground: Ground) -> None:
    page = await ground.fresh()
    await ask(page, "rich")
    assert await texts(page, ".prose h3, .prose strong, .prose td, .code .bar span, .prose li") == [
        "Title", "bold", "one", "1", "python", "first", "second",
    ]  # fmt: skip
    await page.until("!!document.querySelector('.code .hljs-keyword')")
    await page.until("document.querySelectorAll('.prose .katex').length === 2")
    assert await page.see("document.querySelectorAll('.prose .katex-display').length") == 1
    assert "for $5." in (await texts(page, ".prose p"))[0]
    await click(page, ".code .bar button")
    await page.until("document.querySelector('.code .bar button').textContent === 'Copied'")
    live = await page.see("document.querySelector('.prose').innerHTML")
    await page.open(await page.see("location.href"))
    await page.until(
        "document.querySelectorAll('.prose .katex').length === 2 && !!document.querySelector('.hljs-keyword')"
    )
    again = await page.see("document.querySelector('.prose').innerHTML")
    assert again.replace("Copy", "") == live.replace("Copied", "").replace("Copy", "")
    assert page.complaints == []


async def test_nothing_of_an_answer_is_executed_or_fetched(ground: Ground) -> None:
    page = await ground.fresh()
    before = await page.see("performance.getEntriesByType('resource').length")
    await ask(page, "hostile")
    await page.until("document.querySelectorAll('.prose .katex, .prose .katex-error').length >= 3")
    await page.see(
        "for (const node of document.querySelectorAll('.prose *')) node.dispatchEvent(new Event('mouseover'))"
    )
    assert await page.see("window.pwned === undefined")
    assert (
        await page.see(
            "document.querySelectorAll('.prose :is(script, img, iframe, object, style, form)').length"
        )
        == 0
    )
    names = "[...document.querySelectorAll('.prose *')].flatMap((n) => n.getAttributeNames()).filter((a) => a.startsWith('on'))"
    assert await page.see(names) == []
    links = await page.see("[...document.querySelectorAll('.prose a')].map((n) => [n.href, n.rel, n.target])")
    assert {href.rstrip("/") for href, _, _ in links} == {
        "http://example.org/a", "http://example.org/b", "http://example.org/c", "http://example.org/tracker.png",
    }  # fmt: skip
    assert all("noopener" in rel and target == "_blank" for _, rel, target in links)
    await ask(page, "<img src=x onerror='window.pwned=11'>")
    assert await page.see("window.pwned === undefined")
    fetched = await page.see("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith(ground.url) for name in fetched[before:])
    assert page.complaints == []


async def test_edit_regenerate_and_continue(ground: Ground) -> None:
    page = await ground.fresh()
    await ask(page, "first")
    await ask(page, CUT)
    assert await texts(page, ".note") == ["The answer reached its limit of length."]
    await click(page, ".goes-on")
    await page.until(
        "document.querySelectorAll('.turn.assistant').length === 3 && !document.body.dataset.busy"
    )
    await page.until("!document.body.hasAttribute('data-busy')")
    assert (await texts(page, ".turn.user .text"))[-1] == "Continue exactly where you stopped."
    asked = len(ground.engine.bodies)
    await click(page, ".last-answer .regenerate")
    await page.until("!document.body.hasAttribute('data-busy')")
    assert len(await stored(ground, page)) == 6
    assert len(ground.engine.bodies) == asked + 1
    await click(page, ".turn.user .edit")
    await page.see("document.querySelector('.editor textarea').value = 'better'")
    await page.press("Enter")
    await page.until(
        "document.querySelectorAll('.turn').length === 2 && !document.body.hasAttribute('data-busy')"
    )
    assert await stored(ground, page) == [("user", "better"), ("assistant", "You asked: better")]
    assert [m["content"] for m in ground.engine.bodies[-1]["messages"][1:]] == ["better"]
    await page.open(await page.see("location.href"))
    await page.until("document.querySelectorAll('.turn').length === 2")


async def test_stop_by_escape_and_a_reload_keep_what_was_said_and_say_so(ground: Ground) -> None:
    page = await ground.fresh()
    await send(page, SLOW)
    await page.until("document.querySelector('.prose')?.textContent.includes('word')")
    await page.press("Escape")
    await page.until("document.querySelector('.note')?.textContent.startsWith('Stopped')")
    assert await in_sight(page, ".goes-on")
    await send(page, SLOW)
    await page.until("document.querySelectorAll('.prose')[1]?.textContent.includes('word')")
    await page.open(await page.see("location.href"))
    await page.until("document.querySelectorAll('.note').length >= 2")
    assert (await texts(page, ".note"))[-1] in {"This answer was broken off.", "This question has no answer."}
    ground.engine.held = set()
    await click(page, ".last-answer :is(.again, .regenerate)")
    await page.until(
        "document.querySelectorAll('.turn').length === 4 && !document.body.hasAttribute('data-busy')"
    )
    await page.until("document.querySelectorAll('.last-answer .note').length === 0")
    ground.engine.held = {SLOW}
    assert [role for role, _ in await stored(ground, page)] == ["user", "assistant"] * 2


async def test_the_list_finds_renames_exports_and_deletes(ground: Ground) -> None:
    page = await ground.fresh()
    await ask(page, "rich")
    rich = await page.see("location.pathname")
    await click(page, "#fresh")
    await ask(page, "a second thing")
    assert await texts(page, "#list a") == ["a second thing", "rich"]
    await page.see("history.back()")
    await page.until("location.pathname === '/'")
    await page.see("history.back()")
    await page.until(f"location.pathname === '{rich}' && document.querySelectorAll('.turn').length === 2")
    await page.press("k", ctrl=True)
    assert await page.see("document.activeElement.id") == "search"
    await page.see(
        "document.querySelector('#search').value = 'INFTY'; document.querySelector('#search').dispatchEvent(new Event('input'))"
    )
    await page.until("document.querySelectorAll('#list a').length === 1")
    await click(page, "#list .more")
    await page.see("document.querySelector('#menu button').click()")
    await page.see(
        "document.querySelector('dialog input').value = 'Series'; document.querySelector('dialog form').requestSubmit()"
    )
    await page.until(
        "document.querySelector('#title').textContent === 'Series' && document.title === 'Series · Sentinel'"
    )
    await page.see(
        "window.blobs = []; const make = URL.createObjectURL; URL.createObjectURL = (b) => { blobs.push(b); return make(b); }"
    )
    for entry in (1, 2):
        await click(page, "#list .more")
        await page.see(f"document.querySelectorAll('#menu button')[{entry}].click()")
        await page.until(f"blobs.length === {entry}")
    markdown = await page.see("blobs[0].text()")
    assert markdown.startswith("# Series\n")
    assert RICH.strip() in markdown
    whole = json.loads(await page.see("blobs[1].text()"))
    assert [row["content"] for row in whole["messages"]] == ["rich", RICH]
    for is_undone in (True, False):
        await click(page, "#list .more")
        await click(page, "#menu .danger")
        await page.until(
            "!document.querySelector('#toast').hidden && document.querySelectorAll('#list a').length === 0"
        )
        if is_undone:
            await click(page, "#toast button")
            await page.until("document.querySelectorAll('#list a').length === 1")
    await page.open(ground.url)
    await page.until("document.querySelectorAll('#list a').length === 1")
    assert await texts(page, "#list a") == ["a second thing"]
    await page.open(f"{ground.url}{rich}")
    await page.until("document.querySelector('.note.bad')?.textContent.includes('does not exist')")


async def test_two_tabs_are_two_conversations_with_their_drafts(ground: Ground) -> None:
    page = await ground.fresh()
    await ask(page, "in the first tab")
    await write(page, "a draft here")
    async with page.tab(ground.url) as other:
        await other.until("document.querySelector('#engine')?.dataset.state === 'ready'")
        await ask(other, "in the second tab")
        await write(other, "a draft there")
        for tab, question, draft in ((page, "first", "here"), (other, "second", "there")):
            await tab.open(await tab.see("location.href"))
            await tab.until(
                f"document.querySelector('.turn.user .text')?.textContent === 'in the {question} tab'"
            )
            assert await tab.see("document.querySelector('#message').value") == f"a draft {draft}"
            await tab.until("document.querySelectorAll('#list a').length === 2")
    await click(page, "#fresh")
    assert await page.see("document.querySelector('#message').value") == ""


async def test_a_question_that_failed_is_in_sight_in_the_box_and_can_be_sent_again(ground: Ground) -> None:
    page = await ground.fresh()
    await ask(page, "rich")
    await page.offline(True)
    await ask(page, "are you there?")
    assert await texts(page, ".failed .note") == ["No connection to Sentinel."]
    assert await in_sight(page, ".failed .again")
    assert await page.see("document.querySelector('#message').value") == "are you there?"
    await page.offline(False)
    await click(page, ".failed .again")
    await page.until("document.querySelectorAll('.turn').length === 4 && !document.querySelector('.failed')")
    await page.until("!document.body.hasAttribute('data-busy')")
    assert await page.see("document.querySelector('#message').value") == ""
    assert len(await stored(ground, page)) == 4


async def test_asking_again_takes_back_what_is_stored_and_nothing_that_is_not_seen(ground: Ground) -> None:
    page = await ground.fresh()
    await ask(page, "kept")
    await page.offline(True)
    await ask(page, "lost")
    await page.offline(False)
    await ask(page, "second")
    await page.see("[...document.querySelectorAll('.edit')].at(-1).click()")
    await page.see("document.querySelector('.editor textarea').value = 'third'")
    await page.press("Enter")
    await page.until(
        "[...document.querySelectorAll('.prose')].at(-1).textContent.trim() === 'You asked: third'"
    )
    await page.until("!document.body.hasAttribute('data-busy')")
    assert [text for role, text in await stored(ground, page) if role == "user"] == ["kept", "third"]
    async with page.tab(await page.see("location.href")) as other:
        await other.until("document.querySelectorAll('.turn').length === 4")
        await ask(other, "elsewhere")
    await click(page, ".last-answer .regenerate")
    await page.until("document.querySelector('#toast').textContent.includes('another tab')")
    await page.until("!document.body.hasAttribute('data-busy')")
    assert await texts(page, ".turn.user .text") == ["kept", "third", "elsewhere"]
    assert len(await stored(ground, page)) == 6


async def test_a_text_that_is_too_long_is_counted_and_kept(ground: Ground) -> None:
    page = await ground.fresh()
    await write(page, "ñ" * 8003)
    assert (
        await page.see("document.querySelector('#count').textContent")
        == "3 characters too many: shorten the message to send it."
    )
    assert await page.see("document.querySelector('#send').disabled")
    assert await page.see("document.querySelector('#message').value.length") == 8003
    await write(page, "ñ" * 8000)
    assert not await page.see("document.querySelector('#send').disabled")


async def test_a_key_is_asked_for_kept_in_the_tab_and_the_quota_counts_down(ground: Ground) -> None:
    page, urls = ground.page, ground.urls
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        values = {"api_keys": "clave-ñ", "requests_per_minute": 20}
        async with sentinel(urls["database"], urls["redis"], urls["engine"], listener, **values):
            await page.open(url)
            await page.until("!!document.querySelector('dialog[open] .key')")
            enter = "document.querySelector('.key').value = '%s'; document.querySelector('dialog form').requestSubmit()"
            await page.see(enter % "wrong")
            await page.until(
                "document.querySelector('dialog[open] p.bad')?.textContent === 'That key is not valid.'"
            )
            await page.see(enter % "clave-ñ")
            await page.until("!document.querySelector('dialog') && document.querySelector('#list .empty')")
            await ask(page, "hello")
            assert await texts(page, ".turn.assistant .text") == ["You asked: hello"]
            assert await page.see("localStorage.getItem('key')") is None
            async with httpx.AsyncClient(headers={"x-api-key": "clave-ñ".encode()}) as client:
                while (await client.get(f"{url}/conversations", params={"user_id": "a"})).status_code == 200:
                    pass
            await ask(page, "too soon")
            assert "limit of requests" in (await texts(page, ".failed .note"))[0]
            assert (await texts(page, ".failed .again"))[0].startswith("You can ask again in ")
            assert await page.see("document.querySelector('.again').disabled")
            await page.until("!document.querySelector('.again').disabled")
            assert await texts(page, ".failed .again") == ["Ask again"]
            await page.open(f"{url}/panel")
            await page.until(
                "document.querySelector('#state')?.dataset.state === 'live' || document.querySelector('#state')?.dataset.state === 'off'"
            )
            assert await page.see("document.querySelector('#door').hidden"), (
                "the panel knows the key of the chat"
            )


async def test_each_language_is_whole_also_under_old_answers(ground: Ground) -> None:
    page = await ground.fresh(language="en")
    assert await same_names(page)
    await ask(page, "why?")
    await ask(page, CUT)
    await page.offline(True)
    await ask(page, "lost")
    await page.offline(False)
    await click(page, "#list .more")
    await page.see("document.querySelector('#menu').hidePopover()")
    assert await foreign_words(page, "en") == []
    assert await page.see("document.querySelector('.thoughts').open") is False
    assert (await texts(page, ".thoughts summary, .thought"))[1] == "A short question."
    await click(page, "#settings")
    await page.see("document.querySelector('dialog input[value=es]').click()")
    assert await page.see("document.documentElement.lang") == "es"
    assert await foreign_words(page, "es") == []
    assert (await texts(page, ".thoughts summary"))[0] == "Lo que pensó antes de responder"
    await page.see("document.querySelector('dialog input[value=dark]').click()")
    assert await page.see("getComputedStyle(document.body).backgroundColor") == "rgb(16, 22, 21)"
    await page.see("document.querySelector('dialog').close()")
    await page.open(ground.url)
    await page.until("document.querySelector('#welcome h2')?.textContent === '¿En qué puedo ayudarte?'")
    assert await page.see("getComputedStyle(document.body).backgroundColor") == "rgb(16, 22, 21)"


async def test_axe_finds_nothing_serious(ground: Ground) -> None:
    page = await ground.fresh()
    assert await axe(page) == []
    await ask(page, "rich")
    await ask(page, CUT)
    await page.until("!!document.querySelector('.hljs-keyword')")
    await page.size(1200, 800, dark=True)
    assert await axe(page) == []
    await click(page, "#settings")
    assert await axe(page) == []
    await page.see("document.querySelector('dialog').close()")
    await page.size(390, 844, mobile=True)
    await page.until("getComputedStyle(document.querySelector('#side')).display === 'none'")
    assert await page.see("document.documentElement.scrollWidth") == 390
    await click(page, "#open-list")
    assert await page.see("document.querySelector('#side').contains(document.activeElement)")
    assert await page.see("document.querySelector('#stage').inert")
    assert await axe(page) == []
    await page.press("Escape")
    assert await page.see("document.activeElement.id") == "open-list"


async def test_finished_blocks_of_a_running_answer_are_left_alone(ground: Ground) -> None:
    page = await ground.fresh()
    question = "Tell me much"
    ground.engine.held = {question}
    ground.engine.piece_chars = 60
    blocks = [f"Paragraph **{n}** with some words." for n in range(200)]
    ground.engine.answers[question] = "First paragraph, which a reader selects now.\n\nS\n\n" + "\n\n".join(
        blocks
    )
    ground.engine.go.clear()
    await send(page, question)
    await page.until("document.querySelectorAll('.prose p').length >= 2")
    await page.see("window.first = document.querySelector('.prose p'); getSelection().selectAllChildren(first); window.made = 0; "
                   "new MutationObserver((all) => { for (const m of all) for (const n of m.addedNodes) made += n.nodeName === 'P' || (n.querySelectorAll?.('p').length || 0) })"
                   ".observe(document.querySelector('.prose'), {childList: true, subtree: true})")  # fmt: skip
    ground.engine.go.set()
    await page.until("!document.body.hasAttribute('data-busy')")
    assert await page.see("document.querySelectorAll('.prose > p').length") == 202
    assert await page.see(
        "document.querySelector('.prose p') === first && getSelection().toString() === first.textContent"
    )
    # Each block is made when it is finished, and some times more while it is the last.
    assert await page.see("window.made") < 202 * 6
    ground.engine.piece_chars, ground.engine.held = 24, {SLOW}


async def test_right_to_left_text_stands_on_its_side(ground: Ground) -> None:
    page = await ground.fresh()
    await ask(page, "مرحبا (بالعالم).")
    direction = "[...document.querySelectorAll('.turn.user .text')].map((n) => getComputedStyle(n).direction)"
    assert await page.see(direction) == ["rtl"]


# Each is longer than what is rendered again as a whole while it comes.
LONG = {
    "list": "".join(f"- item **{n}** and words\n" for n in range(300)) + "\nAfter it.\n\n1. a\n2. b\n",
    "steps": "Intro:\n\n"
    + "".join(f"{n}. step `{n}` of words\n   - sub {n}\n" for n in range(1, 121))
    + "\n# Head\n\ntext",
    "paragraph": "plain words that go on " * 200 + "\n\nnext **bold** `x`\n- a\n- b\n",
    "marks": "plain words that go on " * 100
    + "**bold** "
    + "plain words " * 200
    + "\n```python\nx = 1\n```\nend",
    "code": "a\n\n```js\n" + "let x = 1;\n" * 100 + "```\n\n~~~\nplain\n```\n~~~\nz",
    "table": "| a | b |\n|---|--:|\n" + "| 1 | 2 |\n" * 30 + "\nend $x$ and $$y$$\n",
    "rich": RICH,
    "hostile": HOSTILE,
}
STREAMED = """
(async (text, step) => {
  const { LiveText } = await import("/web/live.js");
  const { fragment } = await import("/web/markdown.js");
  const plain = (node) => node.innerHTML.replace(/\\n|<\\/?span>| start="\\d+"| (class|aria-label|title)="[^"]*"/g, "");
  const [streamed, whole] = [document.createElement("div"), document.createElement("div")];
  const live = new LiveText(streamed);
  for (let at = 0; at < text.length; at += step) {
    live.append(text.slice(at, at + step));
    live.show();
  }
  live.finish();
  whole.append(fragment(text));
  return plain(streamed) === plain(whole) ? "same" : [plain(streamed), plain(whole)];
})(%s, %d)
"""


@pytest.mark.parametrize("name", LONG)
async def test_an_answer_that_streamed_looks_as_it_does_when_it_is_read_again(
    ground: Ground, name: str
) -> None:
    if await ground.page.see("location.pathname") != "/":
        await ground.fresh()
    for step in (7, 61):
        assert await ground.page.see(STREAMED % (json.dumps(LONG[name]), step)) == "same"
