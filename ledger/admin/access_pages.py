"""Pages of an account's own: showing a second factor, setting factors up, tokens for programs."""

from __future__ import annotations

import json
from typing import Any, Final

import segno
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from unfold.forms import AuthenticationForm

from ledger.access import attempts, factors, session, tokens
from ledger.access.factors import FactorError
from ledger.admin.widgets import dress_all
from ledger.models import ApiToken, SecondFactor

_SECRET: Final = "access.secret"  # noqa: S105 - a name in the session: the secret that a picture shows
_CHALLENGE: Final = "access.challenge"
_LABEL: Final = 60


class LoginForm(AuthenticationForm):
    """Says why a right password is refused after too many wrong ones."""

    def clean(self) -> Any:
        wait = attempts.wait(self.request, str(self.cleaned_data.get("username", "")))
        if wait is not None:
            raise forms.ValidationError(
                _("Too many wrong passwords: wait %(minutes)d minutes, or use a browser you have used before.")
                % {"minutes": wait // 60 + 1}
            )
        return super().clean()


class TokenForm(forms.Form):
    """What a token is for."""

    label = forms.CharField(max_length=_LABEL, help_text=gettext_lazy("which program uses it"))
    role = forms.ChoiceField(help_text=gettext_lazy("it may do what this role may, and you still may"))
    days = forms.IntegerField(
        min_value=1, max_value=tokens.MAX_DAYS, initial=90, help_text=gettext_lazy("then it expires")
    )

    def __init__(self, user: Any, *args: Any) -> None:
        super().__init__(*args)
        self.fields["role"].choices = [(role, role) for role in tokens.roles_of(user)]  # type: ignore[attr-defined]
        dress_all(self)


@sensitive_post_parameters()
@never_cache
@staff_member_required
def second_factor(request: HttpRequest) -> HttpResponse:
    """Asks for the second factor, or for the password of an account without one; then goes on to `next`."""
    kind = session.asks_for(request.user)
    if request.method == "POST":
        refusal = _refusal(request, kind)
        if refusal is None:
            return HttpResponseRedirect(session.after(request))
        messages.error(request, refusal)
    passkeys = SecondFactor.objects.filter(user=request.user.pk, kind=SecondFactor.Kind.PASSKEY).exists()
    more = {"kind": kind, "passkeys": passkeys, "next": session.after(request), "title": _("Show that it is you")}
    return _page(request, "second_factor.html", more)


def _refusal(request: HttpRequest, kind: str) -> str | None:
    """Why what was typed is refused; None if it was right, and the session knows."""
    if kind == "factor":
        try:
            factors.check_code(request.user, request.POST.get("code", ""))
        except FactorError as error:
            return str(error)
        session.note_factor(request)
        return None
    form = LoginForm(
        request, {"username": request.user.get_username(), "password": request.POST.get("password", "")}
    )
    if not form.is_valid():
        return str(form.non_field_errors()[0]) if form.non_field_errors() else _("Type the password.")
    session.note_password(request)
    return None


@sensitive_post_parameters()
@never_cache
@staff_member_required
def setup(request: HttpRequest) -> HttpResponse:
    """The account's factors: one more, one fewer, new recovery codes."""
    way = session.to_change_factors(request, reverse("second-factor-setup"))
    if way is not None:
        return way
    codes: list[str] = []
    if request.method == "POST":
        try:
            codes = _change(request)
        except FactorError as error:
            messages.error(request, str(error))
    if _SECRET not in request.session:
        request.session[_SECRET] = factors.new_secret().hex()
    secret = bytes.fromhex(request.session[_SECRET])
    address = factors.totp_address(secret, request.user.get_username())
    more = {
        "title": _("Second factor"), "codes": codes, "required": factors.required(),
        "factors": SecondFactor.objects.filter(user=request.user.pk),
        "unused": request.user.recovery_codes.filter(used_at=None).count(),  # type: ignore[union-attr]
        "picture": segno.make(address).svg_data_uri(scale=4, light="white"),
        "secret": address.partition("secret=")[2].partition("&")[0],
    }  # fmt: skip
    return _page(request, "second_factor_setup.html", more)


def _change(request: HttpRequest) -> list[str]:
    """Carry out what the page's form asks for; new recovery codes, if there are any to show."""
    said = request.POST
    if said.get("do") == "remove":
        factors.remove(get_object_or_404(SecondFactor, user=request.user.pk, pk=_key(said.get("factor"))))
        messages.success(request, _("The factor is removed."))
        return []
    if said.get("do") == "codes":
        return factors.new_recovery_codes(request.user)
    secret = bytes.fromhex(request.session.get(_SECRET, ""))
    factors.add_totp(request.user, secret, said.get("code", "").strip(), said.get("label", "")[:_LABEL] or "app")
    del request.session[_SECRET]
    return _added(request)


def _added(request: HttpRequest) -> list[str]:
    """A factor was added in this session: it has shown it. The first one comes with recovery codes."""
    session.note_factor(request)
    messages.success(request, _("The second factor is set up."))
    has_codes = request.user.recovery_codes.exists()  # type: ignore[union-attr]
    return [] if has_codes else factors.new_recovery_codes(request.user)


@require_POST
@staff_member_required
def passkey(request: HttpRequest, step: str) -> HttpResponse:
    """What the page's script sends: asks for options, then answers with what the authenticator said."""
    host = request.get_host().partition(":")[0]
    origin = request.build_absolute_uri("/").rstrip("/")
    making = step.startswith("add")
    if making and session.to_change_factors(request, "/") is not None:
        return JsonResponse({"error": _("Show once more that it is you: reload the page.")}, status=403)
    if step in ("add-options", "use-options"):
        options, challenge = (factors.registration if making else factors.authentication)(request.user, host)
        request.session[_CHALLENGE] = challenge.hex()
        return HttpResponse(options, content_type="application/json")
    challenge = bytes.fromhex(request.session.pop(_CHALLENGE, ""))
    try:
        said = json.loads(request.body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return JsonResponse({"error": _("The browser's answer cannot be read: reload the page.")}, status=400)
    answer = json.dumps(said.get("credential"))
    try:
        if not making:
            factors.check_passkey(request.user, answer, challenge, host, origin)
            session.note_factor(request)
            return JsonResponse({"next": session.after(request)})
        label = str(said.get("label", ""))[:_LABEL] or _("passkey")
        factors.add_passkey(request.user, answer, challenge, host, origin, label)
    except FactorError as error:
        return JsonResponse({"error": str(error)}, status=400)
    return JsonResponse({"codes": _added(request), "next": reverse("second-factor-setup")})


@never_cache
@staff_member_required
def api_tokens(request: HttpRequest) -> HttpResponse:
    """The account's tokens for programs: make one, which is shown once; revoke one."""
    shown, form = "", TokenForm(request.user)
    if request.method == "POST":
        if request.POST.get("do") == "revoke":
            key = _key(request.POST.get("token"))
            tokens.revoke(get_object_or_404(ApiToken, user=request.user.pk, pk=key), request.user)
            return HttpResponseRedirect(reverse("api-tokens"))
        way = session.prove(request, reverse("api-tokens"))
        if way is not None:
            return way
        form = TokenForm(request.user, request.POST)
        if form.is_valid():
            shown = tokens.make(request.user, **form.cleaned_data)[1]
            form = TokenForm(request.user)
    rows = ApiToken.objects.filter(user=request.user.pk)
    return _page(
        request, "api_tokens.html", {"title": _("API tokens"), "tokens": rows, "form": form, "shown": shown}
    )


def _key(text: str | None) -> int:
    """A row's number; one that no row has, where it is none."""
    return int(text) if text and text.isdecimal() else 0


def _page(request: HttpRequest, template: str, more: dict[str, Any]) -> TemplateResponse:
    return TemplateResponse(request, f"admin/ledger/{template}", admin.site.each_context(request) | more)
