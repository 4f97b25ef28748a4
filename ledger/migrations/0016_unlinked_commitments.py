from django.db import migrations


def mark(apps, schema_editor):
    """Commitments that followed an accepted claim of their client on the model did not say that they continue it."""
    verdict = apps.get_model("ledger", "VerdictRecord")
    for held in apps.get_model("ledger", "ClientModel").objects.iterator():
        met = verdict.objects.filter(
            accepted=True,
            entry__index__lt=held.entry_id,
            proof__claim__order__client_model__client=held.client_id,
            proof__claim__order__client_model__model=held.model_id,
        )
        if met.exists():
            held.continuity = "unlinked"
            held.save(update_fields=["continuity"])


class Migration(migrations.Migration):

    dependencies = [
        ("ledger", "0015_continuations"),
    ]

    operations = [
        migrations.RunPython(mark, migrations.RunPython.noop, elidable=True),
    ]
