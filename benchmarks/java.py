"""Programs of Java off Debian's packages: Apache ZooKeeper, and what is run beside it.

Owns where the jars are, and the command line. Debian's word counts: jars are in /usr/share/java.

Synopsis::

    if reason := missing_zookeeper():
        raise OSError(reason)
    command = java_command(directory, ZOOKEEPER, options=["-Xmx1000m"]) + [str(zoo_cfg)]
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

JAVA: Final = Path("/usr/share/java")
ZOOKEEPER: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
"""The class whose `main` is the server; its argument is a zoo.cfg."""

_JARS: Final = (
    *("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-log4j12", "log4j-1.2", "netty", "netty-all"),
    *("snappy-java", "metrics-core", "jackson-databind", "jackson-core", "jackson-annotations"),
    "commons-cli",
)
_LOGGING: Final = """\
log4j.rootLogger=WARN, OUT
log4j.appender.OUT=org.apache.log4j.ConsoleAppender
log4j.appender.OUT.target=System.err
log4j.appender.OUT.layout=org.apache.log4j.PatternLayout
log4j.appender.OUT.layout.ConversionPattern=%d %p %c %m%n
"""


def missing_zookeeper() -> str:
    """Why Apache ZooKeeper (server and zkCli) cannot run here; "" if it can."""
    if shutil.which("java") is None:
        return "java is not installed"
    if not (JAVA / "zookeeper.jar").exists():
        return f"Apache ZooKeeper's jar is not in {JAVA} (apt-get install zookeeper)"
    return ""


def java_command(
    directory: Path,
    main_class: str,
    *properties: str,
    options: Sequence[str],
    jars: Sequence[str] = (),
    classes: Path | None = None,
) -> list[str]:
    """The command line that runs `main_class` off Debian's jars (`jars` beside ZooKeeper's) and the folder
    `classes`, with a quiet log on standard error. `options` are the virtual machine's."""
    logging = directory / "log4j.properties"
    logging.write_text(_LOGGING)
    places = [str(JAVA / f"{jar}.jar") for jar in (*jars, *_JARS)] + ([str(classes)] if classes else [])
    java = ["java", *options, f"-Dlog4j.configuration=file:{logging}", *properties]
    return [*java, "-cp", ":".join(places), main_class]
