import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0024_bulk_actions'),
    ]

    operations = [
        migrations.CreateModel(
            name='ExportStep',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=20)),
                ('covers', models.BigIntegerField(help_text='size of the log that it was made from')),
                ('export', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='ledger.export')),
                ('file', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.subjectrecord')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('export', 'name'), name='one_step_of_a_name')],
            },
        ),
    ]
