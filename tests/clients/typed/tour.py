"""Everything else that the Python client does, against a real rdev. Prints `away` when the log is to be
taken away for a while, and `done` when all was as it should be.

    python3 tour.py URL SESSION-AND-EXEC-WITH-A-GAP
"""

import asyncio
import hashlib
import sys

from rdev_client import (
    Approval,
    ApprovalAnswered,
    AsyncClient,
    Claude,
    Completed,
    ConflictError,
    ExpiredError,
    Gap,
    IncompleteError,
    InvalidRequestError,
    NotFoundError,
    Output,
    UnauthorizedError,
)

NOBODY = "01930000-0000-7000-8000-000000000001"


async def refusal(kind, code, awaited):
    try:
        await awaited
    except kind as error:
        assert error.code == code, error
        return error
    raise AssertionError(f"{kind} was not raised")


async def commands(session):
    ran = await session.shell(r"printf 'a\r\0\377b'; echo err >&2; exit 3")
    collected = await ran.collect()
    assert collected.stdout == b"a\r\0\xffb" and collected.stderr == b"err\n", collected
    assert collected.complete["exit_code"] == 3 and collected.complete["outcome"] == "exited"
    assert await ran.result() == collected.complete
    assert await ran.output() == collected.stdout and await ran.output("stdout", 3) == b"\xffb"
    end = [event async for event in ran.follow()][-1]
    assert [event async for event in ran.follow(after=end.id)] == []
    assert [event.number async for event in ran.follow(tail=1)][0] == end.number
    assert [fact["event"] async for fact in ran.timeline()][0] == "command"
    view = await ran.view()
    assert view["status"] == "complete" and view["attempts"] == 1, view

    first = await session.shell("echo once", stream_id="own")
    again = await session.shell("echo once", stream_id="own")
    assert first.id == again.id == "own"
    await refusal(ConflictError, "stream_id_in_use", session.shell("echo twice", stream_id="own"))
    await refusal(InvalidRequestError, "missing_command", session.shell(""))
    version = await (await session.git("version")).collect()
    assert version.stdout.startswith(b"git version"), version


async def orders(session):
    data = bytes(range(256)) * 5000
    reading = await session.shell("sha256sum", stdin_open=True)
    await reading.write(data[:1000])
    # Another one, which has written nothing yet, goes on where the first one ended.
    other = session.attach(reading.id)
    await other.write(data[1000:])
    await other.close_input()
    collected = await reading.collect()
    assert collected.stdout.decode().split()[0] == hashlib.sha256(data).hexdigest()

    sleeping = await session.shell("trap 'echo told' USR1; echo up; while :; do sleep 0.02; done")
    async for event in sleeping.follow():
        if isinstance(event, Output) and event.text == "up":
            await sleeping.signal("USR1")
        if isinstance(event, Output) and event.text == "told":
            await sleeping.cancel()
    assert (await sleeping.result())["outcome"] == "canceled"
    await refusal(ConflictError, "exec_complete", sleeping.cancel())


async def agents(rdev, session):
    run = await session.claude("simple")
    said = [event.message async for event in run.follow() if isinstance(event, Claude)]
    assert said[0]["type"] == "system" and said[-1]["type"] == "result", said
    texts = [block["text"] for message in said if message["type"] == "assistant"
             for block in message["message"]["content"] if block["type"] == "text"]
    assert texts == [said[-1]["result"]] == ["mock reply: hello world"], texts

    asking = await session.claude("ask a echo allowed", permissions="ask")
    answers = []
    async for event in asking.follow():
        if isinstance(event, Approval):
            question = event.approval["approval_id"]
            [pending] = await session.approvals(status="pending")
            assert pending["approval_id"] == question
            answered = await asking.answer(question, decision="allow")
            assert answered["status"] == "allowed", answered
        if isinstance(event, ApprovalAnswered):
            answers.append(event.answer["decision"])
        if isinstance(event, Completed):
            assert event.complete["ok"], event
    assert answers == ["allow"] and len(await asking.approvals()) == 1
    conversation = (await session.view())["conversation_id"]
    roles = []
    while "assistant" not in roles:
        roles = [message["role"] async for message in rdev.messages(conversation)]
    assert roles[0] == "user", roles
    assert (await rdev.conversation(conversation))["session_id"] == session.id


async def of_the_session(rdev, session):
    following = session.follow(tail=0)
    first = await following.__anext__()
    assert first.exec == "", first
    ran = [await session.shell(f"echo {name}") for name in ("a", "b")]
    open_execs, texts = {one.id for one in ran}, {}
    async for event in following:
        if isinstance(event, Output):
            texts[event.exec] = event.text
        if isinstance(event, Completed):
            open_execs.discard(event.exec)
        if not open_execs:
            break
    assert [texts[one.id] for one in ran] == ["a", "b"], texts
    ticket = await ran[0].ticket()
    assert ticket["url"].startswith("/projects/demo/"), ticket
    assert session.id in [one["id"] async for one in rdev.sessions(status="active")]
    assert (await rdev.usage())["runs"] >= 0


async def expired(rdev, session_id, exec_id):
    short = rdev.session(session_id).attach(exec_id)
    events = [event async for event in short.follow()]
    gaps = [event for event in events if isinstance(event, Gap)]
    assert len(gaps) == 1 and gaps[0].gap["requested"] == 1, events
    assert events[-1].complete["ok"], events
    try:
        await short.collect()
    except IncompleteError:
        pass
    else:
        raise AssertionError("what has expired was not missed")
    error = await refusal(ExpiredError, "events_expired", short.follow(strict=True).__anext__())
    after = error.problem["resume_from"]
    left = [event async for event in short.follow(after=after, strict=True)]
    assert left[-1] == events[-1], left


async def main(url, gap):
    async with AsyncClient(url, "demo") as rdev:
        session = await rdev.create_session(pod="tour-python")
        await refusal(NotFoundError, "not_found", rdev.session(NOBODY).view())
        await commands(session)
        await orders(session)
        await agents(rdev, session)
        await of_the_session(rdev, session)
        await expired(rdev, *gap.split("/"))
        print("away", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        await (await session.shell("echo run >> runs", stream_id="patient")).collect()
        assert (await (await session.shell("cat runs")).collect()).stdout == b"run\n"
        ended = await session.end()
        assert ended["status"] == "ended", ended
    async with AsyncClient(url, "demo", key="rdev_0123456789abcdef_wrong") as stranger:
        await refusal(UnauthorizedError, "invalid_credential", stranger.session(NOBODY).view())
    print("done", flush=True)


asyncio.run(main(*sys.argv[1:]))
