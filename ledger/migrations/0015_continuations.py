import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0014_uploads'),
    ]

    operations = [
        migrations.AddField(
            model_name='clientmodel',
            name='continues',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='continued_by', to='ledger.clientmodel'),
        ),
        migrations.AddField(
            model_name='clientmodel',
            name='continuity',
            field=models.CharField(choices=[('nothing-due', 'no weight had to be zero yet'), ('unlinked', 'does not say that it continues the unlearned model'), ('awaited', 'has not shown yet that what was set to zero is still zero'), ('shown', 'has proved that what was set to zero is still zero'), ('refuted', 'has failed to prove that what was set to zero is still zero')], default='nothing-due', max_length=12),
        ),
        migrations.AlterField(
            model_name='job',
            name='kind',
            field=models.CharField(choices=[('mask', 'Mask'), ('challenge', 'Challenge'), ('verify', 'Verify'), ('line-challenge', 'Continuation Challenge'), ('line-verify', 'Continuation'), ('import', 'Import')], max_length=20),
        ),
        migrations.CreateModel(
            name='Continuation',
            fields=[
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('bundle_sha256', models.CharField(blank=True, default='', max_length=64)),
                ('failures', models.JSONField(default=list, help_text='the first 200: [{"chunk", "reason"}]')),
                ('challenge_entry', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.logentry')),
                ('checkpoint', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.checkpoint')),
                ('client_model', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='continuation', to='ledger.clientmodel')),
                ('proof_entry', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.logentry')),
                ('verdict_entry', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.logentry')),
            ],
            options={
                'ordering': ['challenge_entry'],
            },
        ),
    ]
