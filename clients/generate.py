"""Writes what is made: the types of the API for both clients, from what the services publish (the
OpenAPI document and the JSON Schemas of the events), and the Python client that blocks, from the one for
asyncio. Needs Python alone.

    python3 clients/generate.py            # writes
    python3 clients/generate.py --check    # says what would change, and fails if anything would
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
OPENAPI = ROOT / "services/gateway/openapi.json"
EVENTS = ROOT / "shared/contract/schemas"
TYPESCRIPT = ROOT / "clients/typescript/src/types.ts"
PYTHON = ROOT / "clients/python/src/rdev_client/types.py"
ASYNC = ROOT / "clients/python/src/rdev_client/_async_client.py"
SYNC = ROOT / "clients/python/src/rdev_client/_client.py"

Schema = Dict[str, Any]
# Events whose data is a type of the API.
SAME = {"complete": "Complete", "queued": "QueuePlace"}
# What methods take by themselves.
NOT_OPTIONS = ("type", "command", "prompt")
# What asyncio says in other words.
BLOCKING = [
    (r'"""The client for asyncio.*', '"""The client that blocks. Made by clients/generate.py: do not edit."""'),
    (r"import asyncio\n", "import time\n"),
    (r"await asyncio\.sleep", "time.sleep"),
    (r"\b__a(enter|exit)__", r"__\1__"),
    (r"\ba(close|read|iter_bytes)\(", r"\1("),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync(Client|Session|Exec|Iterator)\b", r"\1"),
]
HEAD = "Made by clients/generate.py from the published schemas: do not edit."


def schemas() -> Dict[str, Schema]:
    found: Dict[str, Schema] = dict(json.loads(OPENAPI.read_text())["components"]["schemas"])
    for path in sorted(EVENTS.glob("sse-*.json")):
        schema = json.loads(path.read_text())
        name = path.stem[len("sse-") :]
        if name in SAME:
            continue
        found.update(schema.pop("$defs", {}))
        found["".join(part.title() for part in name.split("_")) + "Data"] = schema
    request = found["ExecRequest"]
    options = {key: of for key, of in request["properties"].items() if key not in NOT_OPTIONS}
    about = "What a command may be given beside what it is."
    found["ExecOptions"] = {"type": "object", "description": about, "properties": options}
    return dict(sorted(found.items()))


def alternatives(schema: Schema) -> List[Schema]:
    """The forms that a value may have, each a schema without alternatives."""
    forms: List[Schema] = schema.get("oneOf") or schema.get("anyOf") or []
    if not forms and isinstance(schema.get("type"), list):
        forms = [{**schema, "type": one} for one in schema["type"]]
    return forms


def about(schema: Schema) -> str:
    return " ".join(schema.get("description", "").replace("[`crate::", "[`").split())


def members(schema: Schema) -> Iterator[Tuple[str, Schema, bool]]:
    needed = schema.get("required", [])
    for name, of in schema.get("properties", {}).items():
        yield name, of, name in needed


class TypeScript:
    def of(self, schema: Any) -> str:
        if not isinstance(schema, dict):
            return "unknown"
        if "$ref" in schema:
            return str(schema["$ref"].rsplit("/", 1)[1])
        if "const" in schema:
            return json.dumps(schema["const"])
        if "enum" in schema:
            return " | ".join(json.dumps(one) for one in schema["enum"])
        forms = alternatives(schema)
        if forms:
            return " | ".join(self.of(form) for form in forms)
        kind = schema.get("type")
        if kind == "array":
            item = self.of(schema.get("items"))
            return f"({item})[]" if " " in item else f"{item}[]"
        if kind == "object":
            return f"Record<string, {self.of(schema.get('additionalProperties'))}>"
        known = {"string": "string", "boolean": "boolean", "null": "null"}
        known.update({"integer": "number", "number": "number"})
        return known.get(str(kind), "unknown")

    def comment(self, text: str, indent: str = "") -> List[str]:
        return [f"{indent}/** {text.replace('*/', '* /')} */"] if text else []

    def declare(self, name: str, schema: Schema) -> List[str]:
        lines = self.comment(about(schema))
        if not schema.get("properties"):
            return lines + [f"export type {name} = {self.of(schema)};", ""]
        lines.append(f"export interface {name} {{")
        for member, of, needed in members(schema):
            lines += self.comment(about(of), "  ")
            lines.append(f"  {member}{'' if needed else '?'}: {self.of(of)};")
        return lines + ["}", ""]

    def text(self) -> str:
        lines = [f"// {HEAD}", ""]
        for name, schema in schemas().items():
            lines += self.declare(name, schema)
        return "\n".join(lines)


class Python:
    def of(self, schema: Any) -> str:
        if not isinstance(schema, dict):
            return "Any"
        if "$ref" in schema:
            return f'"{schema["$ref"].rsplit("/", 1)[1]}"'
        if "const" in schema:
            return f"Literal[{json.dumps(schema['const'])}]"
        if "enum" in schema:
            return f"Literal[{', '.join(json.dumps(one) for one in schema['enum'])}]"
        forms = alternatives(schema)
        if forms:
            null = [form for form in forms if form.get("type") == "null"]
            known = [form for form in forms if form.get("type") != "null"]
            if all("const" in form for form in known):
                inner = f"Literal[{', '.join(json.dumps(form['const']) for form in known)}]"
            else:
                inner = ", ".join(self.of(form) for form in known)
                inner = f"Union[{inner}]" if len(known) > 1 else inner
            return f"Optional[{inner}]" if null else inner
        kind = schema.get("type")
        if kind == "array":
            return f"List[{self.of(schema.get('items'))}]"
        if kind == "object":
            return f"Dict[str, {self.of(schema.get('additionalProperties'))}]"
        known_kinds = {"string": "str", "boolean": "bool", "null": "None"}
        known_kinds.update({"integer": "int", "number": "float"})
        return known_kinds.get(str(kind), "Any")

    def declare(self, name: str, schema: Schema) -> List[str]:
        if not schema.get("properties"):
            return [f"# {about(schema)}", f"{name} = {self.of(schema)}", ""]
        needed = [(key, of) for key, of, is_needed in members(schema) if is_needed]
        optional = [(key, of) for key, of, is_needed in members(schema) if not is_needed]
        if not needed:
            return self.class_of(f"{name}(TypedDict, total=False)", about(schema), optional)
        if not optional:
            return self.class_of(f"{name}(TypedDict)", about(schema), needed)
        return self.class_of(f"_{name}(TypedDict)", "", needed) + self.class_of(
            f"{name}(_{name}, total=False)", about(schema), optional
        )

    def class_of(self, head: str, doc: str, fields: List[Tuple[str, Any]]) -> List[str]:
        lines = ["", f"class {head}:"]
        if doc:
            lines += [f'    """{doc}"""', ""]
        for key, of in fields:
            wrapped = textwrap.wrap(about(of), 94)
            lines += [f"    # {line}" for line in wrapped]
            lines.append(f"    {key}: {self.of(of)}")
        return lines + [""]

    def text(self) -> str:
        lines = [f'"""{HEAD}"""', "", "from typing import Any, Dict, List, Literal, Optional, TypedDict"]
        lines.append("")
        ready = sorted(schemas().items(), key=lambda one: bool(one[1].get("properties")))
        for name, schema in ready:
            lines += self.declare(name, schema)
        return "\n".join(lines)


def blocking() -> str:
    text = ASYNC.read_text()
    for said, instead in BLOCKING:
        text = re.sub(said, instead, text)
    return text


def main() -> None:
    differs = False
    made = {TYPESCRIPT: TypeScript().text(), PYTHON: Python().text(), SYNC: blocking()}
    for path, text in made.items():
        if path.exists() and path.read_text() == text:
            continue
        differs = True
        if "--check" in sys.argv[1:]:
            print(f"{path.relative_to(ROOT)} is not what the schemas say", file=sys.stderr)
        else:
            path.write_text(text)
    if differs and "--check" in sys.argv[1:]:
        sys.exit("run python3 clients/generate.py")


if __name__ == "__main__":
    main()
