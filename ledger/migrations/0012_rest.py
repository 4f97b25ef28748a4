from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0011_client_keys")]

    operations = [
        migrations.CreateModel(
            name="RateBucket",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                (
                    "full_until",
                    models.DateTimeField(help_text="when everything spent so far will have been earned again"),
                ),
            ],
            options={"indexes": [models.Index(fields=["full_until"], name="rate_buckets_by_time")]},
        ),
        migrations.CreateModel(
            name="KeptAnswer",
            fields=[
                (
                    "key_sha256",
                    models.CharField(
                        help_text="of caller and key", max_length=64, primary_key=True, serialize=False
                    ),
                ),
                ("caller", models.CharField(help_text='"officer:ID" or "client:UUID"', max_length=80)),
                (
                    "fingerprint",
                    models.CharField(help_text="SHA-256 of method, address, type and body", max_length=64),
                ),
                ("status", models.PositiveSmallIntegerField()),
                ("answer", models.BinaryField(help_text="the body, encrypted under the Idempotency-Key")),
                ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
            ],
        ),
        # Spending a request must not wait for the disk.
        migrations.RunSQL(
            "ALTER TABLE ledger_ratebucket SET UNLOGGED", "ALTER TABLE ledger_ratebucket SET LOGGED"
        ),
    ]
