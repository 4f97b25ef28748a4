from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0025_export_steps"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="cause",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name="job",
            name="trace_parent",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=55),
        ),
    ]
