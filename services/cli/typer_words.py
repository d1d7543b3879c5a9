"""What Typer says around our words, in Chinese: by its own English texts, blanks included.

Only a few of its texts go through gettext. So the finished text is recognised where it is shown
(``services.cli.frame``); ``tests/unit/test_frame.py`` finds a text that a new version of Typer words otherwise.
"""

import re
from collections.abc import Mapping

from services.cli.words import LOCALE
from services.kit.library_words import PYDANTIC, reworded

USAGE: Mapping[str, str] = {
    "[OPTIONS]": "[选项]",
    "COMMAND [ARGS]...": "命令 [参数]...",
}
HELP: Mapping[str, str] = {
    "Install completion for the current shell.": "为当前 shell 安装命令补全",
    "Show completion for the current shell, to copy it or customize the installation.": (
        "显示当前 shell 的命令补全脚本，以便复制或自行安装"
    ),
    "Show this message and exit.": "显示此帮助并退出",
    "required": "必填",
    "default: {default}": "默认：{default}",
}
TYPES: Mapping[str, str] = {
    "<int>": "<整数>",
    "<int range>": "<整数>",
    "<float>": "<数字>",
    "<float range>": "<数字>",
    "<str>": "<文本>",
    "<list[str]>": "<文本>...",
    "<path>": "<路径>",
    "<file>": "<文件>",
}
ERRORS: Mapping[str, str] = {
    "Invalid value: {message}": "取值有误：{message}",
    "Invalid value for {hint}: {message}": "{hint} 取值有误：{message}",
    "Missing argument {hint}. Choose from:\n\t{choices}": "缺少参数 {hint}，可选：{choices}",
    "Missing option {hint}. Choose from:\n\t{choices}": "缺少选项 {hint}，可选：{choices}",
    "Missing argument {hint}.": "缺少参数 {hint}",
    "Missing option {hint}.": "缺少选项 {hint}",
    "Missing command.": "缺少命令",
    "No such option: {option} (Possible options: {options})": "没有选项 {option}，是否为 {options}？",
    "No such option: {option}": "没有选项 {option}",
    "No such command {command}.": "没有命令 {command}",
    "No such command {command}. Did you mean {commands}?": "没有命令 {command}，是否为 {commands}？",
    "Got unexpected extra argument(s) ({arguments})": "多余的参数：{arguments}",
    "Argument {argument} takes {count} values.": "参数 {argument} 应有 {count} 个值",
    "Option {option} does not take a value.": "选项 {option} 不带值",
    "Option {option} requires an argument.": "选项 {option} 须带值",
    "Option {option} requires {count} arguments.": "选项 {option} 须带 {count} 个值",
    "Value error, {message}": "{message}",
    "{value} is not one of {choices}.": "{value} 不在 {choices} 之中",
    "{label} {path} does not exist.": "{path} 不存在",
    "{label} {path} is a file.": "{path} 是文件而不是目录",
    "{label} {path} is a directory.": "{path} 是目录而不是文件",
    "{label} {path} is not readable.": "{path} 不可读",
    "{label} {path} is not writable.": "{path} 不可写",
}
"""A template comes before one that would take its texts, too."""
COMPLETION: Mapping[str, str] = {
    "{shell} completion installed in {path}": "{shell} 命令补全已安装于 {path}",
    "Completion will take effect once you restart the terminal": "重新打开终端后生效",
}


def in_words(text: str) -> str:
    """Return a text of Typer's in the chosen language; one of ours stays as it is."""
    if LOCALE != "zh-CN":
        return text
    return reworded(text, USAGE, HELP, ERRORS, COMPLETION, PYDANTIC)


def typed_in_words(text: str) -> str:
    """Return how an option or argument is written, with its type in the chosen language."""
    if LOCALE != "zh-CN":
        return text
    return re.sub(r"<[^<>]+>", lambda found: TYPES.get(found[0], found[0]), text)
