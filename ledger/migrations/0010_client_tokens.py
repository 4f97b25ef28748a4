import datetime

from django.db import migrations, models
from django.utils import timezone


def date_tokens(apps, schema_editor):
    """Tokens that were given out without an end get one: two weeks from now."""
    until = timezone.now() + datetime.timedelta(days=14)
    apps.get_model("ledger", "Client").objects.update(token_expires_at=until)


def keep_enrolments(apps, schema_editor):
    """Clients without a valid key used to lose the reference to their enrolment."""
    key = apps.get_model("ledger", "ClientKey")
    for client in apps.get_model("ledger", "Client").objects.filter(enrolled_entry=None).iterator():
        latest = key.objects.filter(client=client).order_by("-enrolled_entry").first()
        if latest is not None:
            client.enrolled_entry = latest.enrolled_entry
            client.save(update_fields=["enrolled_entry"])


class Migration(migrations.Migration):

    dependencies = [
        ("ledger", "0009_windows"),
    ]

    operations = [
        migrations.AddField(
            model_name="client",
            name="token_expires_at",
            field=models.DateTimeField(null=True, help_text="from then on the token enrols nobody"),
        ),
        migrations.RunPython(date_tokens, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(keep_enrolments, migrations.RunPython.noop, elidable=True),
    ]
