import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0010_client_tokens'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='clientkey',
            name='one_valid_key_per_client',
        ),
        migrations.RemoveField(
            model_name='client',
            name='keyid',
        ),
        migrations.RemoveField(
            model_name='client',
            name='public_key',
        ),
        migrations.AddField(
            model_name='client',
            name='retired_entry',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.logentry'),
        ),
        migrations.AddField(
            model_name='clientkey',
            name='label',
            field=models.CharField(blank=True, default='', help_text="the client's own; not in the log", max_length=100),
        ),
        migrations.AlterField(
            model_name='client',
            name='enrolled_entry',
            field=models.OneToOneField(blank=True, help_text='its latest client-enrolment', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.logentry'),
        ),
        migrations.AlterField(
            model_name='client',
            name='token_expires_at',
            field=models.DateTimeField(help_text='from then on the token enrols nobody'),
        ),
        migrations.AlterField(
            model_name='clientkey',
            name='enrolled_entry',
            field=models.OneToOneField(help_text='what brought it', on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.logentry'),
        ),
        migrations.AlterField(
            model_name='clientkey',
            name='revoked_entry',
            field=models.ForeignKey(blank=True, help_text='what ended it', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.logentry'),
        ),
        migrations.AlterField(
            model_name='clientmodel',
            name='state',
            field=models.CharField(choices=[('current', 'Current'), ('superseded', 'Superseded'), ('retired', 'Retired')], default='current', max_length=12),
        ),
        migrations.AddIndex(
            model_name='clientkey',
            index=models.Index(condition=models.Q(('revoked_entry', None)), fields=['client'], name='valid_keys_by_client'),
        ),
    ]
