"""How officers like to look at lists."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class SavedView(models.Model):
    """A list's filters, search and order under a name, for one account. A default opens first."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_views")
    page = models.CharField(max_length=60, help_text="the table whose list it is")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000, blank=True, default="", help_text="as in the list's address")
    default = models.BooleanField(default=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["user", "page", "name"], name="one_view_of_a_name"),
            models.UniqueConstraint(
                fields=["user", "page"], condition=models.Q(default=True), name="one_default_view"
            ),
        ]

    def __str__(self) -> str:
        return self.name
