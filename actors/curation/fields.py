"""The fields of software work that a session can be about, and how one is told from its embedding. Pure.

The descriptions were written for this project, in the words that prompts and files of the field have, because a short
text is compared with them. Whoever calls this embeds them once, and the text of each trajectory, by the same model.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from actors.curation.enrichment.calls import words_of
from actors.curation.enrichment.edits import path_of
from actors.curation.enrichment.tools import Activity, activity_of
from actors.curation.stitched import StitchedTrajectory

FIELDS_VERSION: Final = 1
"""Raised when a name or a description changes: tags of different versions are not the same question's answers."""

FIELDS: Final[Mapping[str, str]] = {
    "web_frontend": (
        "Web pages and single-page applications in the browser: React, Vue, Svelte, components, state, "
        "routing, HTML and TypeScript."
    ),
    "styling_and_design": (
        "How user interfaces look: CSS, Tailwind, layout, colours, fonts, themes, dark mode, animation and "
        "responsive design."
    ),
    "accessibility": (
        "Interfaces for people with disabilities: screen readers, ARIA roles, keyboard navigation, contrast."
    ),
    "web_backend": (
        "Web servers and their request handlers: routes, controllers, middleware, sessions, frameworks such "
        "as Django, Flask, Express, Rails and Spring."
    ),
    "api_design": (
        "Interfaces between services: REST endpoints, GraphQL schemas, gRPC, OpenAPI, versions, pagination "
        "and webhooks."
    ),
    "databases": (
        "Relational databases and SQL: schemas, queries, indexes, joins, transactions, migrations, "
        "PostgreSQL, MySQL and SQLite."
    ),
    "key_value_and_caching": (
        "Caches and document or key-value stores: Redis, Memcached, MongoDB, DynamoDB, expiry, invalidation."
    ),
    "search_engines": (
        "Full-text search and information retrieval: Elasticsearch, inverted indexes, ranking, tokenisers."
    ),
    "message_queues": (
        "Queues, brokers and event streams: Kafka, RabbitMQ, NATS, consumers, delivery guarantees, background "
        "jobs and workers."
    ),
    "distributed_systems": (
        "Many machines acting as one: replication, consensus, Raft, sharding, partitions, leader election, "
        "eventual consistency."
    ),
    "concurrency": (
        "Doing several things at once in one program: threads, locks, async and await, race conditions, "
        "deadlocks, cancellation."
    ),
    "networking": "Protocols and sockets: TCP, UDP, HTTP, DNS, TLS handshakes, proxies, packets, time-outs, routing.",
    "operating_systems": (
        "Kernels and what is close to them: system calls, processes, schedulers, drivers, file systems, memory mapping."
    ),
    "embedded": (
        "Firmware for microcontrollers: interrupts, GPIO, sensors, real-time systems, Arduino, ESP32, STM32, "
        "device registers."
    ),
    "robotics": "Robots and control: ROS, motion planning, kinematics, PID controllers, SLAM, drones.",
    "compilers": (
        "Programming languages and their tools: parsers, grammars, syntax trees, type checkers, code "
        "generation, LLVM, interpreters."
    ),
    "build_systems": (
        "Turning sources into artefacts: Make, CMake, Bazel, Gradle, webpack, compiler flags, linking, "
        "incremental builds."
    ),
    "packaging": (
        "Dependencies and releases: package managers, lock files, npm, pip, Cargo, version conflicts, "
        "publishing libraries."
    ),
    "continuous_integration": (
        "Pipelines that build and test each change: GitHub Actions, GitLab CI, Jenkins, runners, artefacts, "
        "deployment jobs."
    ),
    "containers": (
        "Containers and their orchestration: Docker images, Compose, Kubernetes pods, Helm charts, registries."
    ),
    "cloud_infrastructure": (
        "Infrastructure in the cloud and as code: Terraform, AWS, Azure, Google Cloud, serverless functions, "
        "virtual networks, IAM."
    ),
    "system_administration": (
        "Running servers: Linux services, systemd, disks, users, SSH, nginx, backups, cron, packages of the system."
    ),
    "observability": (
        "Seeing what a running system does: logs, metrics, traces, dashboards, alerts, Prometheus, Grafana, "
        "OpenTelemetry."
    ),
    "performance": (
        "Making programs faster or smaller: profiling, benchmarks, memory use, hot loops, latency, vectorisation."
    ),
    "testing": (
        "Automated tests: unit and integration tests, mocks, fixtures, coverage, flaky tests, property-based "
        "and end-to-end testing."
    ),
    "security": (
        "Protecting software against attackers: vulnerabilities, injection, XSS, CSRF, sandboxing, audits, "
        "threat models, dependency advisories."
    ),
    "cryptography": (
        "Ciphers and keys: encryption, AES, RSA, elliptic curves, hashes, HMAC, signatures, certificates, key exchange."
    ),
    "authentication": (
        "Who may do what: sign-in, passwords, OAuth, OpenID Connect, JWT, roles, permissions, single sign-on."
    ),
    "machine_learning_training": (
        "Training models: neural networks, PyTorch, loss functions, gradients, learning rates, fine-tuning, "
        "GPUs, checkpoints."
    ),
    "language_models": (
        "Applications of large language models: prompts, agents, tool calls, embeddings, retrieval, tokens, "
        "inference servers, evaluation."
    ),
    "computer_vision": (
        "Images and video: detection, segmentation, OpenCV, cameras, convolution, image processing, OCR."
    ),
    "data_pipelines": "Moving and shaping data: ETL, Spark, Airflow, dbt, batch jobs, Parquet, schemas, warehouses.",
    "data_analysis": "Looking into data: pandas, notebooks, statistics, plots, CSV files, regressions, reports.",
    "scientific_computing": (
        "Numerical work and simulation: linear algebra, differential equations, Fortran, finite elements, "
        "physics, bioinformatics."
    ),
    "algorithms": (
        "Algorithms and data structures: sorting, graphs, dynamic programming, complexity, trees, heaps, puzzles."
    ),
    "mobile": (
        "Apps for phones and tablets: iOS, Swift, Android, Kotlin, Flutter, React Native, app stores, push messages."
    ),
    "desktop": "Desktop applications: Electron, Qt, GTK, windows, menus, installers, tray icons, drag and drop.",
    "command_line": (
        "Programs for the terminal: command-line options, shell scripts, prompts, colours, pipes, text user interfaces."
    ),
    "games": "Games and their engines: Unity, Unreal, Godot, sprites, physics, levels, players, game loops.",
    "graphics": "Drawing with the GPU: shaders, OpenGL, Vulkan, WebGL, meshes, textures, ray tracing, rendering.",
    "audio_and_video": "Sound and media: codecs, FFmpeg, streaming, synthesis, MIDI, transcoding, subtitles.",
    "payments_and_commerce": (
        "Money and shops: payments, Stripe, invoices, carts, orders, taxes, subscriptions, accounting."
    ),
    "blockchain": "Chains and contracts: Solidity, Ethereum, wallets, tokens, gas, transactions on a ledger.",
    "geospatial": "Maps and places: coordinates, GIS, PostGIS, routing, tiles, GPS, projections.",
    "internationalisation": (
        "Many languages and regions: translations, locales, Unicode, time zones, plural forms, right-to-left scripts."
    ),
    "documentation": "Writing about software: README files, guides, API references, docstrings, tutorials, changelogs.",
    "version_control": "Histories of sources: git, branches, merges, conflicts, rebasing, commits, hooks, monorepos.",
}
"""The fields by their names, each with the description that is embedded."""

TEXT_CHARS_MAX: Final = 1_000
"""Characters of the text that is embedded: about the 256 tokens that the model reads."""
PROMPTS_CHARS_MAX: Final = 600
FILES_CHARS_MAX: Final = 280
NAME_CHARS_MAX: Final = 60
STEPS_LOOKED_AT_MAX: Final = 2_000

COSINE_OF_NO_CONFIDENCE: Final = 0.1
COSINE_OF_FULL_CONFIDENCE: Final = 0.5
"""Measured with thirty sessions: most descriptions have a cosine about 0 with a session's text, the field's own one has
0.2 to 0.5."""


class FieldTag(msgspec.Struct, frozen=True):
    """A field, and how sure that is, 0 to 1; named as `domain_tags` of the contract are."""

    domain: str
    confidence: float


class FieldTags(msgspec.Struct, frozen=True):
    """The three nearest fields, the nearest first; None from where on none is near enough."""

    primary: FieldTag | None
    secondary: FieldTag | None
    tertiary: FieldTag | None


def embedded_text(trajectory: StitchedTrajectory) -> str:
    """The text that stands for a trajectory when it is embedded, at most `TEXT_CHARS_MAX` characters.

    It is the user's first prompts, then the names of files and tools in the order in which they first occur. Tools that
    every agent has are left out: with them every session is a little about command lines. Empty when there is
    nothing of the kind.
    """
    steps = trajectory.trajectory_log[:STEPS_LOOKED_AT_MAX]
    words = " ".join(words_of(step)[:PROMPTS_CHARS_MAX] for step in steps)
    prompts = " ".join(words.split())[:PROMPTS_CHARS_MAX]
    actions = [step for step in steps if step.type in {"action", "edit"}]
    files = _listed((path_of(step.asked).replace("\\", "/").rpartition("/")[2] for step in actions), FILES_CHARS_MAX)
    own_tools = (tool for step in actions if activity_of(tool := step.tool_name) is Activity.OTHER)
    tools = _listed(own_tools, TEXT_CHARS_MAX - PROMPTS_CHARS_MAX - FILES_CHARS_MAX - 2)
    return "\n".join(part for part in (prompts, files, tools) if part)


def field_tags(
    embedding: Sequence[float], fields: Mapping[str, Sequence[float]], confidence_min: float = 0.0
) -> FieldTags:
    """The fields of a text by its embedding, given those of the descriptions by their fields' names.

    The confidence is the cosine, mapped evenly from `COSINE_OF_NO_CONFIDENCE` (0) to `COSINE_OF_FULL_CONFIDENCE` (1).
    Of fields that are equally near the one that comes first in the alphabet is nearer. Raises ValueError for embeddings
    of different lengths.
    """
    found = sorted((-_confidence(_cosine(embedding, own)), name) for name, own in fields.items())
    tags = [FieldTag(name, -negative) for negative, name in found[:3] if -negative >= confidence_min and negative < 0]
    first, second, third, *_ = [*tags, None, None, None]
    return FieldTags(first, second, third)


def _listed(names: Iterable[str], chars_max: int) -> str:
    """Names, each once, as many as find room."""
    listed = ""
    for name in dict.fromkeys(name[:NAME_CHARS_MAX] for name in names):
        if name and len(listed) + len(name) + 1 <= chars_max:
            listed += f" {name}" if listed else name
    return listed


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    lengths = math.sqrt(sum(a * a for a in first)) * math.sqrt(sum(b * b for b in second))
    return product / lengths if lengths else 0.0


def _confidence(cosine: float) -> float:
    share = (cosine - COSINE_OF_NO_CONFIDENCE) / (COSINE_OF_FULL_CONFIDENCE - COSINE_OF_NO_CONFIDENCE)
    return round(min(1.0, max(0.0, share)), 4)
