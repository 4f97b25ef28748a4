from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("ledger", "0026_job_causes"),
    ]

    operations = [
        AddIndexConcurrently(
            "deletionrequest", models.Index(fields=["due_at", "-uuid"], name="requests_by_due_order")
        ),
        RemoveIndexConcurrently("deletionrequest", "requests_by_due_date"),
        AddIndexConcurrently(
            "deletionrequest",
            models.Index(fields=["state", "due_at", "-uuid"], include=["received_at"], name="requests_by_state"),
        ),
        AddIndexConcurrently(
            "deletionrequest",
            models.Index(
                fields=["regulation", "due_at", "-uuid"], include=["received_at"], name="requests_by_regulation"
            ),
        ),
    ]
