"""Content of answers: refusals, what a model says of itself, debris of templates, replies to everything.

Patterns are written for this project, in English and Chinese; each is linear in the text, and looks only at the
beginning where what it looks for stands there.
"""

from __future__ import annotations

import polars as pl

from prefdata.auditing import marks
from prefdata.auditing.check import ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels, Severity

HEAD_CHARS = 400
"""Characters in which a refusal announces itself."""

BOILERPLATE_PROMPTS = 10
"""Different prompts from which on one answer to all of them is boilerplate."""
BOILERPLATE_CHARS = 20
"""Shorter answers (thanks, yes) fit many prompts."""

_DO = (
    r"(?:help|assist|provide|answer|respond|fulfil|fulfill|comply|support|create|generate|write|engage|discuss"
    r"|participate|condone|promote|encourage|endorse|advise|do (?:that|this)|complete)\b"
)
_I_CANNOT = (
    r"(?:\bi|\bwe)(?: (?:really|simply|just|absolutely|also|am afraid i|am sorry,? but i))?"
    r"(?: can ?not| can['’]?t| could ?n['’]t| won['’]t| will not| am not able to| am unable to|['’]m not able to"
    r"|['’]m unable to| are unable to|['’]re unable to| refuse to| must decline to| decline to"
    r"| (?:do not|don['’]t) (?:feel comfortable|want to|think i should|feel right)"
    r"|(?: am|['’]m) not (?:comfortable|going to|willing to|allowed to|permitted to|programmed to|designed to))"
)
REFUSAL = marks.pattern(
    rf"(?i){_I_CANNOT}(?: \w+){{0,2}}? {_DO}"
    rf"|(?:not (?:be )?|in)appropriate (?:for me )?to {_DO}|\bi(?:['’]d| would) (?:rather|prefer) not\b"
    r"|\bnot something (?:that )?(?:i|we)(?:['’]m| am| can\b)"
    r"|(?:抱歉|对不起|不好意思|很遗憾)[^。！？\n]{0,20}(?:无法|不能|没办法|没有办法)[^。！？\n]{0,10}"
    r"(?:提供|回答|帮助|协助|满足|完成|支持|讨论|生成|为您|为你|给出|执行|参与|回应)"
    r"|我(?:无法|不能|不会|拒绝)[^。！？\n]{0,6}(?:提供|回答|帮助[你您]|协助|满足|讨论|生成|参与|支持|回应)"
)
"""What an answer begins with that says it will not do what was asked."""

NAMES = (
    r"chatgpt|gpt-?[34](?:\.5|o)?|claude|bard|gemini|llama|qwen|tongyi qianwen|ernie bot|deepseek|mistral|vicuna|alpaca"
    r"|open ?assistant|bing chat|chatglm|baichuan|kimi|doubao|通义千问|文心一言|讯飞星火|豆包|智谱清言|百川|混元"
)
MAKERS = r"openai|anthropic|google(?: ai| deepmind)?|deepmind|meta(?: ai)?|alibaba|baidu|tencent|mistral ai|lmsys|laion"
_MODEL = r"(?:language model|ai\b|artificial intelligence|chatbot|computer program|virtual assistant|llm\b)"
SELF_NAME = marks.pattern(
    rf"(?i)\bas an? (?:\w+ ){{0,3}}?{_MODEL}(?: (?:language )?model| assistant| chatbot| system)?"
    r"(?: i\b| my\b| \(|, ?(?:i|it|my|there|your|please|let me|we)\b)"
    rf"|\bi(?: am|['’]m) (?:just |only |merely |simply |actually )?an? (?:\w+ ){{0,2}}?{_MODEL}"
    rf"|\b(?:i am|i['’]m|my name is) (?:an? )?(?:{NAMES})\b"
    rf"|\bas (?:{NAMES}),? (?:an? |i\b|my\b|(?:made|trained|developed|created|built) by )"
    rf"|\bi(?: was| am|['’]ve been| have been) (?:trained|developed|created|made|built) by (?:{MAKERS})\b"
    r"|\bmy (?:knowledge cut-?off|training data)\b"
    r"|作为一?[个款名位]?(?:大型)?(?:AI|人工智能|大?语言模型|智能助手|聊天机器人)"
    rf"|我(?:是|叫)(?:一[个款名])?(?:由[^。\n]{{0,12}}(?:开发|训练|研发)的)?(?:{NAMES}|GPT|AI|人工智能|大?语言模型|聊天机器人)"
)
"""What a model says of itself, by kind or by name."""

TURN_INSIDE = r"(?m:^)[ \t]*(?:User|USER|Human|HUMAN|Assistant|ASSISTANT|用户|助手|助理)[ \t]?[:：]"
_HEADINGS = (
    r"#{2,3} ?(?:Instruction|Response|Input|Human|Assistant|指令|回答|回复)s?[:：]"
    r"|BEGINNING OF CONVERSATION|Below is an instruction that describes a task"
)
_WRAPPED = (
    r"(?s:\A\s*\{\s*\"(?:response|answer|output|content|text|reply|completion|role)\"\s*:.*\}\s*\z)"
    r"|(?s:\A\s*```(?:markdown|md|text|plaintext|txt)\s*\n.*```\s*\z)"
)
_FENCE = r"(?s)```.*?```"
_LEAK_GATES = (
    r"(?:User|USER|Human|HUMAN|Assistant|ASSISTANT|用户|助手|助理)[ \t]?[:：]",
    "##|BEGINNING OF CONV|Below is an instr",
    r"(?s:\A\s*[{`])",
)
TEMPLATE_LEAK = f"{TURN_INSIDE}|{_HEADINGS}"
"""Turns of a chat written into an answer, headings of instruction templates."""

_SLOT = (
    r"(?:(?:first|last|full|user|customer|client|agent|company|product|order|account|your)[_ ]?)?"
    r"(?:name|email|address)|(?:user|customer|client|order|ticket|account|phone|tracking)[_ ]?(?:id|number|date)"
    r"|instruction|question|query|context|topic|prompt|姓名|名字|用户名?|问题|订单号|日期|内容"
)
PLACEHOLDER = marks.pattern(
    rf"\{{\{{\s*(?:{_SLOT})\s*\}}\}}|(?:\A|[^=$\w\[{{])\{{(?:{_SLOT})\}}|(?i:lorem ipsum)"
    r"|\[(?:INSERT|Insert|insert|ENTER|Enter|enter|YOUR|Your|your)\b[^\]\n]{0,60}\]"
    r"|\[(?:(?:Customer|Company|Agent|Recipient|Client|User)(?:['’]s)? )?(?:Name|NAME)\]"
    r"|<(?:insert|your|enter) (?:name|company|email|address|date|phone|city|title|product|text)[^>\n]{0,30}>"
    r"|【(?:请?(?:填写|插入|输入)|[你您]的)[^】\n]{0,20}】"
    r"|\[(?:请?(?:填写|插入|输入)|[你您]的)[^\]\n]{0,20}\]"
)
"""A blank of a template that nobody filled."""
_CODE = marks.pattern(
    r"```|(?m:^)\s*(?:def|class|import|from|const|let|var|function|print|return)\b|\bf[\"']|(?m:[;{]\s*$)|</[a-z]+>"
)


def _refuses(side: str) -> pl.Expr:
    return pl.col(f"{side}_text").str.slice(0, HEAD_CHARS).str.contains(REFUSAL)


def _names_itself(side: str) -> pl.Expr:
    return pl.col(f"{side}_text").str.contains(SELF_NAME)


def _leaks(side: str) -> pl.Expr:
    text = pl.col(f"{side}_text")
    # a dialogue that was asked for stands in a fence
    return text.str.replace_all(_FENCE, "").str.contains(TEMPLATE_LEAK) | text.str.contains(_WRAPPED)


def _blank(side: str) -> pl.Expr:
    text = pl.col(f"{side}_text")
    return text.str.contains(PLACEHOLDER) & ~text.str.contains(_CODE)


def _links(side: str) -> pl.Expr:
    return pl.col(f"{side}_text").str.contains(r"https?://|www\.")


def _boilerplate(data: Audited) -> Found:
    """Rows with an answer that stands under BOILERPLATE_PROMPTS different prompts, by side."""
    rows, measures = [], {}
    for side in data.answers:
        answers = data.rows.filter(pl.col(f"{side}_chars") >= BOILERPLATE_CHARS)
        counted = answers.group_by(f"{side}_norm").agg(pl.col("prompt_norm").n_unique().alias("prompts"))
        counted = counted.filter(pl.col("prompts") >= BOILERPLATE_PROMPTS)
        if counted.height:
            found = answers.join(counted, on=f"{side}_norm", how="semi")["row"]
            rows.append(found)
            most = counted["prompts"].sort(descending=True).to_list()[0]
            measures[side] = {"rows": len(found), "answers": counted.height, "most_prompts": most}
    if not rows:
        return Found()
    return Found(rows=pl.concat(rows).unique().sort(), measures=measures)


def _linked(data: Audited) -> Found:
    """Links by side; a finding only where one side holds them more than by chance."""
    found = marks.found(data, "links")
    side = marks.onesided(found.measures)
    if side is None:
        return Found()
    return Found(rows=found.rows, measures={**found.measures, "more_in": side}, severity=Severity.NOTE)


REFUSALS = Check(
    name="refusals",
    family="content",
    title="An answer that is to be learnt refuses",
    why="Refusals among the preferred answers teach to refuse; where the request was harmless, that is over-refusal.",
    cure="Read the examples: keep refusals of harmful requests, leave out the others.",
    source="XSTest (Röttger et al. 2024): exaggerated safety",
    types=ANSWERED,
    levels=Levels(major=0.3, minor=0.05),
    collect=marks.collector(_refuses),
    find=lambda data: marks.found(data, "refusals"),
)

SELF_NAMES = Check(
    name="self_names",
    family="content",
    title="An answer says that it was written by a model, or by which",
    why="The trained model will call itself by the name of another, and say 'As an AI language model' to customers.",
    cure="Leave the row out, or cut the sentence.",
    types=ANSWERED,
    levels=Levels(major=0.02, minor=0),
    collect=marks.collector(_names_itself),
    find=lambda data: marks.found(data, "self_names"),
)

TEMPLATE_LEAKS = Check(
    name="template_leaks",
    family="content",
    title="An answer holds debris of a template: 'User:' or 'Assistant:', a heading, a wrapper of JSON or markdown",
    why="The model learns to go on as the customer, or to wrap what it says.",
    cure="Cut the answer before the debris, or leave the row out.",
    types=ANSWERED,
    levels=Levels(major=0.02, minor=0),
    collect=marks.collector(_leaks, gate=_LEAK_GATES),
    find=lambda data: marks.found(data, "template_leaks"),
)

PLACEHOLDERS = Check(
    name="placeholders",
    family="content",
    title="An answer holds a blank of a template that nobody filled, as {name} or [Your Name]",
    why="The model learns to send the blank to customers.",
    cure="Fill the blank, or leave the row out; letters and forms that were asked for may keep theirs.",
    types=ANSWERED,
    levels=Levels(major=0.05, minor=0.001),
    collect=marks.collector(_blank, gate=[r"[{\[<【]", "orem ipsum", "OREM IPSUM"]),
    find=lambda data: marks.found(data, "placeholders"),
)

BOILERPLATE = Check(
    name="boilerplate",
    family="content",
    title="The same answer stands under ten or more different prompts",
    why="It says nothing about any of the prompts; the model learns to answer everything with it.",
    cure="Keep a few rows of each such answer, those with the clearest labels.",
    types=ANSWERED,
    levels=Levels(major=0.2, minor=0.01),
    find=_boilerplate,
)

LINKS = Check(
    name="links",
    family="content",
    title="Links stand more often on one side",
    why="Where only one side links, the preference can be told from 'http': a shortcut; models then invent addresses.",
    cure="Read the examples; replace addresses by words on both sides if they do not matter.",
    types=ANSWERED,
    collect=marks.collector(_links),
    find=_linked,
)
