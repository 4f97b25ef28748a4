"""Settings of the ledger, all from the environment; without any it runs on one machine out of one folder.

| variable | meaning | default |
|---|---|---|
| LEDGER_DATA_DIR | folder of database, keys, blobs, queue | `var` beside `manage.py` |
| DATABASE_URL | a PostgreSQL server of your own | embedded server in the data folder |
| CELERY_BROKER_URL | Redis or RabbitMQ | message files in the data folder |
| LEDGER_BLOB_STORE | S3-compatible bucket for files: `s3://BUCKET/PREFIX?endpoint=URL&region=NAME` | data folder |
| LEDGER_BLOB_CACHE | bytes of such files that a machine keeps copies of | 10 GiB |
| LEDGER_JOB_LEASE_SECONDS | a job whose worker shows no sign of life so long is given to another | 120 |
| LEDGER_SWEEP_SECONDS | the beat's round: lost jobs, due dates, publication | 15 |
| LEDGER_WORKER_MEMORY_MB | a worker's process that has grown beyond it is replaced after its task | 4096 |
| LEDGER_VERIFY_PROCESSES | a job that verifies many proofs shares them among so many processes | processors |
| LEDGER_ORIGIN | the log's origin: first line of every checkpoint | localhost/unlearning-ledger |
| LEDGER_WITNESSES | who must cosign checkpoints: `URL VKEY, URL VKEY, ...` | nobody |
| LEDGER_WITNESS_QUORUM | how many of them publish a checkpoint | more than half |
| LEDGER_MASTER_KEY | 64 hex digits, wraps the keys of the subject vault | file in the data folder |
| LEDGER_MASTER_KEY_PREVIOUS | the one before, while `manage.py rotate_master_key` has not finished | none |
| LEDGER_KMS | dotted path of a `ledger.kms.KeyManager` that keeps the master key instead | none |
| LEDGER_FOUR_EYES | 1: two officers must approve a request, under every regulation | off |
| LEDGER_WEBHOOKS_ALLOW_PRIVATE | 1: webhooks may go to private addresses and by http; never in production | off |
| LEDGER_CLIENT_QUOTA | bytes that one client may store | 20 GiB |
| LEDGER_WAITING_REQUESTS | requests of one web process that may wait for events; fewer than its threads | 4 |
| LEDGER_ALLOWED_HOSTS | host names, comma-separated | localhost,127.0.0.1,[::1] |
| LEDGER_HTTPS | 1 behind a TLS proxy: secure cookies, HSTS, X-Forwarded-Proto is trusted | off |
| LEDGER_JSON_LOGS | 1: logs are JSON, one object a line, with requests and audit events | off: text |
| LEDGER_METRICS_TOKEN | who sends it as Bearer may read /metrics | none: no such address |
| LEDGER_SECOND_FACTOR | 1: accounts need a second factor; 0: they do not | as LEDGER_HTTPS |
| LEDGER_SECURITY_CONTACT | mailto: or https: address for /.well-known/security.txt, RFC 9116 | none: no such file |
| LEDGER_SESSION_IDLE_MINUTES | a session ends after so many minutes without a request | 30 |
| DJANGO_SECRET_KEY | signs sessions | file in the data folder |
| DJANGO_DEBUG | 1 shows tracebacks; never in production | off |

Importing this module touches no file and starts nothing: whatever lives in the data folder is made on first
use.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.utils.functional import SimpleLazyObject

from ledger import console
from ledger.secrets import secret_key

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}


LEDGER_DATA_DIR = Path(os.environ.get("LEDGER_DATA_DIR") or BASE_DIR / "var").resolve()
LEDGER_VERIFY_PROCESSES = int(os.environ.get("LEDGER_VERIFY_PROCESSES") or os.cpu_count() or 1)
LEDGER_ORIGIN = os.environ.get("LEDGER_ORIGIN") or "localhost/unlearning-ledger"
LEDGER_WITNESSES = os.environ.get("LEDGER_WITNESSES", "").strip()
LEDGER_WITNESS_QUORUM = os.environ.get("LEDGER_WITNESS_QUORUM", "")
LEDGER_MASTER_KEY = os.environ.get("LEDGER_MASTER_KEY", "")
LEDGER_MASTER_KEY_PREVIOUS = os.environ.get("LEDGER_MASTER_KEY_PREVIOUS", "")
LEDGER_KMS = os.environ.get("LEDGER_KMS", "")
LEDGER_FOUR_EYES = _flag("LEDGER_FOUR_EYES")
LEDGER_JSON_LOGS = _flag("LEDGER_JSON_LOGS")
LEDGER_METRICS_TOKEN = os.environ.get("LEDGER_METRICS_TOKEN", "").strip()
LEDGER_SECURITY_CONTACT = os.environ.get("LEDGER_SECURITY_CONTACT", "").strip()
LEDGER_WEBHOOKS_ALLOW_PRIVATE = _flag("LEDGER_WEBHOOKS_ALLOW_PRIVATE")
LEDGER_IMPORT_REPORT_DAYS = 30  # then the line-by-line reports of imports are destroyed
LEDGER_EXPORT_DAYS = 7  # then the files of exports are destroyed; what the log says of them stays
LEDGER_EXPORT_LINK_SECONDS = 600  # a link to an export's file is good for
LEDGER_BUNDLE_SECONDS = 3600  # a bundle that was handed out is kept so long after it was last asked for
LEDGER_BUNDLE_CACHE = 4 * 1024**3  # bytes of such bundles on one host; those not asked for the longest go first
LEDGER_BLOB_LIMIT = 64 * 1024 * 1024  # bytes in one blob
LEDGER_PART_LIMIT = 8 * 1024 * 1024  # bytes in one part of an upload
LEDGER_UPLOAD_LIMIT = 256 * 1024 * 1024  # bytes in a file that comes in parts; verifiers read it whole
LEDGER_UPLOADS_OPEN = 8  # files that a client may have under way
LEDGER_UPLOAD_HOURS = 48  # from the last part on, then an upload expires
LEDGER_CLIENT_QUOTA = int(os.environ.get("LEDGER_CLIENT_QUOTA") or 20 * 1024**3)
LEDGER_WAITING_REQUESTS = int(os.environ.get("LEDGER_WAITING_REQUESTS") or 4)
LEDGER_JOB_ATTEMPTS = 3
LEDGER_JOB_LEASE_SECONDS = int(os.environ.get("LEDGER_JOB_LEASE_SECONDS") or 120)
LEDGER_SWEEP_SECONDS = int(os.environ.get("LEDGER_SWEEP_SECONDS") or 15)
LEDGER_WORKER_MEMORY_MB = int(os.environ.get("LEDGER_WORKER_MEMORY_MB") or 4096)
LEDGER_INVITATION_DAYS = 14  # an enrolment token is good for, unless an officer says otherwise
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "")
LEDGER_BLOB_STORE = os.environ.get("LEDGER_BLOB_STORE", "").strip()
LEDGER_BLOB_CACHE = int(os.environ.get("LEDGER_BLOB_CACHE") or 10 * 1024**3)

SECRET_KEY: Any = os.environ.get("DJANGO_SECRET_KEY") or SimpleLazyObject(secret_key)
DEBUG = _flag("DJANGO_DEBUG")
ALLOWED_HOSTS = os.environ.get("LEDGER_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

INSTALLED_APPS = [
    "ledger.apps.LedgerConfig",
    "unfold.apps.BasicAppConfig",  # before the admin, whose pages it dresses
    "ledger.site.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "pgtrigger",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "ledger.middleware.named",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ledger.middleware.headers",
    "ledger.middleware.nul_refused",
    "ledger.middleware.language",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "ledger.access.session.gate",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "ledger.urls"
WSGI_APPLICATION = "ledger.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"console": "ledger.admin.rows"},
        },
    },
]

_EMBEDDED = {"ENGINE": "ledger.embedded", "NAME": "ledger", "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
_URL = os.environ.get("DATABASE_URL")
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(_URL, conn_max_age=60, conn_health_checks=True) if _URL else _EMBEDDED
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

HTTPS = _flag("LEDGER_HTTPS")

LANGUAGE_CODE = "en-gb"
LANGUAGES = [("en-gb", "English"), ("de", "Deutsch")]  # of the console; programs are answered in English
LANGUAGE_COOKIE_NAME = "__Host-language" if HTTPS else "language"
LANGUAGE_COOKIE_SECURE, LANGUAGE_COOKIE_HTTPONLY, LANGUAGE_COOKIE_SAMESITE = HTTPS, True, "Strict"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
FORMAT_MODULE_PATH = ["ledger.formats"]
TIME_ZONE = "UTC"
USE_TZ = True

UNFOLD = console.UNFOLD

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # the admin's files come straight from their packages: no collectstatic
WHITENOISE_AUTOREFRESH = DEBUG

LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"
AUTHENTICATION_BACKENDS = ["ledger.access.scope.Accounts"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 8 * 3600  # however busy; see ledger.access.session
LEDGER_SESSION_IDLE_MINUTES = int(os.environ.get("LEDGER_SESSION_IDLE_MINUTES") or 30)
LEDGER_SECOND_FACTOR = _flag("LEDGER_SECOND_FACTOR") if os.environ.get("LEDGER_SECOND_FACTOR") else HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "ledger.mishaps.foreign_form"
if HTTPS:  # browsers take such names over TLS only, for this host alone
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = ["^health$", "^ready$", "^metrics$"]  # asked from inside, where the proxy is not
#: Whether browsers ship with the host's name is for the owner of its domain to ask, not for a program.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = LEDGER_BLOB_LIMIT

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["ledger.api.inputs.JsonBody"],
    # Per address; for clients and officers, per client and per officer. See ledger.access.rates.
    "DEFAULT_THROTTLE_RATES": {
        "public": "600/minute",
        "statements": "120/minute",
        "tiles": "6000/minute",
        "bad-tokens": "10/hour",
        "client": "1200/minute",
        "officer": "1200/minute",
        "bad-passwords": "30/minute",
        "account": "20/hour",
        "known-account": "20/hour",
        "bad-codes": "10/hour",
    },
    "EXCEPTION_HANDLER": "ledger.api.problems.handle",
    "DEFAULT_SCHEMA_CLASS": "ledger.api.openapi.Schema",
    "NUM_PROXIES": 1 if HTTPS else 0,
}

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Unlearning ledger",
    "DESCRIPTION": "Deletion requests, windows, orders, proofs and the log. Conventions: docs/api.md.",
    "VERSION": "1.0.0",
    "LICENSE": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "SERVERS": [{"url": "/", "description": "this server"}],
    "SERVE_INCLUDE_SCHEMA": False,
    "SORT_OPERATION_PARAMETERS": False,
    "ENUM_NAME_OVERRIDES": {"JobState": ["queued", "running", "done", "failed"]},
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "ledger.logs.Lines", "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "json": {"()": "ledger.logs.JsonLines"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "json" if LEDGER_JSON_LOGS else "line"}
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "ledger": {"level": "INFO"},
        # For machines: every event and every request. People see them on the console.
        "ledger.audit": {"level": "INFO" if LEDGER_JSON_LOGS else "WARNING"},
        "ledger.http": {"level": "INFO" if LEDGER_JSON_LOGS else "WARNING"},
        "django.request": {"level": "ERROR"},  # refusals are answers, not events
    },
}
if LEDGER_JSON_LOGS:  # gunicorn's own lines too, from its workers
    LOGGING["loggers"]["gunicorn.error"] = {"level": "INFO", "handlers": ["console"], "propagate": False}
