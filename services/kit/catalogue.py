"""The words for people: every error reason and field problem, and what fills them, in Chinese and English."""

from collections.abc import Callable, Mapping
from typing import Literal

from services.kit.labels import LABELS
from services.kit.rulebook import KEYS, RULES, SAME_ID
from services.kit.vocabulary import ACTIONS, SETTINGS, STATES, VALUES

Locale = Literal["zh-CN", "en"]
LOCALES: tuple[Locale, ...] = ("zh-CN", "en")

REASONS: Mapping[str, tuple[str, str]] = {
    "INVALID_FIELD": ("请求字段缺失或格式不正确", "A request field is missing or malformed"),
    "UNAUTHENTICATED": ("缺少有效的访问令牌", "No valid access token came with the call"),
    "ROLE_MISSING": ("您的岗位没有执行此操作的权限", "None of your posts may do this"),
    "NOT_FOUND": ("未找到 {resource}", "{resource} was not found"),
    "ALREADY_EXISTS": ("已存在：{resource}", "It exists already: {resource}"),
    "STALE_ETAG": ("内容已被他人修改，请刷新后重试", "It was changed meanwhile; read it again and retry"),
    "REQUEST_ID_REUSED": (
        "请求编号已用于另一项内容不同的请求",
        "The request id was used before with another body",
    ),
    "WRONG_STATE": (
        "当前状态（{state}）不允许此操作（{action}）",
        "The present state ({state}) does not allow this action ({action})",
    ),
    "SEPARATION_OF_DUTIES": (
        "同一人不得既办理“{first}”又办理“{second}”",
        "One person may not both {first} and {second}",
    ),
    "WINDOW_CLOSED": ("办理期限已于 {closed} 届满", "The window closed on {closed}"),
    "CASE_UNAVAILABLE": (
        "流程引擎暂不可用，请稍后用同一请求编号重试",
        "The case cannot be reached now; retry with the same request id",
    ),
    "SERVICE_UNAVAILABLE": (
        "服务暂不可用，请稍后用同一请求编号重试",
        "A service cannot be reached now; retry with the same request id",
    ),
    "OVERLOADED": ("请求过多，请稍后重试", "Too many calls at once; retry in a moment"),
    "INTERNAL": (
        "系统内部错误，已记入日志",
        "Something broke on our side; it was logged",
    ),
    "DEADLINE": (
        "处理超时；操作可能已生效，请用同一请求编号查询",
        "The deadline passed; the command may have taken effect: send it again with the same request id",
    ),
    "DISABLED": ("此功能未启用（{setting}）", "This needs a setting that is off ({setting})"),
    "UNFIT_REFERENCE": (
        "{field} 所指的 {resource} 不符合要求",
        "{resource}, named in {field}, is not fit for this",
    ),
    "RULE_NOT_MET": ("不符合规定：{rule}", "This breaks a rule: {rule}"),
    "IMPORT_RUNNING": ("同一导入正在进行", "The same import is still running"),
}

PROBLEMS: Mapping[str, tuple[str, str]] = {
    "required": ("必填", "is required"),
    "too_long": ("过长", "is too long"),
    "too_many": ("数量过多", "has too many elements"),
    "malformed": ("格式不正确", "is malformed"),
    "unknown_value": ("取值未知", "is not a known value"),
    "bad_character": ("含有不允许的字符", "contains a character that is not allowed"),
    "not_exact": (
        "前后不得有空白，且须为 Unicode 规范形式 C",
        "must have no blanks around it and be in Unicode normal form C",
    ),
    "out_of_range": ("超出范围", "is out of range"),
    "not_current": ("翻页标记与查询条件不符", "does not belong to this list"),
    "check_digit": ("校验码不正确", "has a wrong check character"),
    "unknown_reference": ("所指对象不存在", "names something that does not exist"),
    "duplicate": ("重复", "is a duplicate"),
    "not_in_mask": ("该字段不可修改", "cannot be changed"),
    "not_after_start": ("必须晚于开始日期", "must come after the start"),
    "in_the_past": ("不得早于当前业务时间", "lies before the present business time"),
    "in_the_future": ("不得晚于当前业务时间", "lies after the present business time"),
    "over_a_year_ahead": ("不得晚于一年之后", "lies more than a year ahead"),
    "closed_down": ("所指场所已关闭", "names a site that was closed down"),
    "not_the_parent": ("不是上一级代码", "is not the code one level up"),
    "outside_parent": ("所在行政区划不包含本单位", "names a unit whose region does not contain this unit's"),
    "out_of_reach": ("不在您的职责范围内", "lies outside your reach"),
    "excluded": ("不能与另一字段同时填写", "cannot be given together with another field"),
    "not_applicable": ("此处不适用该字段", "does not apply here"),
    "for_workflows_only": ("仅供流程填写", "is set by workflows only"),
    "expected_header": ("首条消息须含导入头", "the first message must carry the header"),
}


def _words(pair: tuple[str, str], locale: Locale) -> str:
    return pair[0] if locale == "zh-CN" else pair[1]


def describe_reason(reason: str, metadata: Mapping[str, str], locale: Locale) -> str:
    """Word a refusal; metadata fills the blanks, its tokens in words. One that is missing shows as a dash."""
    filled = {key: BLANKS.get(key, _as_it_is)(text, locale) for key, text in metadata.items()}
    return _words(REASONS[reason], locale).format_map(_Blanks(filled))


def describe_problem(problem: str, locale: Locale) -> str:
    """Word a field problem."""
    return _words(PROBLEMS[problem], locale)


def describe_rule(rule: str, locale: Locale) -> str:
    """Word a rule or constraint as what must hold."""
    return _words(RULES.get(rule, (rule, rule)), locale)


def describe_state(state: str, locale: Locale) -> str:
    """Word a state, named without its prefix."""
    return _token(STATES, state, locale)


def describe_action(action: str, locale: Locale) -> str:
    """Word an action by its token, such as ``rectify``; what is no token stays as it is."""
    return _words(ACTIONS[action], locale) if action in ACTIONS else action


def describe_field(path: str, locale: Locale) -> str:
    """Word a field by what people call it, with the path that tells which one is meant."""
    name = path.rpartition(".")[2].partition("[")[0]
    if name not in LABELS:
        return path
    called = _words(LABELS[name], locale)
    return f"{called}（{path}）" if locale == "zh-CN" else f"{called} ({path})"


def describe_value(value: str, locale: Locale) -> str:
    """Word a value of an enum by its full name, such as HAZARD_GRADE_MAJOR."""
    if value in VALUES:
        return _words(VALUES[value], locale)
    state = value.rpartition("_STATE_")[2]
    return _token(STATES, state, locale)


def _describe_resource(resource: str, locale: Locale) -> str:
    """Word a constraint that says what exists; a resource name stays as it is."""
    if resource.endswith("_key") and resource not in KEYS:
        return _words(SAME_ID, locale)
    return _words(KEYS.get(resource, (resource, resource)), locale)


def _token(table: Mapping[str, tuple[str, str]], token: str, locale: Locale) -> str:
    return _words(table.get(token, (token, token.replace("_", " ").lower())), locale)


def _as_it_is(text: str, locale: Locale) -> str:
    return text


BLANKS: Mapping[str, Callable[[str, Locale], str]] = {
    "rule": describe_rule,
    "state": describe_state,
    "action": lambda text, locale: _token(ACTIONS, text, locale),
    "first": lambda text, locale: _token(ACTIONS, text, locale),
    "second": lambda text, locale: _token(ACTIONS, text, locale),
    "setting": lambda text, locale: _token(SETTINGS, text, locale),
    "field": describe_field,
    "resource": _describe_resource,
}
"""How the tokens of metadata are worded; others are names, days and the like, and stay."""


class _Blanks(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "-"
