"""What libraries say, in Chinese: their own English texts with blanks, and the system's error numbers.

A library's text reaches people only where it tells what was wrong with something they wrote. Nothing in the
library is replaced: its finished text is recognised, and one that is not recognised stays as it is.
"""

import errno
import re
import socket
from collections.abc import Mapping, Sequence
from functools import cache

from services.kit.catalogue import Locale

PYDANTIC: Mapping[str, str] = {
    "Input should be a valid integer, unable to parse string as an integer": "应为整数",
    "Unable to parse input string as an integer, exceeded maximum size": "整数过大",
    "Input should be a valid number, unable to parse string as a number": "应为数字",
    "Input should be greater than or equal to {bound}": "不得小于 {bound}",
    "Input should be greater than {bound}": "须大于 {bound}",
    "Input should be less than or equal to {bound}": "不得大于 {bound}",
    "Input should be less than {bound}": "须小于 {bound}",
    "Input should be a valid boolean, unable to interpret input": "应为 true 或 false",
    "Input should be a valid string": "应为文本",
    "Input should be a valid dictionary": "应为 JSON 对象",
    "Input should be {first} or {last}": "应为 {first} 或 {last}",
}
"""Of what settings and options may not be."""

ERRNO: Mapping[int, tuple[str, str]] = {
    errno.EACCES: ("权限不足", "Permission denied"),
    errno.EADDRINUSE: ("地址已被占用", "Address already in use"),
    errno.EADDRNOTAVAIL: ("本机没有该地址", "Cannot assign requested address"),
    errno.ECONNREFUSED: ("连接被拒绝", "Connection refused"),
    errno.ECONNRESET: ("连接被对方断开", "Connection reset by peer"),
    errno.EDQUOT: ("磁盘配额已满", "Disk quota exceeded"),
    errno.EEXIST: ("已存在", "File exists"),
    errno.EHOSTUNREACH: ("主机不可达", "No route to host"),
    errno.EIO: ("读写出错", "Input/output error"),
    errno.EISDIR: ("是目录而不是文件", "Is a directory"),
    errno.ELOOP: ("链接循环", "Too many levels of symbolic links"),
    errno.EMFILE: ("打开的文件过多", "Too many open files"),
    errno.ENAMETOOLONG: ("名称过长", "File name too long"),
    errno.ENETUNREACH: ("网络不可达", "Network is unreachable"),
    errno.ENOENT: ("文件或目录不存在", "No such file or directory"),
    errno.ENOEXEC: ("不是可执行的程序", "Exec format error"),
    errno.ENOSPC: ("磁盘空间不足", "No space left on device"),
    errno.ENOTDIR: ("不是目录", "Not a directory"),
    errno.ENOTEMPTY: ("目录非空", "Directory not empty"),
    errno.EPERM: ("不允许此操作", "Operation not permitted"),
    errno.EROFS: ("文件系统只读", "Read-only file system"),
    errno.ETIMEDOUT: ("连接超时", "Connection timed out"),
    errno.ETXTBSY: ("程序正被写入", "Text file busy"),
    socket.EAI_AGAIN: ("暂时无法解析主机名", "Temporary failure in name resolution"),
    socket.EAI_NONAME: ("主机名无法解析", "Name or service not known"),
}


def reworded(text: str, *tables: Mapping[str, str]) -> str:
    """Return a library's text in Chinese; one that no table has stays as it is.

    The first template that fits is taken. Blanks are filled as they were, ``{message}`` itself reworded.
    """
    for table in tables:
        for pattern, chinese in _patterns(tuple(table.items())):
            if found := pattern.fullmatch(text):
                filled = found.groupdict()
                if "message" in filled:
                    filled["message"] = reworded(filled["message"], *tables)
                return chinese.format_map(filled)
    return text


@cache
def _patterns(table: tuple[tuple[str, str], ...]) -> Sequence[tuple[re.Pattern[str], str]]:
    return [(re.compile(blanked(english), re.DOTALL), chinese) for english, chinese in table]


def blanked(template: str) -> str:
    """Return the regular expression of what a template may have been filled to."""
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(template))


def describe_os_error(error: OSError, locale: Locale, *, with_file: bool = True) -> str:
    """Word what the operating system refused, with the file at fault where the error names one."""
    words = ERRNO.get(error.errno) if error.errno is not None else None
    if words is not None:
        reason = words[0] if locale == "zh-CN" else words[1]
    elif isinstance(error, TimeoutError):
        reason = "超时" if locale == "zh-CN" else "timed out"
    else:
        reason = error.strerror or str(error)
    if not with_file or error.filename is None:
        return reason
    return f"{reason}：{error.filename}" if locale == "zh-CN" else f"{reason}: {error.filename}"
