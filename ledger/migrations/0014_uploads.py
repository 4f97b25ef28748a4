import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0013_webhooks'),
    ]

    operations = [
        migrations.CreateModel(
            name='Upload',
            fields=[
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('sha256', models.CharField(help_text='of the whole file', max_length=64)),
                ('size', models.BigIntegerField(help_text='bytes of the whole file')),
                ('part_size', models.IntegerField(help_text='bytes of every part but the last')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(db_index=True)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uploads', to='ledger.client')),
            ],
            options={
                'ordering': ['created_at'],
                'constraints': [models.UniqueConstraint(fields=('owner', 'sha256'), name='one_upload_per_file')],
            },
        ),
    ]
